"""Synthetic labeled rows, drawn class by class and filtered by a labels-only classifier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression

from semigen.generators.base import GenerativeModel
from semigen.params.config import AugmentParams
from semigen.tables.encoding import Encoded

MAX_ROUNDS = 8
"""Maximum number of draws; classes that the classifier rarely confirms get fewer rows."""


@dataclass(frozen=True)
class SyntheticRows:
    """Synthetic labeled rows.

    Attributes:
        rows: Encoded rows, and the class that each row was drawn from.
        n_drawn: Number of rows drawn, accepted or not.

    Examples:
        >>> import numpy as np
        >>> from semigen.tables.encoding import Encoded
        >>> rows = Encoded(np.zeros((3, 2), np.float32), np.array([0, 0, 1]))
        >>> SyntheticRows(rows, n_drawn=4).accepted_share
        0.75
    """

    rows: Encoded
    n_drawn: int

    @property
    def accepted_share(self) -> float:
        """Fraction of the drawn rows that was accepted; 1 if no row was drawn."""
        return len(self.rows.y) / self.n_drawn if self.n_drawn else 1.0


def synthesize(
    generator: GenerativeModel,
    y: np.ndarray,
    params: AugmentParams,
    seed: int,
    classifier: ClassifierMixin | None = None,
) -> SyntheticRows:
    """Draw ``params.ratio`` synthetic rows per labeled row, with the same class proportions.

    Args:
        generator: Trained generator that can sample the classes in ``y``.
        y: Class indices of the labeled rows, shape ``(n_labeled,)``.
        params: Ratio and filter.
        seed: Seed of the draws.
        classifier: Classifier fitted on labeled rows only. With ``params.filter: agreement`` a row
            is kept only if the classifier predicts the class that the row was drawn from.

    Returns:
        Rows sorted by class, at most ``round(ratio * n_labeled)``.
    """
    missing = np.repeat(*_class_counts(y, params.ratio))
    accepted_x = [np.empty((0, generator.n_features), np.float32)]
    accepted_y = [np.empty(0, np.int64)]
    n_drawn = 0
    for attempt in range(MAX_ROUNDS if len(missing) else 0):
        x = generator.sample(missing, seed + attempt)
        n_drawn += len(x)
        is_accepted = np.ones(len(x), bool)
        if classifier is not None and params.filter == "agreement":
            is_accepted = classifier.predict(x) == missing
        accepted_x.append(x[is_accepted])
        accepted_y.append(missing[is_accepted])
        missing = missing[~is_accepted]
        if not len(missing):
            break
    x, labels = np.concatenate(accepted_x), np.concatenate(accepted_y)
    order = np.argsort(labels, kind="stable")
    return SyntheticRows(Encoded(x[order], labels[order]), n_drawn)


def fit_agreement_classifier(x: np.ndarray, y: np.ndarray, seed: int) -> LogisticRegression:
    """Fit the labels-only classifier that filters synthetic rows.

    The model is linear because every cross-validation fold fits one and applies it to every draw.

    Args:
        x: Encoded labeled rows, shape ``(n_labeled, n_features)``.
        y: Class indices, shape ``(n_labeled,)``.
        seed: Seed of the solver.
    """
    return LogisticRegression(max_iter=3000, random_state=seed).fit(x, y)


def _class_counts(y: np.ndarray, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    classes, counts = np.unique(y, return_counts=True)
    return classes.astype(np.int64), np.round(counts * ratio).astype(int)
