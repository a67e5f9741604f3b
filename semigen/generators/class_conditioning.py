"""Families whose network learns without labels first and is then told the classes."""

from __future__ import annotations

import abc
import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from semigen.compute import seeded
from semigen.encoding import Encoded
from semigen.generator_params import ClassConditionedParams
from semigen.generators.network_model import NetworkModel
from semigen.generators.pseudo_labels import pseudo_label
from semigen.progress import Progress
from semigen.training import History, TrainingPlan, train

MIN_STEPS_PER_EPOCH = 10
MIN_BATCH_SIZE = 16

P = TypeVar("P", bound=ClassConditionedParams)
N = TypeVar("N", bound="ClassNetwork")


class ClassNetwork(nn.Module, abc.ABC):
    """A network of rows in its family's own form, given a class or none.

    What depends on the class lies in parameters of its own, which start at zero: a network that
    was taught without classes says the same of every class.
    """

    @abc.abstractmethod
    def losses(self, batch: Sequence[Tensor], y: Tensor | None) -> Tensor:
        """Return the loss of every row of a batch, given its class ``0 ... n_classes - 1``."""


class TwoNetworks(nn.Module, Generic[N]):
    """A network that never saw a label, and its copy that was told the classes."""

    def __init__(self, free: N, told: N | None = None) -> None:
        super().__init__()
        self.free = free
        self.told = told


class ClassConditionedModel(NetworkModel[P], Generic[P, N]):
    """Base of the families that learn ``p(x)`` without labels, and then ``p(x | class)``.

    ``fit`` trains a network on all rows as if none were labeled. Scores and features come from it,
    so that they know no label. Then a copy is told the classes: it gains parameters for each class
    and is trained on, all of it, on the labeled rows and on confident pseudo-labels of the others
    (self-training, Lee 2013, over features of the network that knows no label: ``pseudo_label``;
    generators trained on pseudo-labels: You et al. 2023, "Diffusion Models and Semi-Supervised
    Learners Benefit Mutually with Few Labels"). ``with_classes`` makes another such copy from other
    labels; nothing of those that the model was fitted with is in it, but that unlabeled rows are
    preferred for the held-out part.

    Asked for 500 rows of a class, ``sample`` gives 500 rows drawn from ``p(x | class)`` in one
    pass.
    """

    network: TwoNetworks[N]

    @abc.abstractmethod
    def _learn_form(self, x: np.ndarray) -> None:
        """Learn the family's own form of a row from training rows ``(n, n_features)``."""

    @abc.abstractmethod
    def _new_network(self, n_classes: int) -> N:
        """Return an untrained network for that form; without classes where there are none."""

    @abc.abstractmethod
    def _formed(self, x: np.ndarray) -> list[Tensor]:
        """Return rows ``(n, n_features)`` in the family's own form, a batch of any size."""

    @abc.abstractmethod
    def _learn_features(self, x: np.ndarray) -> None:
        """Learn what ``features`` needs beyond the network."""

    @property
    def classes_(self) -> np.ndarray:
        if self._classes is None:
            raise ValueError("the model knows no classes: fit it with labeled rows among the rows")
        return self._classes

    def with_classes(self, rows: Encoded) -> Self:
        """Return the model with its classes learned anew, from these rows' labels only."""
        other = copy.copy(self)
        other._learn_classes(rows)
        return other

    def _fit(
        self,
        training: Encoded,
        held_out: Encoded,
        checkpoint: Path | None,
        progress: Progress | None,
    ) -> History:
        self._learn_form(training.x)
        with seeded(self.seed):
            free = self._new_network(0)
        self.network = TwoNetworks(free)
        batch_size = self._batch_size(len(training.x))
        scaled = self.params.model_copy(update={"batch_size": batch_size})
        history = train(
            free,
            lambda batch, _: free.losses(batch, None).mean(),
            self._formed(training.x),
            self._plan(
                len(training.x),
                epochs=scaled.n_epochs(len(training.x)),
                batch_size=batch_size,
                patience=self.params.patience,
                averaging=self.params.averaging,
            ),
            held_out=self._formed(held_out.x),
            compute=self.compute,
            width=self._width,
            checkpoint=checkpoint,
            progress=progress,
        )
        self._learn_features(training.x)
        if (training.y >= 0).any():
            self._learn_classes(training, progress)
        return history

    def _learn_classes(self, rows: Encoded, progress: Progress | None = None) -> None:
        """Tell a copy of the free network the classes of the labeled rows."""
        is_labeled = rows.y >= 0
        features = np.empty(0) if is_labeled.all() else self.features(rows.x)
        labels = pseudo_label(features, rows.y, self.params.confidence)
        known = labels >= 0
        classes, positions = np.unique(labels[known], return_inverse=True)
        with seeded(self.seed):
            told = self._new_network(len(classes))
        told.load_state_dict(told.state_dict() | self.network.free.state_dict())
        train(
            told,
            lambda batch, _: told.losses(batch[:-1], batch[-1]).mean(),
            [*self._formed(rows.x[known]), torch.from_numpy(positions)],
            self._class_plan(int(known.sum()), int(is_labeled.sum())),
            compute=self.compute,
            width=self._width,
            progress=progress and Progress(f"{progress.title}, classes", progress.stream),
        )
        self._classes = classes.astype(np.int64)
        self.network = TwoNetworks(self.network.free, told)

    def _class_plan(self, n_known: int, n_labeled: int) -> TrainingPlan:
        """Return a plan whose steps grow with the labeled rows, not with the pseudo-labels."""
        batch_size = self._batch_size(n_known)
        steps = max(self.params.class_steps, self.params.class_epochs * n_labeled // batch_size)
        epochs = max(1, round(steps / -(-n_known // batch_size)))
        return self._plan(
            n_known, epochs=epochs, batch_size=batch_size, averaging=self.params.averaging
        )

    def _batch_size(self, n_rows: int) -> int:
        """Return the rows of a step: fewer where a pass would have too few steps."""
        fitting = max(MIN_BATCH_SIZE, n_rows // MIN_STEPS_PER_EPOCH)
        return min(self.params.batch_size, fitting)

    def _positions(self, y: np.ndarray) -> Tensor:
        """Return the classes' places among ``classes_``, shape ``(n,)``.

        Raises:
            ValueError: If ``y`` holds a class that had no labeled row.
        """
        positions = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        unknown = np.asarray(y)[self.classes_[positions] != y]
        if len(unknown):
            raise ValueError(f"no labeled row had class {unknown[0]}; known: {self.classes_}")
        return torch.from_numpy(positions)

    @property
    def _told(self) -> N:
        if self.network.told is None:
            raise ValueError("the model knows no classes: fit it with labeled rows among the rows")
        return self.network.told

    @property
    @abc.abstractmethod
    def _width(self) -> int:
        """Width of the widest layer."""

    _classes: np.ndarray | None = None

    def _arrays(self) -> dict[str, np.ndarray]:
        return {} if self._classes is None else {"classes": self._classes}

    def _restore(self, arrays: dict[str, Any]) -> None:
        self._classes = arrays.get("classes")
        told = None if self._classes is None else self._new_network(len(self._classes))
        self.network = TwoNetworks(self._new_network(0), told)
