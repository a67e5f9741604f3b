"""Settings and results of a training: plan, players of a game, history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from semigen.errors import UserError

LossFunction = Callable[[Sequence[Tensor], int], Tensor]
"""``loss(batch, epoch)``: the mean loss of a batch, a scalar. Epochs count from 0 to
``plan.schedule_epochs - 1``, in proportion to the steps. Held-out losses are computed with the last
epoch, so that schedules such as KL warm-up do not change them."""

HealthCheck = Callable[[], str | None]
"""Returns a description of what is wrong with the network although its loss is finite, such as mode
collapse, or None."""


@dataclass(frozen=True)
class Player:
    """One of several networks that are trained against each other, one step each in turn.

    Attributes:
        module: The network whose parameters the step changes; a part of the trained module.
        loss: The loss that the network minimizes. Gradients of other networks are discarded.
        rate: Factor on the plan's learning rate.

    Examples:
        >>> import torch
        >>> layer = nn.Linear(2, 1)
        >>> player = Player(layer, lambda batch, epoch: layer(batch[0]).square().mean(), rate=0.5)
        >>> player.loss([torch.zeros(3, 2)], 0).shape
        torch.Size([])
    """

    module: nn.Module
    loss: LossFunction
    rate: float = 1.0


@dataclass(frozen=True)
class TrainingPlan:
    """Settings of a training.

    Attributes:
        epochs: Maximum number of passes over the rows.
        batch_size: Rows of one step.
        learning_rate: Largest step size of AdamW.
        seed: Seed of the order of the rows and of all noise.
        patience: Epochs without a better held-out loss after which training stops; None for all.
        objective: Text that identifies the loss and its settings. A checkpoint of another objective
            or another plan is not resumed.
        schedule: Decay of the learning rate to zero: ``cosine``, half a cosine from the first step,
            or ``late``, constant in the first half and linear in the second.
        betas: Decay rates of AdamW's moment estimates.
        weight_decay: Decoupled weight decay (AdamW).
        averaging: Decay, per step, of an exponential moving average of the weights. The average
            replaces the weights at the end, and for held-out losses and health checks; 0 for none.
        steps_per_epoch: Maximum number of steps of an epoch, which then sees a random part of the
            rows; None for no limit.
        loss_epochs: Number of epochs by which losses count, such as for KL warm-up. A training that
            a limit of steps has shortened to fewer ``epochs`` passes through all of them. None for
            ``epochs``.

    Examples:
        >>> TrainingPlan(epochs=10, batch_size=64, learning_rate=1e-3, seed=0).schedule
        'cosine'
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
    steps_per_epoch: int | None = None
    loss_epochs: int | None = None

    @property
    def schedule_epochs(self) -> int:
        """Number of epochs that the loss counts."""
        return self.loss_epochs or self.epochs


@dataclass
class History:
    """Losses and events of a training.

    Attributes:
        train: Mean training loss of every epoch.
        validation: Held-out loss after every epoch; empty without held-out rows.
        best_epoch: Epoch, from 0, whose weights were kept.
        n_retries: Number of returns to the best weights with a lower learning rate.
        bad_epochs: Epochs since the best one.

    Examples:
        >>> history = History(train=[2.0, 1.0], validation=[2.5, 1.5], best_epoch=1)
        >>> history.validation[history.best_epoch]
        1.5
    """

    train: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    best_epoch: int = 0
    n_retries: int = 0
    bad_epochs: int = 0


class TrainingDiverged(UserError):
    """The loss was not finite, or a health check failed, also at lower learning rates."""
