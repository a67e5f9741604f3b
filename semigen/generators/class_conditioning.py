"""Families whose network learns codes of rows without labels first and is then told the classes."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

from semigen.generators.bins import RowBins
from semigen.generators.code_logits import sample_codes
from semigen.generators.network_model import NetworkModel
from semigen.methods.soft_labels import soft_labels
from semigen.params.generators import ClassConditionedParams
from semigen.tables.encoding import Encoded
from semigen.training.averaging import averaging_decay
from semigen.training.compute import seeded, threads_for
from semigen.training.engine import train
from semigen.training.plan import History, LossFunction, TrainingPlan
from semigen.training.progress import Progress

MIN_STEPS_PER_EPOCH = 10
MIN_BATCH_SIZE = 16
MIN_CLASS_ROWS = 128
"""With few labels the steps in which classes are told are fewer by what they have more rows than
this: cross-validation tells the classes anew for every fold."""
MAX_CODES = 8192
MIN_BINS = 8
"""Numeric columns have as many bins as the parameters say, but not so many that the codes of all
columns outnumber ``MAX_CODES``; in tables of hundreds of columns at least ``MIN_BINS`` each."""
MAX_FEATURE_ROWS = 5000

P = TypeVar("P", bound=ClassConditionedParams)
N = TypeVar("N", bound="ClassNetwork")


class ClassNetwork(nn.Module, abc.ABC):
    """A network of rows of codes ``(n, n_columns)``, given classes ``(n,)`` or none.

    What depends on the class lies in parameters of its own that start at zero, so that a network
    which learned without classes can be told them.
    """

    @abc.abstractmethod
    def losses(self, codes: Tensor, y: Tensor | None) -> Tensor:
        """Return the loss of every row, shape ``(n,)``; classes count from 0."""

    @abc.abstractmethod
    def units(self, codes: Tensor) -> Tensor:
        """Return hidden units that describe every row, shape ``(n, n_units)``; no class is told."""


class TwoNetworks(nn.Module, Generic[N]):
    """A network that never saw a label, and its copy that was told the classes."""

    def __init__(self, free: N, told: N | None = None) -> None:
        super().__init__()
        self.free, self.told = free, told


class ClassConditionedModel(NetworkModel[P], Generic[P, N]):
    """Base of the families that learn ``p(x)`` without labels, and then ``p(x | class)``.

    ``fit`` trains a network on all rows as if none were labeled. Scores and features come from it,
    so that they know no label. Then a copy is told the classes: it gains parameters for each class
    and is trained on, all of it, with the class of every labeled row, and for every other row a
    class drawn anew in each step from what the labels say of it (``soft_labels``; generation with
    labels predicted from few: Lucic et al. 2019, "High-Fidelity Image Generation With Fewer
    Labels"). Drawing keeps ``sum p(y) p(x | y) = p(x)``; only confident rows would leave out what
    lies between the classes. ``with_classes`` makes another such copy from other labels, again from
    the network that saw none.

    Asked for 500 rows of a class, ``sample`` draws 500 rows from ``p(x | class)`` in one pass.
    Features are the leading principal components of the free network's hidden units, each of unit
    variance.

    Attributes:
        bins: Turns encoded rows into codes and back; after ``fit``.
    """

    network: TwoNetworks[N]
    bins: RowBins
    _feature_mean: np.ndarray
    _feature_axes: np.ndarray

    @abc.abstractmethod
    def _new_network(self, n_classes: int) -> N:
        """Return an untrained network for the bins' codes; 0 classes for one that knows none."""

    @property
    @abc.abstractmethod
    def _width(self) -> int:
        """Width of the network's widest layer."""

    @property
    def _block_width(self) -> int:
        """Width of what is multiplied at once, which decides whether more threads pay."""
        return self._width

    def features(self, x: np.ndarray) -> np.ndarray:
        """Return principal components of hidden units, shape ``(n, feature_dim)``, float32."""
        mean, axes = torch.from_numpy(self._feature_mean), torch.from_numpy(self._feature_axes)
        return self._map_chunks(
            lambda codes: (self.network.free.units(codes) - mean) @ axes, self.bins.encode(x)
        )

    def _fit(
        self,
        training: Encoded,
        held_out: Encoded,
        checkpoint: Path | None,
        progress: Progress | None,
    ) -> History:
        most = max(MIN_BINS, MAX_CODES // len(self.spans))
        self.bins = RowBins.fit(training.x, self.spans, min(self.params.bins, most))
        with seeded(self.seed):
            free = self._new_network(0)
        self.network = TwoNetworks(free)
        history = self._train(
            free,
            lambda batch, _: free.losses(batch[0], None).mean(),
            [self._codes(training.x)],
            self._free_plan(len(training.x)),
            held_out=[self._codes(held_out.x)],
            checkpoint=checkpoint and checkpoint / "free",
            progress=progress,
        )
        self._learn_features(training.x)
        if (training.y >= 0).any():
            self._learn_classes(training, held_out, checkpoint and checkpoint / "classes", progress)
        return history

    def _learn_classes(
        self,
        training: Encoded,
        held_out: Encoded,  # noqa: ARG002
        checkpoint: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Tell a copy of the free network the classes of the labeled rows."""
        known = soft_labels(training.x, self.features, training.y, self.seed)
        with seeded(self.seed):
            told = self._new_network(len(known.classes))
        told.load_state_dict(told.state_dict() | self.network.free.state_dict())

        def loss(batch: Sequence[Tensor], _: int) -> Tensor:
            codes, log_shares = batch
            return told.losses(codes, sample_codes(log_shares)).mean()

        self._train(
            told,
            loss,
            [self._codes(training.x), torch.from_numpy(known.probabilities).log()],
            self._class_plan(training.y),
            checkpoint=checkpoint,
            progress=progress,
        )
        self._classes = known.classes
        self.network = TwoNetworks(self.network.free, told)

    def _train(
        self,
        network: N,
        loss: LossFunction,
        data: Sequence[Tensor],
        plan: TrainingPlan,
        **options: Any,
    ) -> History:
        with threads_for(width=self._block_width, batch_size=plan.batch_size):
            return train(
                network, loss, data, plan, compute=self.compute, width=self._width, **options
            )

    def _learn_features(self, x: np.ndarray) -> None:
        """Learn the principal components of the hidden units."""
        step = -(-len(x) // MAX_FEATURE_ROWS)
        units = self._map_chunks(self.network.free.units, self.bins.encode(x[::step]))
        n_components = min(self.params.feature_dim, *units.shape)
        pca = PCA(n_components, svd_solver="randomized", random_state=self.seed).fit(units)
        deviations = np.sqrt(np.maximum(pca.explained_variance_, 1e-6))
        self._feature_mean = pca.mean_.astype(np.float32)
        self._feature_axes = (pca.components_ / deviations[:, None]).T.astype(np.float32)

    def _free_plan(self, n_rows: int) -> TrainingPlan:
        scaled = self.params.model_copy(update={"batch_size": self._batch_size(n_rows)})
        return self._plan_of(scaled.n_epochs(n_rows), n_rows, patience=self.params.patience)

    def _class_plan(self, y: np.ndarray) -> TrainingPlan:
        """Return a plan of fewer steps where most rows are unlabeled."""
        batch_size = self._batch_size(len(y))
        least = min(1.0, MIN_CLASS_ROWS / batch_size)
        steps = self.params.class_steps * max(least, float(np.mean(y >= 0)))
        return self._plan_of(max(1, round(steps / -(-len(y) // batch_size))), len(y))

    def _plan_of(self, epochs: int, n_rows: int, patience: int | None = None) -> TrainingPlan:
        batch_size = self._batch_size(n_rows)
        n_steps = epochs * -(-n_rows // batch_size)
        return self._plan(
            n_rows,
            epochs=epochs,
            batch_size=batch_size,
            patience=patience,
            averaging=averaging_decay(n_steps, self.params.averaging),
        )

    def _batch_size(self, n_rows: int) -> int:
        """Return the rows of a step: fewer where a pass would have too few steps."""
        return min(self.params.batch_size, max(MIN_BATCH_SIZE, n_rows // MIN_STEPS_PER_EPOCH))

    def _codes(self, x: np.ndarray) -> Tensor:
        return torch.from_numpy(self.bins.encode(x))

    @property
    def _told(self) -> N:
        """The network that knows the classes."""
        _ = self.classes_  # raises UserError if there are none
        assert self.network.told is not None
        return self.network.told

    def _arrays(self) -> dict[str, np.ndarray]:
        classes = {} if self._classes is None else {"classes": self._classes}
        features = {"feature_mean": self._feature_mean, "feature_axes": self._feature_axes}
        return classes | features | self.bins.arrays()

    def _restore(self, arrays: dict[str, np.ndarray]) -> None:
        self.bins = RowBins.from_arrays(arrays, self.spans)
        self._feature_mean = arrays["feature_mean"]
        self._feature_axes = arrays["feature_axes"]
        told = None if self._classes is None else self._new_network(len(self._classes))
        self.network = TwoNetworks(self._new_network(0), told)
