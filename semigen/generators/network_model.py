"""Base class of the generator families: classes, held-out rows, novelty and files."""

from __future__ import annotations

import abc
import contextlib
import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from semigen.artifacts import remove
from semigen.errors import UserError
from semigen.generators.bins import MIN_ROWS
from semigen.generators.saved_network import check_arrays, check_layout, size_limit
from semigen.methods.class_index import class_positions
from semigen.params.config import ComputeParams
from semigen.params.generators import NetworkParams
from semigen.storage.saved_files import check_file, read_arrays, read_saved_json, reading
from semigen.tables.encoding import Encoded, Span
from semigen.training import distributed
from semigen.training.compute import resolve_device, seeded
from semigen.training.plan import History, TrainingPlan
from semigen.training.progress import Progress
from semigen.training.shared_arrays import share
from semigen.training.weights import load_weights, save_module

CHUNK_ROWS = 8192
"""Number of rows that a network processes at once, and that share one draw of noise."""
N_QUANTILES = 201

P = TypeVar("P", bound=NetworkParams)


class NetworkModel(abc.ABC, Generic[P]):
    """Base class of all families: a ``GenerativeModel`` around one ``nn.Module``.

    A family sets ``family`` and ``params_type``, builds ``self.network`` (in ``__init__``, or in
    ``_fit`` and ``_restore`` if its shape depends on the data), and implements the abstract
    methods. The families show examples: ``VAE``, ``SSVAE``, ``GAN``, ``SSGAN``, ``Diffusion`` and
    ``Autoregressive``.

    Args:
        spans: Layout of an encoded row.
        params: Architecture and training parameters.
        compute: Device and precision.
        seed: Seed of initial weights, batches and noise.

    Attributes:
        network: All weights that are learned by gradient descent.
        min_rows: Minimum number of training rows behind each value that the model stores.
        held_out_scores: Quantiles of the scores of held-out rows; None before ``fit``.
    """

    family: ClassVar[str]
    params_type: type[P]
    network: nn.Module
    min_rows: int = MIN_ROWS

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
        self._classes: np.ndarray | None = None

    @property
    def classes_(self) -> np.ndarray:
        """Class indices that ``sample`` accepts, ascending, shape ``(n_classes,)``, int64.

        Raises:
            UserError: If the model was not fitted, or without any labeled row.
        """
        if self._classes is None:
            raise UserError("the model has learned no classes: fit it on some labeled rows")
        return self._classes

    @property
    def n_features(self) -> int:
        """Width of an encoded row."""
        return self.spans[-1].stop

    def fit(
        self, rows: Encoded, *, checkpoint: Path | None = None, progress: Progress | None = None
    ) -> History:
        """Train on the rows of an encoded table, and learn the classes from the labeled ones.

        The rows of ``held_out(rows.y)`` do not change any weight. They stop training early, choose
        the epoch whose weights are kept, and give the scores that ``novelty`` compares with.

        Args:
            rows: Encoded rows, ``y = -1`` where unlabeled.
            checkpoint: Folder for checkpoints; training resumes from it. Removed at the end.
            progress: Receives the losses of every epoch.

        Returns:
            Losses of the training without labels, or of the last training if labels take part.

        Raises:
            TrainingDiverged: If the loss stays infinite or NaN at lower learning rates.
        """
        training, held_out = self._split_shared(rows)
        history = self._fit(training, held_out, checkpoint, progress)
        if checkpoint and distributed.rank() == 0:
            remove(checkpoint)
        self._set_held_out_scores(held_out.x)
        return history

    def held_out(self, y: np.ndarray) -> np.ndarray:
        """Return the indices of the rows that ``fit`` holds out of training.

        A proportion ``validation_size`` of all rows, drawn by the seed: from the unlabeled rows, or
        from all rows if too few are unlabeled. Every class keeps a labeled row in training. The
        same rows are drawn however labeled and unlabeled rows are interleaved.

        Args:
            y: Class indices of all rows, -1 where unlabeled, shape ``(n,)``.

        Returns:
            Ascending indices; at least one, but none if every row is the only one of its class.
        """
        n_held_out = max(1, round(len(y) * self.params.validation_size))
        candidates = np.flatnonzero(y < 0)
        if len(candidates) < 2 * n_held_out:
            candidates = np.argsort(y < 0, kind="stable")
        rng = np.random.default_rng(self.seed)
        held_out = rng.choice(candidates, n_held_out, replace=False)
        if len(_lost_classes(y, held_out)):
            classes, first_rows = np.unique(y, return_index=True)
            candidates = np.setdiff1d(candidates, first_rows[classes >= 0])
            held_out = rng.choice(candidates, min(n_held_out, len(candidates)), replace=False)
        return np.sort(held_out)

    def with_classes(self, rows: Encoded, held_out: np.ndarray | None = None) -> Self:
        """Return a copy of the model that has learned its classes from these rows' labels only.

        What ``fit`` learned without labels is kept, and the model itself stays as it is.

        Args:
            rows: Encoded rows, such as the rows of ``fit`` with fewer labels, or some of them.
            held_out: Indices of the rows among ``rows`` that ``fit`` held out. They stay held out,
                unless a class would lose its last labeled row. By default the rows that
                ``held_out(rows.y)`` names.
        """
        if held_out is None:
            held_out = self.held_out(rows.y)
        other = copy.copy(self)
        other._learn_classes(*self._split(rows, held_out))
        return other

    @abc.abstractmethod
    def features(self, x: np.ndarray) -> np.ndarray:
        """Return learned features, shape ``(n, n_latent)``, float32."""

    @abc.abstractmethod
    def sample(self, y: np.ndarray, seed: int) -> np.ndarray:
        """Return one new encoded row of each class in ``y``.

        Args:
            y: Class indices, shape ``(n,)``.
            seed: Seed of the draws.

        Returns:
            Shape ``(n, n_features)``, float32.

        Raises:
            UserError: If ``y`` holds a class that had no labeled row, or there are no classes.
        """

    @abc.abstractmethod
    def score(self, x: np.ndarray) -> np.ndarray:
        """Return how well the model explains each row, shape ``(n,)``; higher is more typical."""

    def novelty(self, x: np.ndarray) -> np.ndarray:
        """Return the proportion of held-out rows with a higher score than each row, shape ``(n,)``.

        The held-out rows have not trained the network, so the novelty of a new row of the same
        distribution is uniform in [0, 1] (split conformal prediction; Vovk et al. 2005,
        "Algorithmic Learning in a Random World").

        Raises:
            UserError: If the model was not fitted.
        """
        if self.held_out_scores is None:
            raise UserError("the model is not fitted: it has no scores of held-out rows")
        levels = np.linspace(0.0, 1.0, N_QUANTILES)
        return 1.0 - np.interp(self.score(x), self.held_out_scores, levels)

    def save(self, folder: Path) -> None:
        """Write weights, parameters and classes into a folder, as safetensors and JSON."""
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
        """Return the model that ``save`` wrote into a folder.

        Raises:
            UserError: If a file is absent or damaged, or the files do not belong together.
        """
        config = read_saved_json(folder / "config.json")
        path, weights = folder / "arrays.safetensors", folder / "weights.safetensors"
        arrays = read_arrays(path) if path.exists() else {}
        with reading(weights):
            check_file(weights)
            limit = size_limit(weights, arrays)
        with reading(folder / "config.json"), limit:
            spans = [Span(**span) for span in config["spans"]]
            check_layout(spans, weights, arrays)
            model = cls(spans, cls.params_type(**config["params"]), seed=config["seed"])
            if config["held_out_scores"] is not None:
                model.held_out_scores = np.array(config["held_out_scores"])
        with reading(path):
            check_arrays(arrays, config["held_out_scores"])
        with reading(folder), limit:
            classes = arrays.get("classes")
            model._classes = classes if classes is not None and len(classes) else None
            model._restore(arrays)
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
        """Train; the rows of ``held_out`` may only stop training and choose the epoch kept.

        A family that trains several networks gives each its own folder below ``checkpoint``.
        """

    @abc.abstractmethod
    def _learn_classes(self, training: Encoded, held_out: Encoded) -> None:
        """Learn the classes from the labels of ``training``, starting from a fitted model.

        Networks and arrays are replaced, not changed in place: ``with_classes`` calls this method
        on a shallow copy of a model.
        """

    def _arrays(self) -> dict[str, np.ndarray]:
        """Return what ``fit`` learned other than by gradient descent; no training row.

        The class indices are named ``classes``.
        """
        return {}

    def _restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Set what ``_arrays`` returned; called before the network's weights are loaded."""

    def _split(self, rows: Encoded, held_out: np.ndarray) -> tuple[Encoded, Encoded]:
        """Return the rows to train on and the held-out rows.

        A labeled row is moved back to training if its class has no other. If no row can be held
        out, the training rows take the place of the held-out ones.
        """
        is_held_out = np.zeros(len(rows.y), bool)
        is_held_out[held_out] = True
        for lost in _lost_classes(rows.y, held_out):
            is_held_out[np.flatnonzero(rows.y == lost)[0]] = False
        training = _at(rows, ~is_held_out)
        return training, _at(rows, is_held_out) if is_held_out.any() else training

    def _split_shared(self, rows: Encoded) -> tuple[Encoded, Encoded]:
        """Return the rows to train on and the held-out rows, in memory that processes share."""
        distributed.join(resolve_device(self.compute))

        def split() -> list[np.ndarray]:
            training, held_out = self._split(rows, self.held_out(rows.y))
            return [training.x, training.y, held_out.x, held_out.y]

        x, y, held_out_x, held_out_y = share("split", split)
        return Encoded(x, y), Encoded(held_out_x, held_out_y)

    def _set_held_out_scores(self, x: np.ndarray) -> None:
        levels = np.linspace(0.0, 1.0, N_QUANTILES)
        self.held_out_scores = np.quantile(self.score(x), levels)

    def _positions(self, y: np.ndarray) -> np.ndarray:
        """Return the positions of classes in ``classes_``, shape ``(n,)``.

        Raises:
            UserError: If ``y`` holds a class that had no labeled row, or there are no classes.
        """
        return class_positions(y, self.classes_)

    def _plan(self, n_rows: int, **changes: Any) -> TrainingPlan:
        """Return the training plan of the parameters; ``changes`` overrides its fields."""
        settings: dict[str, Any] = {
            "epochs": self.params.n_epochs(n_rows),
            "steps_per_epoch": self.params.steps_per_epoch(n_rows),
            "loss_epochs": self.params.epochs,
            "batch_size": self.params.batch_size,
            "learning_rate": self.params.learning_rate,
            "seed": self.seed,
            "objective": f"{self.family} {self.params.model_dump_json()}",
        }
        return TrainingPlan(**settings | changes)

    def _map_chunks(
        self, function: Callable[..., Tensor], *arrays: np.ndarray, seed: int | None = None
    ) -> np.ndarray:
        """Apply a function to chunks of rows of the arrays; return the joined results.

        No gradients are computed. With ``seed``, each chunk is seeded, so that its results do not
        depend on the chunks before it, and tables can be processed in blocks of chunks.
        """
        with torch.no_grad():
            tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
            results = []
            for chunk in zip(*(tensor.split(CHUNK_ROWS) for tensor in tensors), strict=True):
                with contextlib.nullcontext() if seed is None else seeded(seed):
                    results.append(function(*chunk))
            return torch.cat(results).numpy()


def _lost_classes(y: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Return the classes that have no labeled row besides the held-out rows."""
    labels = y[held_out]
    return np.setdiff1d(labels[labels >= 0], np.delete(y, held_out))


def _at(rows: Encoded, index: np.ndarray) -> Encoded:
    return Encoded(rows.x[index], rows.y[index])
