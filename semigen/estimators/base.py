"""What classifiers that give probabilities have in common."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin


class ProbabilisticClassifier(ClassifierMixin, BaseEstimator, abc.ABC):  # type: ignore[misc]
    """Predicts the class of the largest probability."""

    classes_: np.ndarray

    @abc.abstractmethod
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return class probabilities, shape ``(n, n_classes)``."""

    def predict(self, X: Any) -> np.ndarray:
        """Return labels, shape ``(n,)``."""
        probabilities = self.predict_proba(X)  # says so if the classifier is not fitted
        return self.classes_[probabilities.argmax(axis=1)]
