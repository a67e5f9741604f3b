"""What all families share: held-out rows, novelty, chunked evaluation, files."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from semigen.artifacts import read_json, remove
from semigen.params.config import ComputeParams
from semigen.params.generators import NetworkParams
from semigen.tables.encoding import Encoded, Span
from semigen.training import distributed
from semigen.training.engine import History, TrainingPlan, load_weights, save_module
from semigen.training.progress import Progress

CHUNK_ROWS = 8192
N_QUANTILES = 201

P = TypeVar("P", bound=NetworkParams)


class NetworkModel(abc.ABC, Generic[P]):
    """Base of the families: a ``GenerativeModel`` around one ``nn.Module``.

    A family sets ``family`` and ``params_type``, builds ``self.network`` (in ``__init__``, or in
    ``_fit`` and ``_restore`` where its shape depends on data), and writes the methods that raise
    here.

    Args:
        spans: Layout of an encoded row.
        params: Architecture and training.
        compute: Device and precision.
        seed: Seed of weights, batches and noise.

    Attributes:
        network: All that is learned by gradient.
        held_out_scores: Quantiles of the scores of held-out rows, after ``fit``.
    """

    family: ClassVar[str]
    params_type: type[P]
    network: nn.Module

    def __init__(
        self,
        spans: Sequence[Span],
        params: P,
        compute: ComputeParams | None = None,
        seed: int = 0,
    ) -> None:
        self.spans, self.params, self.seed = tuple(spans), params, seed
        self.compute = compute or ComputeParams()
        self.held_out_scores: np.ndarray | None = None

    @property
    @abc.abstractmethod
    def classes_(self) -> np.ndarray:
        """Class indices that ``sample`` can be asked for, shape ``(n_classes,)``."""

    @property
    def n_features(self) -> int:
        return self.spans[-1].stop

    def fit(
        self, rows: Encoded, *, checkpoint: Path | None = None, progress: Progress | None = None
    ) -> History:
        """Train on the rows of an encoded table and learn the classes from the labeled ones.

        The rows of ``held_out`` are not trained on.
        """
        held_out = self.held_out(rows.y)
        is_kept = np.ones(len(rows.y), bool)
        is_kept[held_out] = False
        history = self._fit(_at(rows, is_kept), _at(rows, held_out), checkpoint, progress)
        if checkpoint and distributed.rank() == 0:
            remove(checkpoint)
        shares = np.linspace(0.0, 1.0, N_QUANTILES)
        self.held_out_scores = np.quantile(self.score(rows.x[held_out]), shares)
        return history

    def held_out(self, y: np.ndarray) -> np.ndarray:
        """Return the indices of the rows that ``fit`` keeps out of training, at least one.

        A share ``validation_size`` of all rows, drawn by the seed: from the unlabeled rows, which
        are plenty where labels are few; from all rows where too few are unlabeled.

        Args:
            y: Class indices of all rows, -1 where unlabeled.
        """
        n_held_out = max(1, round(len(y) * self.params.validation_size))
        candidates = np.flatnonzero(y < 0)
        if len(candidates) < 2 * n_held_out:
            candidates = np.arange(len(y))
        rng = np.random.default_rng(self.seed)
        return np.sort(rng.choice(candidates, n_held_out, replace=False))

    @abc.abstractmethod
    def with_classes(self, rows: Encoded) -> Self:
        """Return the model with its classes learned anew from other labels only."""

    @abc.abstractmethod
    def features(self, x: np.ndarray) -> np.ndarray:
        """Return learned features, shape ``(n, n_latent)``, float32."""

    @abc.abstractmethod
    def sample(self, y: np.ndarray, seed: int) -> np.ndarray:
        """Return one new encoded row of each class in ``y``, shape ``(len(y), n_features)``."""

    @abc.abstractmethod
    def score(self, x: np.ndarray) -> np.ndarray:
        """Return how well the model explains each row, shape ``(n,)``; higher is more typical."""

    def novelty(self, x: np.ndarray) -> np.ndarray:
        """Return the share of held-out rows that look more typical than each row, shape ``(n,)``.

        Ranks among rows that the network was not trained on are honest: a new row of the same kind
        has any novelty with equal chance (split conformal prediction; Vovk et al. 2005).

        Raises:
            ValueError: If the model was not trained.
        """
        if self.held_out_scores is None:
            raise ValueError("the model is not trained: nothing is known of typical scores")
        shares = np.linspace(0.0, 1.0, N_QUANTILES)
        return 1.0 - np.interp(self.score(x), self.held_out_scores, shares)

    def save(self, folder: Path) -> None:
        """Write weights, settings and classes into a folder: safetensors and JSON."""
        scores = self.held_out_scores
        config = {
            "family": self.family,
            "spans": [asdict(span) for span in self.spans],
            "params": self.params.model_dump(mode="json"),
            "seed": self.seed,
            "held_out_scores": None if scores is None else scores.tolist(),
        }
        save_module(self.network, config, folder)
        arrays = {name: np.ascontiguousarray(array) for name, array in self._arrays().items()}
        if arrays:
            save_file(arrays, folder / "arrays.safetensors")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote."""
        config = read_json(folder / "config.json")
        spans = [Span(**span) for span in config["spans"]]
        model = cls(spans, cls.params_type(**config["params"]), seed=config["seed"])
        if config["held_out_scores"] is not None:
            model.held_out_scores = np.array(config["held_out_scores"])
        path = folder / "arrays.safetensors"
        model._restore(load_file(path) if path.exists() else {})
        load_weights(model.network, folder)
        return model

    @abc.abstractmethod
    def _fit(
        self,
        training: Encoded,
        held_out: Encoded,
        checkpoint: Path | None,
        progress: Progress | None,
    ) -> History:
        """Train; ``held_out`` rows may only stop training and choose its epoch.

        A family of several trainings gives each a folder of its own within ``checkpoint``.
        """

    def _arrays(self) -> dict[str, np.ndarray]:
        """Return what is learned other than by gradient; no training row."""
        return {}

    def _restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back what ``_arrays`` returned, before the network's weights are read."""

    def _plan(self, n_rows: int, **changes: Any) -> TrainingPlan:
        """Return the plan that the parameters ask for; ``changes`` are a family's own settings."""
        settings: dict[str, Any] = {
            "epochs": self.params.n_epochs(n_rows),
            "batch_size": self.params.batch_size,
            "learning_rate": self.params.learning_rate,
            "seed": self.seed,
            "objective": f"{self.family} {self.params.model_dump_json()}",
        }
        return TrainingPlan(**settings | changes)

    def _map_chunks(self, function: Callable[..., Tensor], *arrays: np.ndarray) -> np.ndarray:
        """Return ``function`` of chunks of rows of the arrays, joined; without gradients."""
        with torch.no_grad():
            tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
            chunks = zip(*(tensor.split(CHUNK_ROWS) for tensor in tensors), strict=True)
            return torch.cat([function(*chunk) for chunk in chunks]).numpy()


def _at(rows: Encoded, index: np.ndarray) -> Encoded:
    return Encoded(rows.x[index], rows.y[index])
