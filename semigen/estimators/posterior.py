"""The class probabilities of a generator that classifies, as a classifier among others."""

from __future__ import annotations

from typing import Self

import numpy as np

from semigen.estimators.base import ProbabilisticClassifier


class PosteriorClassifier(ProbabilisticClassifier):
    """Takes rows that are class probabilities already, and returns them.

    Attributes:
        classes_: Class indices, shape ``(n_classes,)``.
    """

    def fit(self, _X: object, y: np.ndarray) -> Self:
        """Note the classes ``y``; there is nothing to learn."""
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return ``X``, shape ``(n, n_classes)``."""
        return X
