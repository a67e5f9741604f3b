"""The protocol of all generative models."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, Self, runtime_checkable

import numpy as np

from semigen.tables.encoding import Encoded
from semigen.training.plan import History
from semigen.training.progress import Progress


class GenerativeModel(Protocol):
    """A model of encoded rows, trained on unlabeled rows and told classes by a few labeled ones."""

    @property
    def classes_(self) -> np.ndarray:
        """Class indices that ``sample`` can be asked for, shape ``(n_classes,)``."""

    @property
    def n_features(self) -> int:
        """Width of an encoded row."""

    def fit(
        self, rows: Encoded, *, checkpoint: Path | None = None, progress: Progress | None = None
    ) -> History:
        """Train on the rows of an encoded table, most of them unlabeled, and learn the classes."""

    def held_out(self, y: np.ndarray) -> np.ndarray:
        """Return the indices of the rows that ``fit`` keeps out of training, given all labels."""

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
        """Return one new row of each class asked for, shape ``(len(y), n_features)``."""

    def score(self, x: np.ndarray) -> np.ndarray:
        """Return how well the model explains each row, shape ``(n,)``; higher is more typical."""

    def novelty(self, x: np.ndarray) -> np.ndarray:
        """Return the share of held-out rows more typical than each row, shape ``(n,)``."""

    def save(self, folder: Path) -> None:
        """Write the model into a folder: safetensors and JSON, no training row."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote."""


@runtime_checkable
class ClassifyingModel(GenerativeModel, Protocol):
    """A generative model whose training uses the labels, and which therefore classifies.

    Its features know the labels too: in cross-validation every fold needs ``with_classes``.
    """

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Return the probabilities ``(n, n_classes)`` of ``classes_`` for rows ``x``."""
