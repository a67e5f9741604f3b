"""Training loop of all networks.

Batches are indexed from whole tensors, which costs a small fraction of a ``DataLoader``. All
randomness of an epoch is determined by ``(seed, epoch)``. A run that is killed and resumed from its
checkpoint therefore ends with bit-identical weights, and no generator states are stored.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from semigen.params.config import ComputeParams
from semigen.training import distributed
from semigen.training.averaging import copy_state, update_average
from semigen.training.checkpoint import (
    Checkpoint,
    is_of_other_code,
    load_optimizer_state,
    optimizer_state,
)
from semigen.training.compute import resolve_device, seeded, threads_for, uses_bf16
from semigen.training.plan import (
    HealthCheck,
    History,
    LossFunction,
    Player,
    TrainingDiverged,
    TrainingPlan,
)
from semigen.training.progress import Progress

MAX_RETRIES = 3
RETRY_RATE = 0.3
"""Factor on the learning rate after a loss that is not finite or a failed health check."""
MAX_GRADIENT_NORM = 10.0
HELD_OUT_ROWS = 8192
"""Held-out rows whose loss is computed at once, which bounds the memory."""


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
    """Train a module in place; with held-out rows, keep the weights of the best epoch.

    Args:
        module: Network; moved to the device for training and back to the CPU at the end.
        loss: Mean loss of a batch, or the players of a game, whose networks are parts of
            ``module``. The history records the loss of the first player.
        data: Tensors of shape ``(n, ...)``; a batch holds the same rows of each tensor.
        plan: Epochs, batch size, learning rate and seed.
        held_out: Tensors like ``data``. Their loss determines early stopping and the epoch whose
            weights are kept.
        check: Health check, called after every epoch in evaluation mode, without gradients, on the
            training device. If it fails, training returns to the best weights (without held-out
            rows: those of the last epoch that passed) and continues at a lower learning rate, as
            after a loss that is not finite.
        compute: Device and precision.
        width: Width of the widest layer, which decides on bf16 and on the number of threads.
        checkpoint: Folder for checkpoints. Training resumes from a checkpoint of the same plan,
            network, data and code; if that training was complete, nothing is trained. The last
            checkpoint is kept for models that train several networks; the caller removes it.
        progress: Receives the losses of every epoch.

    Returns:
        Losses and the epoch whose weights were kept.

    Raises:
        TrainingDiverged: If the loss is not finite, or the check fails, also at lower rates.

    Examples:
        >>> x = torch.linspace(-1, 1, 64)[:, None]
        >>> layer = nn.Linear(1, 1)
        >>> plan = TrainingPlan(epochs=100, batch_size=16, learning_rate=0.1, seed=0)
        >>> history = train(layer, lambda b, _: (layer(b[0]) - 3 * b[0]).square().mean(), [x], plan)
        >>> round(layer.weight.item(), 2)
        3.0
        >>> len(history.train)
        100
    """
    players = [Player(module, loss)] if callable(loss) else list(loss)
    run = _Training(module, players, data, plan, held_out, check, compute, width, checkpoint)
    threads = threads_for(width=width, batch_size=plan.batch_size)
    with threads, progress or Progress.silent() as shown:
        run.resume(shown)
        shown.resumed(len(run.history.train), plan.epochs)
        while not run.is_done:
            run.epoch()
            shown.epoch(run.history.train, run.history.validation, plan.epochs)
    return run.finish()


class _Training:
    """State of one training, which checkpoints save."""

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
        self.average = copy_state(module) if plan.averaging else {}
        self.best = copy_state(module)
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
                self._record(epoch, mean_loss, held_out_loss)
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

    def resume(self, progress: Progress) -> None:
        """Continue from a checkpoint, if there is one of the same network, plan, data and code."""
        if self.checkpoint is None:
            return
        self.fingerprint = self._fingerprint()
        state = Checkpoint.load(
            self.checkpoint, self.fingerprint, len(self.optimizers), self.device
        )
        if state is None:
            if is_of_other_code(self.checkpoint, self.fingerprint):
                progress.restarted()
            return
        self.history, self.average, self.best = state.history, state.average, state.best
        self.module.load_state_dict(state.module)
        for optimizer, tensors in zip(self.optimizers, state.optimizers, strict=True):
            load_optimizer_state(optimizer, tensors)

    def _steps(self, epoch: int) -> float:
        total = torch.zeros((), device=self.device)
        order = torch.randperm(len(self.data[0])).to(self.device)
        batches = order.split(self.plan.batch_size)[: self.plan.steps_per_epoch]
        n_rows = sum(map(len, batches))
        if distributed.n_processes() > 1:  # processes share the order of rows, not the noise
            torch.manual_seed(torch.initial_seed() + distributed.rank())
        for number, rows in enumerate(batches):
            if len(rows) < 2 * distributed.n_processes() and n_rows > 1:
                continue  # batch statistics of a single row are undefined
            own = distributed.own_share(rows)
            batch, weight = [tensor[own] for tensor in self.data], len(own) / len(rows)
            rate = self._learning_rate(epoch + number / len(batches))
            loss_epoch = self._loss_epoch(epoch * len(batches) + number, len(batches))
            losses = [
                self._step(player, optimizer, batch, loss_epoch, rate * player.rate, weight)
                for player, optimizer in zip(self.players, self.optimizers, strict=True)
            ]
            if self.plan.averaging:
                update_average(self.average, self.module, self.plan.averaging)
            total += losses[0] * len(own)
        return float(distributed.summed(total)) / n_rows

    def _loss_epoch(self, step: int, steps_per_epoch: int) -> int:
        """Return the epoch that a step belongs to in the schedules of the loss."""
        return step * self.plan.schedule_epochs // (self.plan.epochs * steps_per_epoch)

    def _step(
        self,
        player: Player,
        optimizer: torch.optim.Optimizer,
        batch: Sequence[Tensor],
        epoch: int,
        rate: float,
        weight: float,
    ) -> Tensor:
        parameters = [p for p in player.module.parameters() if p.requires_grad]
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss = player.loss(batch, epoch)
        loss.backward(inputs=parameters)
        distributed.average_gradients(parameters, weight)
        nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT_NORM)
        optimizer.step()
        return loss.detach().float()

    @contextlib.contextmanager
    def _evaluated(self) -> Iterator[None]:
        """Use averaged weights and evaluation mode, without gradients, inside the block."""
        current = copy_state(self.module) if self.plan.averaging else None
        if current is not None:
            self.module.load_state_dict(self.average)
        self.module.eval()
        with torch.no_grad():
            yield
        if current is not None:
            self.module.load_state_dict(current)
        self.module.train()

    def _held_out_loss(self) -> float:
        loss, last_epoch, total = self.players[0].loss, self.plan.schedule_epochs - 1, 0.0
        with (
            seeded(self.plan.seed, self.plan.epochs),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16),
        ):
            for batch in zip(*(x.split(HELD_OUT_ROWS) for x in self.held_out), strict=True):
                total += float(loss(batch, last_epoch)) * len(batch[0])
        return distributed.decided_by_first(total / len(self.held_out[0]), self.device)

    def _health_problem(self) -> str | None:
        with seeded(self.plan.seed, self.plan.epochs):
            problem = self.check()
        is_bad = distributed.decided_by_first(float(problem is not None), self.device)
        return (problem or "the health check failed") if is_bad else None

    def _learning_rate(self, epoch: float) -> float:
        progress = epoch / self.plan.epochs
        if self.plan.schedule == "cosine":
            decay = 0.5 * (1 + math.cos(math.pi * progress))
        else:
            decay = min(1.0, 2 * (1 - progress))
        return self.plan.learning_rate * decay * RETRY_RATE**self.history.n_retries

    def _record(self, epoch: int, train_loss: float, held_out_loss: float) -> None:
        history = self.history
        history.train.append(train_loss)
        if not self.held_out:
            self.best = copy_state(self.module)
            history.best_epoch = epoch
            return
        is_better = held_out_loss < min(history.validation, default=math.inf)
        history.validation.append(held_out_loss)
        history.bad_epochs = 0 if is_better else history.bad_epochs + 1
        if is_better:
            self.best, history.best_epoch = copy_state(self.module), epoch

    def _roll_back(self, problem: str) -> None:
        self.history.n_retries += 1
        if self.history.n_retries > MAX_RETRIES:
            raise TrainingDiverged(
                f"training diverged in epoch {len(self.history.train) + 1}: {problem} "
                f"even at a learning rate of {self._learning_rate(0):.2g}; lower learning_rate, or "
                "check the numeric columns for extreme values"
            )
        self.module.load_state_dict(self.best)
        self.average = copy_state(self.module) if self.plan.averaging else {}
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

    def _save(self) -> None:
        assert self.checkpoint is not None
        Checkpoint(
            self.history,
            copy_state(self.module),
            self.average,
            self.best,
            [optimizer_state(optimizer) for optimizer in self.optimizers],
        ).save(self.checkpoint, self.fingerprint)
        self.saved_at = time.monotonic()

    def _fingerprint(self) -> str:
        """Return a hash of plan, network and data."""
        digest = hashlib.sha256(repr((self.plan, str(self.module), self.bf16)).encode())
        for tensor in (*self.data, *self.held_out, *self.module.state_dict().values()):
            digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).reshape(-1).data)
        return digest.hexdigest()
