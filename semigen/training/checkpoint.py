"""Checkpoints of a training in progress: history as JSON and tensors as safetensors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from semigen.artifacts import atomic_path, read_json
from semigen.training.code_digest import TRAINING_CODE
from semigen.training.plan import History

State = dict[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """State of a training after an epoch.

    Attributes:
        history: Losses so far.
        module: Weights in training.
        average: Moving average of the weights; empty if there is none.
        best: Weights of the best epoch.
        optimizers: State of every optimizer, by parameter number and name.
    """

    history: History
    module: State
    average: State
    best: State
    optimizers: Sequence[State]

    def save(self, folder: Path, fingerprint: str) -> None:
        """Write the checkpoint; a folder of that name is replaced atomically.

        Args:
            folder: Folder of the checkpoint.
            fingerprint: Hash of plan, network and data. The code is recorded beside it.
        """
        groups = {"module.": self.module, "average.": self.average, "best.": self.best}
        groups |= {f"optimizer{i}.": state for i, state in enumerate(self.optimizers)}
        tensors = {f"{p}{name}": v.contiguous() for p, g in groups.items() for name, v in g.items()}
        state = {**asdict(self.history), "fingerprint": fingerprint, "code": TRAINING_CODE}
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            save_file(tensors, temporary / "tensors.safetensors")
            (temporary / "state.json").write_text(json.dumps(state), encoding="utf-8")

    @classmethod
    def load(
        cls, folder: Path, fingerprint: str, n_optimizers: int, device: torch.device
    ) -> Checkpoint | None:
        """Return the checkpoint in a folder; None if it is absent or of other training or code.

        Args:
            folder: Folder of the checkpoint.
            fingerprint: Hash of plan, network and data.
            n_optimizers: Number of optimizers.
            device: Device of the tensors.
        """
        if not folder.exists():
            return None
        state = read_json(folder / "state.json")
        if (state.pop("fingerprint"), state.pop("code", None)) != (fingerprint, TRAINING_CODE):
            return None
        tensors = load_file(folder / "tensors.safetensors", device=str(device))
        return cls(
            History(**state),
            module=_with_prefix(tensors, "module."),
            average=_with_prefix(tensors, "average."),
            best=_with_prefix(tensors, "best."),
            optimizers=[_with_prefix(tensors, f"optimizer{i}.") for i in range(n_optimizers)],
        )


def is_of_other_code(folder: Path, fingerprint: str) -> bool:
    """Return whether a checkpoint is of this training, but another version of the code wrote it."""
    if not folder.exists():
        return False
    state = read_json(folder / "state.json")
    return bool(state["fingerprint"] == fingerprint and state.get("code") != TRAINING_CODE)


def optimizer_state(optimizer: torch.optim.Optimizer) -> State:
    """Return the tensors of an optimizer's state, by parameter number and name."""
    state = optimizer.state_dict()["state"]
    return {f"{i}.{name}": value for i, entry in state.items() for name, value in entry.items()}


def load_optimizer_state(optimizer: torch.optim.Optimizer, tensors: State) -> None:
    """Load the tensors that ``optimizer_state`` returned into an optimizer."""
    state: dict[int, State] = {}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _with_prefix(tensors: State, prefix: str) -> State:
    return {n.removeprefix(prefix): value for n, value in tensors.items() if n.startswith(prefix)}
