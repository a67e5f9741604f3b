"""Protocols of generative models."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, Self, runtime_checkable

import numpy as np

from semigen.tables.encoding import Encoded
from semigen.training.plan import History
from semigen.training.progress import Progress


class GenerativeModel(Protocol):
    """A model of encoded rows that learns from many unlabeled and few labeled rows.

    ``NetworkModel`` implements the protocol; see its methods for their arguments and errors.

    Examples:
        >>> from semigen.generators.vae import VAE
        >>> from semigen.params.generators import VAEParams
        >>> from semigen.tables.encoding import Span
        >>> rng = np.random.default_rng(0)
        >>> rows = Encoded(rng.normal(size=(60, 2)).astype(np.float32), np.arange(60) % 3 - 1)
        >>> spans = [Span("a", 0, 1, "numeric"), Span("b", 1, 2, "numeric")]
        >>> model: GenerativeModel = VAE(spans, VAEParams(epochs=2, hidden_dims=(8,)))
        >>> _ = model.fit(rows)
        >>> isinstance(model, ClassifyingModel)
        False
    """

    @property
    def classes_(self) -> np.ndarray:
        """Class indices that ``sample`` accepts, shape ``(n_classes,)``."""

    @property
    def n_features(self) -> int:
        """Width of an encoded row."""

    def fit(
        self, rows: Encoded, *, checkpoint: Path | None = None, progress: Progress | None = None
    ) -> History:
        """Train on the rows of an encoded table, and learn the classes from the labeled ones."""

    def held_out(self, y: np.ndarray) -> np.ndarray:
        """Return the indices of the rows that ``fit`` holds out of training, given all labels."""

    def with_classes(self, rows: Encoded, held_out: np.ndarray | None = None) -> Self:
        """Return a copy of the fitted model whose classes are learned from these labels only.

        Cross-validation needs such a copy: the synthetic rows of a fold must not depend on the
        labels that the fold holds out.

        Args:
            rows: Encoded rows, ``y = -1`` where unlabeled.
            held_out: Indices of the rows among ``rows`` that ``fit`` held out; by default the
                result of ``held_out(rows.y)``.
        """

    def features(self, x: np.ndarray) -> np.ndarray:
        """Return learned features, shape ``(n, n_latent)``, of rows ``(n, n_features)``."""

    def sample(self, y: np.ndarray, seed: int) -> np.ndarray:
        """Return one new row of each class in ``y``, shape ``(len(y), n_features)``."""

    def score(self, x: np.ndarray) -> np.ndarray:
        """Return how well the model explains each row, shape ``(n,)``; higher is more typical."""

    def novelty(self, x: np.ndarray) -> np.ndarray:
        """Return the proportion of held-out rows with a higher score, shape ``(n,)``."""

    def save(self, folder: Path) -> None:
        """Write the model into a folder, as safetensors and JSON; no training row is saved."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the model that ``save`` wrote into a folder."""


@runtime_checkable
class ClassifyingModel(GenerativeModel, Protocol):
    """A generative model that also classifies.

    Its features and scores depend on the labels, so in cross-validation each fold needs its own
    model (``with_classes``).
    """

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Return the probabilities of ``classes_`` for rows ``x``, shape ``(n, n_classes)``."""
