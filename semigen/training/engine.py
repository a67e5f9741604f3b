"""The training engine that all networks share.

Batches are taken by index from whole tensors, which costs a small fraction of a ``DataLoader``.
All randomness of an epoch follows from ``(seed, epoch)``; a run that is killed and resumed from its
checkpoint therefore ends in the same bits as one that was not, without storing generator states.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from semigen.artifacts import atomic_path, read_json
from semigen.errors import UserError
from semigen.params.config import ComputeParams
from semigen.training import distributed
from semigen.training.compute import resolve_device, seeded, threads_for, uses_bf16
from semigen.training.progress import Progress

LossFunction = Callable[[Sequence[Tensor], int], Tensor]
"""``loss(batch, epoch)``: the mean loss of a batch, a scalar. Epochs count from 0; a held-out loss
is asked for with the last epoch, so that schedules such as KL warm-up do not move it."""

MAX_RETRIES = 3
RETRY_RATE = 0.3
"""Factor on the learning rate after a loss that is not finite or a failed health check."""
MAX_GRADIENT_NORM = 10.0


HealthCheck = Callable[[], str | None]
"""Returns what is wrong with a network though its loss is finite, such as mode collapse."""


@dataclass(frozen=True)
class Player:
    """One of several networks that are trained against each other, a step each in turn.

    Attributes:
        module: The network whose parameters the step moves; a part of the trained module.
        loss: What it minimizes. Gradients of other networks' parameters are not kept.
        rate: Factor on the plan's learning rate.
    """

    module: nn.Module
    loss: LossFunction
    rate: float = 1.0


@dataclass(frozen=True)
class TrainingPlan:
    """How a network is trained.

    Attributes:
        epochs: Most passes over the rows.
        batch_size: Rows of one step.
        learning_rate: Adam's largest step size.
        seed: Seed of the order of rows and of all noise.
        patience: Epochs without a better held-out loss before training stops.
        objective: Settings of the loss, in any spelling. A checkpoint of another objective, like
            one of another plan, is not resumed.
        schedule: How the step size falls to zero: along a half ``cosine`` from the first step, or
            ``late``: constant for the first half, then along a line.
        betas: Adam's decay rates.
        weight_decay: Decoupled weight decay (AdamW).
        averaging: Decay rate, per step, of an exponential moving average of the weights that takes
            their place at the end, and for held-out losses and health checks; 0 for none.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    patience: int | None = None
    objective: str = ""
    schedule: Literal["cosine", "late"] = "cosine"
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    averaging: float = 0.0


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
    """The loss was not finite, or a health check failed, at ever lower learning rates."""


def train(
    module: nn.Module,
    loss: LossFunction | Sequence[Player],
    data: Sequence[Tensor],
    plan: TrainingPlan,
    *,
    held_out: Sequence[Tensor] | None = None,
    check: HealthCheck | None = None,
    compute: ComputeParams | None = None,
    width: int = 0,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> History:
    """Train a module in place; with held-out rows it ends with the weights of the best epoch.

    Args:
        module: Network; moved to the device for training and back to the CPU after it.
        loss: Mean loss of a batch; or the players of a game, whose networks are parts of
            ``module``. The first player's loss is the one that the history shows.
        data: Tensors with equal first dimensions ``n``; a batch holds the same rows of each.
        plan: Epochs, batch size and step size.
        held_out: Like ``data``; decides which epoch's weights are kept, and early stopping.
        check: Called after every epoch, without gradients and on the training device. If it finds
            something wrong, training goes back to the last healthy weights and on at a lower rate,
            as it does after a loss that is not finite.
        compute: Device and precision.
        width: Widest layer, which decides whether bf16 and threads pay.
        checkpoint: Folder for checkpoints. If it holds one of the same plan, network and data,
            training goes on from there, or is done at once if that one was. The last one stays:
            a model of several trainings, killed in a later one, need not repeat the first. Who
            needs it no longer removes it.
        progress: Receives every epoch's losses.

    Raises:
        TrainingDiverged: If the loss stays infinite or NaN, or the check unsatisfied, after
            rollbacks at lower rates.
    """
    players = [Player(module, loss)] if callable(loss) else list(loss)
    run = _Run(module, players, data, plan, held_out, check, compute, width, checkpoint)
    run.resume()
    threads = threads_for(width=width, batch_size=plan.batch_size)
    with threads, progress or Progress.silent() as shown:
        shown.resumed(len(run.history.train), plan.epochs)
        while not run.is_done:
            run.epoch()
            shown.epoch(run.history.train, run.history.validation, plan.epochs)
    return run.finish()


class _Run:
    """State of one training; the checkpoint is this state."""

    def __init__(
        self,
        module: nn.Module,
        players: Sequence[Player],
        data: Sequence[Tensor],
        plan: TrainingPlan,
        held_out: Sequence[Tensor] | None,
        check: HealthCheck | None,
        compute: ComputeParams | None,
        width: int,
        checkpoint: Path | None,
    ) -> None:
        compute = compute or ComputeParams()
        self.device = resolve_device(compute)
        distributed.join(self.device)
        self.bf16 = uses_bf16(compute, self.device, width=width, batch_size=plan.batch_size)
        self.module = module.to(self.device).train()
        self.players, self.plan, self.checkpoint = players, plan, checkpoint
        self.check = check or (lambda: None)
        self.data = [tensor.to(self.device) for tensor in data]
        self.held_out = [tensor.to(self.device) for tensor in held_out or ()]
        self.seconds_between = compute.checkpoint_seconds
        self.saved_at = time.monotonic()
        self.history = History()
        self.average = self._weights() if plan.averaging else {}
        self.best = self._weights()
        self.optimizers = self._new_optimizers()

    @property
    def is_done(self) -> bool:
        patience = self.plan.patience or self.plan.epochs
        return len(self.history.train) >= self.plan.epochs or self.history.bad_epochs >= patience

    def epoch(self) -> None:
        epoch = len(self.history.train)
        with seeded(self.plan.seed, epoch, self.history.n_retries):
            mean_loss = self._steps(epoch)
        with self._evaluated():
            held_out_loss = self._held_out_loss() if self.held_out else mean_loss
            if not (math.isfinite(mean_loss) and math.isfinite(held_out_loss)):
                problem: str | None = "the loss is not finite"
            else:
                problem = self._health_problem()
            if problem is None:
                self._note(epoch, mean_loss, held_out_loss)
        if problem is not None:
            self._roll_back(problem)
        elif self._is_checkpoint_due():
            self._save()

    def _is_checkpoint_due(self) -> bool:
        if self.checkpoint is None or distributed.rank() != 0:
            return False
        return time.monotonic() - self.saved_at >= self.seconds_between

    def finish(self) -> History:
        distributed.wait_for_all()
        if self.checkpoint and distributed.rank() == 0:
            self._save()
        self.module.load_state_dict(self.best)
        self.module.to("cpu").eval()
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
        self.average = _with_prefix(tensors, "average.")
        self.best = _with_prefix(tensors, "best.")
        for number, optimizer in enumerate(self.optimizers):
            _load_optimizer(optimizer, _with_prefix(tensors, f"optimizer{number}."))

    def _steps(self, epoch: int) -> float:
        n_rows = len(self.data[0])
        total = torch.zeros((), device=self.device)
        order = torch.randperm(n_rows).to(self.device)
        batches = order.split(self.plan.batch_size)
        if distributed.n_processes() > 1:  # the same order of rows, noise of its own
            torch.manual_seed(torch.initial_seed() + distributed.rank())
        for number, rows in enumerate(batches):
            if len(rows) < 2 * distributed.n_processes() and n_rows > 1:
                continue  # batch statistics of a single row are undefined
            own = distributed.own_share(rows)
            batch, share = [tensor[own] for tensor in self.data], len(own) / len(rows)
            rate = self._learning_rate(epoch + number / len(batches))
            losses = [
                self._step(player, optimizer, batch, epoch, rate * player.rate, share)
                for player, optimizer in zip(self.players, self.optimizers, strict=True)
            ]
            self._average_weights()
            total += losses[0] * len(own)
        return float(distributed.summed(total)) / n_rows

    def _step(
        self,
        player: Player,
        optimizer: torch.optim.Optimizer,
        batch: Sequence[Tensor],
        epoch: int,
        rate: float,
        share: float,
    ) -> Tensor:
        parameters = [p for p in player.module.parameters() if p.requires_grad]
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss = player.loss(batch, epoch)
        loss.backward(inputs=parameters)
        distributed.average_gradients(parameters, share)
        nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT_NORM)
        optimizer.step()
        return loss.detach().float()

    def _average_weights(self) -> None:
        if not self.plan.averaging:
            return
        with torch.no_grad():
            for name, value in self.module.state_dict().items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1 - self.plan.averaging)
                else:
                    self.average[name].copy_(value)

    @contextlib.contextmanager
    def _evaluated(self) -> Iterator[None]:
        """Show the network as it would be kept: averaged weights, evaluation mode, no gradients."""
        current = self._weights() if self.plan.averaging else None
        if current is not None:
            self.module.load_state_dict(self.average)
        self.module.eval()
        with torch.no_grad():
            yield
        if current is not None:
            self.module.load_state_dict(current)
        self.module.train()

    def _held_out_loss(self) -> float:
        with (
            seeded(self.plan.seed, self.plan.epochs),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16),
        ):
            loss = float(self.players[0].loss(self.held_out, self.plan.epochs - 1))
        return distributed.decided_by_first(loss, self.device)

    def _health_problem(self) -> str | None:
        with seeded(self.plan.seed, self.plan.epochs):
            problem = self.check()
        is_bad = distributed.decided_by_first(float(problem is not None), self.device)
        return (problem or "the health check failed") if is_bad else None

    def _learning_rate(self, epoch: float) -> float:
        passed = epoch / self.plan.epochs
        if self.plan.schedule == "cosine":
            decay = 0.5 * (1 + math.cos(math.pi * passed))
        else:
            decay = min(1.0, 2 * (1 - passed))
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

    def _roll_back(self, problem: str) -> None:
        self.history.n_retries += 1
        if self.history.n_retries > MAX_RETRIES:
            raise TrainingDiverged(
                f"training diverged in epoch {len(self.history.train) + 1}: {problem} "
                f"even at a learning rate of {self._learning_rate(0):.2g}; lower learning_rate, or "
                "look for extreme values in the numeric columns"
            )
        self.module.load_state_dict(self.best)
        self.average = self._weights() if self.plan.averaging else {}
        self.optimizers = self._new_optimizers()

    def _new_optimizers(self) -> list[torch.optim.Optimizer]:
        plan = self.plan
        return [
            torch.optim.AdamW(
                [p for p in player.module.parameters() if p.requires_grad],
                lr=plan.learning_rate * player.rate,
                betas=plan.betas,
                weight_decay=plan.weight_decay,
                fused=True,
            )
            for player in self.players
        ]

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.module.state_dict().items()}

    def _save(self) -> None:
        assert self.checkpoint is not None
        groups = {"module.": self._weights(), "average.": self.average, "best.": self.best}
        for number, optimizer in enumerate(self.optimizers):
            groups[f"optimizer{number}."] = _optimizer_tensors(optimizer)
        tensors = {f"{p}{name}": v.contiguous() for p, g in groups.items() for name, v in g.items()}
        with atomic_path(self.checkpoint) as folder:
            folder.mkdir()
            save_file(tensors, folder / "tensors.safetensors")
            meta = {**asdict(self.history), "fingerprint": self.fingerprint}
            (folder / "state.json").write_text(json.dumps(meta), encoding="utf-8")
        self.saved_at = time.monotonic()

    def _fingerprint(self) -> str:
        """Return a hash of all that decides how training goes on."""
        digest = hashlib.sha256(repr((self.plan, str(self.module), self.bf16)).encode())
        for tensor in (*self.data, *self.held_out, *self.module.state_dict().values()):
            digest.update(tensor.detach().cpu().numpy().tobytes())
        return digest.hexdigest()


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"{i}.{name}": value for i, entry in state.items() for name, value in entry.items()}


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


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
