"""The training engine that all networks share.

Batches are taken by index from whole tensors, which costs a small fraction of a ``DataLoader``.
All randomness of an epoch follows from ``(seed, epoch)``; a run that is killed and resumed from its
checkpoint therefore ends in the same bits as one that was not, without storing generator states.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from semigen.artifacts import atomic_path, read_json, remove
from semigen.compute import resolve_device, seeded, threads_for, uses_bf16
from semigen.config import ComputeParams
from semigen.errors import UserError
from semigen.progress import Progress

LossFunction = Callable[[Sequence[Tensor], int], Tensor]
"""``loss(batch, epoch)``: the mean loss of a batch, a scalar. Epochs count from 0; a held-out loss
is asked for with the last epoch, so that schedules such as KL warm-up do not move it."""

MAX_RETRIES = 3
RETRY_RATE = 0.3
"""Factor on the learning rate after a loss that is not finite."""


@dataclass(frozen=True)
class TrainingPlan:
    """How a network is trained.

    Attributes:
        epochs: Most passes over the rows.
        batch_size: Rows of one step.
        learning_rate: Adam's step size at the start; it falls to zero along a half cosine.
        seed: Seed of the order of rows and of all noise.
        patience: Epochs without a better held-out loss before training stops.
        objective: Settings of the loss, in any spelling. A checkpoint of another objective, like
            one of another plan, is not resumed.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    patience: int | None = None
    objective: str = ""


@dataclass
class History:
    """What happened in training.

    Attributes:
        train: Mean training loss of every epoch.
        validation: Held-out loss after every epoch; empty without held-out rows.
        best_epoch: Epoch (from 0) whose weights were kept.
        n_retries: How often training was rolled back to the best weights and slowed down.
        bad_epochs: Epochs since the best one.
    """

    train: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    best_epoch: int = 0
    n_retries: int = 0
    bad_epochs: int = 0


class TrainingDiverged(UserError):
    """The loss was not finite, at ever lower learning rates."""


def train(
    module: nn.Module,
    loss: LossFunction,
    data: Sequence[Tensor],
    plan: TrainingPlan,
    *,
    held_out: Sequence[Tensor] | None = None,
    compute: ComputeParams | None = None,
    width: int = 0,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> History:
    """Train a module in place; with held-out rows it ends with the weights of the best epoch.

    Args:
        module: Network; moved to the device for training and back to the CPU after it.
        loss: Mean loss of a batch.
        data: Tensors with equal first dimensions ``n``; a batch holds the same rows of each.
        plan: Epochs, batch size and step size.
        held_out: Like ``data``; decides which epoch's weights are kept, and early stopping.
        compute: Device and precision.
        width: Widest layer, which decides whether bf16 and threads pay.
        checkpoint: Folder for checkpoints. If it holds one of the same plan, network and data,
            training goes on from there; it is removed at the end.
        progress: Receives every epoch's losses.

    Raises:
        TrainingDiverged: If the loss stays infinite or NaN after rollbacks at lower rates.
    """
    run = _Run(module, loss, data, plan, held_out, compute or ComputeParams(), width, checkpoint)
    run.resume()
    threads = threads_for(width=width, batch_size=plan.batch_size)
    with threads, progress or Progress.silent() as shown:
        while not run.is_done:
            run.epoch()
            shown.epoch(run.history.train, run.history.validation, plan.epochs)
    return run.finish()


class _Run:
    """State of one training; the checkpoint is this state."""

    def __init__(
        self,
        module: nn.Module,
        loss: LossFunction,
        data: Sequence[Tensor],
        plan: TrainingPlan,
        held_out: Sequence[Tensor] | None,
        compute: ComputeParams,
        width: int,
        checkpoint: Path | None,
    ) -> None:
        self.device = resolve_device(compute)
        self.bf16 = uses_bf16(compute, self.device, width=width, batch_size=plan.batch_size)
        self.module = module.to(self.device).train()
        self.loss, self.plan, self.checkpoint = loss, plan, checkpoint
        self.data = [tensor.to(self.device) for tensor in data]
        self.held_out = [tensor.to(self.device) for tensor in held_out or ()]
        self.seconds_between = compute.checkpoint_seconds
        self.saved_at = time.monotonic()
        self.history = History()
        self.best = self._weights()
        self.optimizer = self._new_optimizer()

    @property
    def is_done(self) -> bool:
        patience = self.plan.patience or self.plan.epochs
        return len(self.history.train) >= self.plan.epochs or self.history.bad_epochs >= patience

    def epoch(self) -> None:
        epoch = len(self.history.train)
        with seeded(self.plan.seed, epoch, self.history.n_retries):
            mean_loss = self._steps(epoch)
        held_out_loss = self._held_out_loss() if self.held_out else mean_loss
        if not (math.isfinite(mean_loss) and math.isfinite(held_out_loss)):
            self._roll_back()
            return
        self._note(epoch, mean_loss, held_out_loss)
        if self.checkpoint and time.monotonic() - self.saved_at >= self.seconds_between:
            self._save()

    def finish(self) -> History:
        if self.held_out:
            self.module.load_state_dict(self.best)
        self.module.to("cpu").eval()
        if self.checkpoint:
            remove(self.checkpoint)
        return self.history

    def resume(self) -> None:
        """Go on from a checkpoint, if there is one of the same network, plan and data."""
        if self.checkpoint is None:
            return
        self.fingerprint = self._fingerprint()
        if not self.checkpoint.exists():
            return
        state = read_json(self.checkpoint / "state.json")
        if state.pop("fingerprint") != self.fingerprint:
            return
        tensors = load_file(self.checkpoint / "tensors.safetensors", device=str(self.device))
        self.history = History(**state)
        self.module.load_state_dict(_with_prefix(tensors, "module."))
        self.best = _with_prefix(tensors, "best.")
        self._load_optimizer(_with_prefix(tensors, "optimizer."))

    def _steps(self, epoch: int) -> float:
        n_rows, size = len(self.data[0]), self.plan.batch_size
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(epoch)
        total = torch.zeros((), device=self.device)
        order = torch.randperm(n_rows).to(self.device)
        for rows in order.split(size):
            if len(rows) == 1 and n_rows > 1:
                continue  # batch statistics of a single row are undefined
            self.optimizer.zero_grad(set_to_none=True)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                loss = self.loss([tensor[rows] for tensor in self.data], epoch)
            loss.backward()
            nn.utils.clip_grad_norm_(self.module.parameters(), 10.0)
            self.optimizer.step()
            total += loss.detach().float() * len(rows)
        return float(total) / n_rows

    @torch.no_grad()
    def _held_out_loss(self) -> float:
        self.module.eval()
        with (
            seeded(self.plan.seed, self.plan.epochs),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16),
        ):
            loss = float(self.loss(self.held_out, self.plan.epochs - 1))
        self.module.train()
        return loss

    def _learning_rate(self, epoch: int) -> float:
        decay = 0.5 * (1 + math.cos(math.pi * epoch / self.plan.epochs))
        return self.plan.learning_rate * decay * RETRY_RATE**self.history.n_retries

    def _note(self, epoch: int, train_loss: float, held_out_loss: float) -> None:
        history = self.history
        history.train.append(train_loss)
        if not self.held_out:
            self.best = self._weights()
            history.best_epoch = epoch
            return
        is_better = held_out_loss < min(history.validation, default=math.inf)
        history.validation.append(held_out_loss)
        history.bad_epochs = 0 if is_better else history.bad_epochs + 1
        if is_better:
            self.best, history.best_epoch = self._weights(), epoch

    def _roll_back(self) -> None:
        self.history.n_retries += 1
        if self.history.n_retries > MAX_RETRIES:
            raise TrainingDiverged(
                f"training diverged in epoch {len(self.history.train) + 1}: the loss is not finite "
                f"even at a learning rate of {self._learning_rate(0):.2g}; lower learning_rate, or "
                "look for extreme values in the numeric columns"
            )
        self.module.load_state_dict(self.best)
        self.optimizer = self._new_optimizer()

    def _new_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.module.parameters(), lr=self.plan.learning_rate)

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.module.state_dict().items()}

    def _save(self) -> None:
        assert self.checkpoint is not None
        state = {
            f"{i}.{name}": value
            for i, entry in self.optimizer.state_dict()["state"].items()
            for name, value in entry.items()
        }
        groups = {"module.": self._weights(), "best.": self.best, "optimizer.": state}
        tensors = {f"{p}{name}": v.contiguous() for p, g in groups.items() for name, v in g.items()}
        with atomic_path(self.checkpoint) as folder:
            folder.mkdir()
            save_file(tensors, folder / "tensors.safetensors")
            meta = {**asdict(self.history), "fingerprint": self.fingerprint}
            (folder / "state.json").write_text(json.dumps(meta), encoding="utf-8")
        self.saved_at = time.monotonic()

    def _load_optimizer(self, tensors: dict[str, Tensor]) -> None:
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})

    def _fingerprint(self) -> str:
        """Return a hash of all that decides how training goes on."""
        digest = hashlib.sha256(repr((self.plan, str(self.module), self.bf16)).encode())
        for tensor in (*self.data, *self.held_out, *self.module.state_dict().values()):
            digest.update(tensor.detach().cpu().numpy().tobytes())
        return digest.hexdigest()


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): value for n, value in tensors.items() if n.startswith(prefix)}


def save_module(module: nn.Module, config: dict[str, Any], folder: Path) -> None:
    """Write a network as ``config.json`` and ``weights.safetensors`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.contiguous() for name, value in module.state_dict().items()}
    save_file(weights, folder / "weights.safetensors")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def load_weights(module: nn.Module, folder: Path) -> None:
    """Read the weights that ``save_module`` wrote into a network of the same shape."""
    module.load_state_dict(load_file(folder / "weights.safetensors"))
    module.eval()
