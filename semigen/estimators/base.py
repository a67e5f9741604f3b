"""Base class of the classifiers."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin


class ProbabilisticClassifier(ClassifierMixin, BaseEstimator, abc.ABC):  # type: ignore[misc]
    """Base class of classifiers that predict the most probable class.

    Attributes:
        classes_: Labels, shape ``(n_classes,)``.

    Examples:
        >>> class AlwaysFirst(ProbabilisticClassifier):
        ...     classes_ = np.array(["ill", "well"])
        ...     def predict_proba(self, X):
        ...         return np.tile([1.0, 0.0], (len(X), 1))
        >>> AlwaysFirst().predict([[1], [2]]).tolist()
        ['ill', 'ill']
    """

    classes_: np.ndarray

    @abc.abstractmethod
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return class probabilities, shape ``(n, n_classes)``."""

    def predict(self, X: Any) -> np.ndarray:
        """Return the predicted labels, shape ``(n,)``."""
        probabilities = self.predict_proba(X)  # raises NotFittedError before the fit
        return self.classes_[probabilities.argmax(axis=1)]

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithms of the class probabilities, shape ``(n, n_classes)``."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))
