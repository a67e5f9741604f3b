"""Base of the families that train an unconditional network first and a conditional one then."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

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
"""With few labels, the conditional training has fewer steps, in proportion to the labeled rows, but
at least as if one batch of this many rows were labeled in each batch of the training.
Cross-validation repeats this training for every fold."""
MAX_CODES = 8192
MIN_BINS = 8
"""The number of bins of a numeric column is lowered so that all columns have at most ``MAX_CODES``
codes, but to no less than ``MIN_BINS``."""
MAX_FEATURE_ROWS = 5000
UNCONDITIONAL, CONDITIONAL = "free", "told"
"""Names of the networks in saved models."""

P = TypeVar("P", bound=ClassConditionedParams)
N = TypeVar("N", bound="ClassNetwork")


class ClassNetwork(nn.Module, abc.ABC):
    """A network of codes that is conditioned on the class, or unconditional.

    The class enters through separate parameters that start at zero, so a network that was trained
    without classes can be trained further with classes.

    **Shape**: codes ``(n, n_columns)`` int64; classes ``(n,)`` int64, counted from 0, or None.
    """

    @abc.abstractmethod
    def losses(self, codes: Tensor, y: Tensor | None) -> Tensor:
        """Return the loss of every row, shape ``(n,)``."""

    @abc.abstractmethod
    def units(self, codes: Tensor) -> Tensor:
        """Return hidden units that describe every row without its class, ``(n, n_units)``."""


class ClassConditionedModel(NetworkModel[P], Generic[P, N]):
    """Base of the families that learn ``p(x)`` without labels, and then ``p(x | class)``.

    ``fit`` trains an unconditional network on all rows, without labels. Scores and features are
    computed by this network. A copy of it with additional parameters for the classes is then
    trained further, conditioned on the class. The class of a labeled row is known; that of an
    unlabeled row is drawn in each step from its class probabilities (``soft_labels``; Lucic et al.
    2019, "High-Fidelity Image Generation With Fewer Labels"). Because the classes are drawn,
    ``sum p(y) p(x | y) = p(x)``; if only confident rows were used, the rows between the classes
    would be missing.

    Features are the leading principal components of the hidden units, scaled to unit variance.

    Attributes:
        bins: Converts encoded rows to codes and back; set by ``fit``.
    """

    network: nn.ModuleDict
    bins: RowBins
    _feature_mean: np.ndarray
    _feature_axes: np.ndarray

    @abc.abstractmethod
    def _new_network(self, n_classes: int) -> N:
        """Return an untrained network for the codes of the bins; unconditional for 0 classes."""

    @property
    @abc.abstractmethod
    def _width(self) -> int:
        """Width of the network's widest layer."""

    @property
    def _block_width(self) -> int:
        """Width of the largest matrix product, which decides on the number of threads."""
        return self._width

    def features(self, x: np.ndarray) -> np.ndarray:
        """Return principal components of hidden units, shape ``(n, feature_dim)``, float32."""
        mean, axes = torch.from_numpy(self._feature_mean), torch.from_numpy(self._feature_axes)
        return self._map_chunks(
            lambda codes: (self._unconditional.units(codes) - mean) @ axes, self.bins.encode(x)
        )

    def _fit(
        self,
        training: Encoded,
        held_out: Encoded,
        checkpoint: Path | None,
        progress: Progress | None,
    ) -> History:
        max_bins = max(MIN_BINS, MAX_CODES // len(self.spans))
        n_bins = min(self.params.bins, max_bins)
        self.bins = RowBins.fit(training.x, self.spans, n_bins, self.min_rows)
        with seeded(self.seed):
            network = self._new_network(0)
        self.network = nn.ModuleDict({UNCONDITIONAL: network})
        history = self._train(
            network,
            lambda batch, _: network.losses(batch[0], None).mean(),
            [self._codes(training.x)],
            self._unconditional_plan(len(training.x)),
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
        """Train a copy of the unconditional network on the classes of the rows."""
        labels = soft_labels(training.x, self.features, training.y, self.seed)
        with seeded(self.seed):
            network = self._new_network(len(labels.classes))
        network.load_state_dict(network.state_dict() | self._unconditional.state_dict())

        def loss(batch: Sequence[Tensor], _: int) -> Tensor:
            codes, log_probabilities = batch
            return network.losses(codes, sample_codes(log_probabilities)).mean()

        self._train(
            network,
            loss,
            [self._codes(training.x), torch.from_numpy(labels.probabilities).log()],
            self._conditional_plan(training.y),
            checkpoint=checkpoint,
            progress=progress,
        )
        self._classes = labels.classes
        self.network = nn.ModuleDict({UNCONDITIONAL: self._unconditional, CONDITIONAL: network})

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
        units = self._map_chunks(self._unconditional.units, self.bins.encode(x[::step]))
        n_components = min(self.params.feature_dim, *units.shape)
        pca = PCA(n_components, svd_solver="randomized", random_state=self.seed).fit(units)
        deviations = np.sqrt(np.maximum(pca.explained_variance_, 1e-6))
        self._feature_mean = pca.mean_.astype(np.float32)
        self._feature_axes = (pca.components_ / deviations[:, None]).T.astype(np.float32)

    def _unconditional_plan(self, n_rows: int) -> TrainingPlan:
        scaled = self.params.model_copy(update={"batch_size": self._batch_size(n_rows)})
        return self._scaled_plan(scaled.n_steps(n_rows), n_rows, patience=self.params.patience)

    def _conditional_plan(self, y: np.ndarray) -> TrainingPlan:
        """Return a plan with fewer steps if most rows are unlabeled."""
        batch_size = self._batch_size(len(y))
        min_fraction = min(1.0, MIN_CLASS_ROWS / batch_size)
        steps = self.params.class_steps * max(min_fraction, float(np.mean(y >= 0)))
        return self._scaled_plan(steps, len(y))

    def _scaled_plan(self, steps: float, n_rows: int, patience: int | None = None) -> TrainingPlan:
        """Return a plan of the whole number of epochs nearest to ``steps``, or a part of one."""
        batch_size = self._batch_size(n_rows)
        steps_per_epoch = min(-(-n_rows // batch_size), max(1, round(steps)))
        epochs = round(steps / steps_per_epoch)
        return self._plan(
            n_rows,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            batch_size=batch_size,
            patience=patience,
            averaging=averaging_decay(epochs * steps_per_epoch, self.params.averaging),
            loss_epochs=None,
        )

    def _batch_size(self, n_rows: int) -> int:
        """Return the batch size, which is smaller if an epoch would have too few steps."""
        return min(self.params.batch_size, max(MIN_BATCH_SIZE, n_rows // MIN_STEPS_PER_EPOCH))

    def _codes(self, x: np.ndarray) -> Tensor:
        return torch.from_numpy(self.bins.encode(x))

    @property
    def _unconditional(self) -> N:
        return cast(N, self.network[UNCONDITIONAL])

    @property
    def _conditional(self) -> N:
        _ = self.classes_  # raises UserError if there are none
        return cast(N, self.network[CONDITIONAL])

    def _arrays(self) -> dict[str, np.ndarray]:
        classes = {} if self._classes is None else {"classes": self._classes}
        features = {"feature_mean": self._feature_mean, "feature_axes": self._feature_axes}
        return classes | features | self.bins.arrays()

    def _restore(self, arrays: dict[str, np.ndarray]) -> None:
        self.bins = RowBins.from_arrays(arrays, self.spans)
        self._feature_mean = arrays["feature_mean"]
        self._feature_axes = arrays["feature_axes"]
        self.network = nn.ModuleDict({UNCONDITIONAL: self._new_network(0)})
        if self._classes is not None:
            self.network[CONDITIONAL] = self._new_network(len(self._classes))
