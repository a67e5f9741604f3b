"""Synthetic labeled rows: drawn class by class, and kept where a labels-only classifier agrees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.base import ClassifierMixin

from semigen.generators.base import GenerativeModel
from semigen.params.config import AugmentParams
from semigen.tables.encoding import Encoded

MAX_ROUNDS = 8
"""Rounds of drawing; a class that the judge rarely grants then has fewer rows than asked for."""


@dataclass(frozen=True)
class SyntheticRows:
    """Synthetic labeled rows.

    Attributes:
        rows: Encoded rows and the class each was drawn from.
        n_drawn: Rows drawn to get them.
    """

    rows: Encoded
    n_drawn: int

    @property
    def accepted_share(self) -> float:
        """Share of the drawn rows that the judge granted; 1 when none was drawn."""
        return len(self.rows.y) / self.n_drawn if self.n_drawn else 1.0


def synthesize(
    generator: GenerativeModel,
    y: np.ndarray,
    params: AugmentParams,
    seed: int,
    judge: ClassifierMixin | None = None,
) -> SyntheticRows:
    """Draw ``params.ratio`` synthetic rows for every labeled one, classes in the same proportion.

    Args:
        generator: Model that knows the classes in ``y``.
        y: Class indices of the labeled rows, shape ``(n_labeled,)``.
        params: Ratio and filter.
        seed: Seed of the draws.
        judge: Classifier fitted on labeled rows alone. With ``params.filter: agreement`` a row is
            kept only if its most probable class there is the one it was drawn from.

    Returns:
        Rows in the order of their classes, at most ``round(ratio * n_labeled)``.
    """
    wanted = np.repeat(*_counts(y, params.ratio))
    kept_x = [np.empty((0, generator.n_features), np.float32)]
    kept_y = [np.empty(0, np.int64)]
    missing, n_drawn = wanted, 0
    for attempt in range(MAX_ROUNDS if len(wanted) else 0):
        x = generator.sample(missing, seed + attempt)
        n_drawn += len(x)
        is_granted = np.ones(len(x), bool)
        if judge is not None and params.filter == "agreement":
            is_granted = judge.predict(x) == missing
        kept_x.append(x[is_granted])
        kept_y.append(missing[is_granted])
        missing = missing[~is_granted]
        if not len(missing):
            break
    x, labels = np.concatenate(kept_x), np.concatenate(kept_y)
    order = np.argsort(labels, kind="stable")
    return SyntheticRows(Encoded(x[order], labels[order]), n_drawn)


def _counts(y: np.ndarray, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    classes, counts = np.unique(y, return_counts=True)
    return classes.astype(np.int64), np.round(counts * ratio).astype(int)
