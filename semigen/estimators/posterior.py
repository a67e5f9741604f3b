"""Class probabilities of a generator, as a classifier."""

from __future__ import annotations

from typing import Self

import numpy as np

from semigen.estimators.base import ProbabilisticClassifier


class PosteriorClassifier(ProbabilisticClassifier):
    """Classifier whose rows are class probabilities already and are returned unchanged.

    Attributes:
        classes_: Class indices, shape ``(n_classes,)``.

    Examples:
        >>> PosteriorClassifier().fit(None, [0, 1]).predict(np.array([[0.2, 0.8]]))
        array([1])
    """

    def fit(self, _X: object, y: np.ndarray) -> Self:
        """Store the classes of ``y``, shape ``(n,)``; the rows are not used."""
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return ``X``, shape ``(n, n_classes)``."""
        return X
