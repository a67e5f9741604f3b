"""Semi-supervised Gaussian mixture as a classifier."""

from __future__ import annotations

from typing import Self

import numpy as np

from semigen.estimators.base import ProbabilisticClassifier
from semigen.methods.gaussian_mixture import LatentClasses


class LatentMixtureClassifier(ProbabilisticClassifier):
    """Bayes classifier with one Gaussian per class, fitted by EM on all rows.

    See ``semigen.methods.gaussian_mixture.LatentClasses``.

    Attributes:
        classes_: Class indices, shape ``(n_classes,)``.
        log_priors_: Log prior probabilities of the classes, shape ``(n_classes,)``.
        means_: Means, shape ``(n_classes, n_features)``.
        factors_: Cholesky factors of the covariances, shape
            ``(n_classes, n_features, n_features)``.

    Examples:
        >>> X = np.array([[0.0, 0.1], [0.1, 0.0], [3.0, 3.1], [3.1, 3.0]])
        >>> model = LatentMixtureClassifier().fit(X, np.array([0, -1, 1, -1]))
        >>> model.predict(X)
        array([0, 0, 1, 1])
    """

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """Fit the mixture.

        Args:
            X: Rows, shape ``(n, n_features)``.
            y: Class indices, -1 where unlabeled, shape ``(n,)``.
        """
        fitted = LatentClasses.fit(X, y)
        self.classes_, self.log_priors_ = fitted.classes, fitted.log_priors
        self.means_, self.factors_ = fitted.means, fitted.factors
        self.n_features_in_ = X.shape[1]
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return class probabilities, shape ``(n, n_classes)``."""
        fitted = LatentClasses(self.classes_, self.log_priors_, self.means_, self.factors_)
        return fitted.responsibilities(X)
