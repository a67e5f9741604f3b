"""A classifier by Bayes' rule on class-conditional Gaussians in a latent space."""

from __future__ import annotations

from typing import Self

import numpy as np

from semigen.estimators.base import ProbabilisticClassifier
from semigen.methods.gaussian_mixture import LatentClasses


class LatentMixtureClassifier(ProbabilisticClassifier):
    """Semi-supervised Gaussian mixture, one component a class (see ``LatentClasses``).

    Attributes:
        classes_: Class indices, shape ``(n_classes,)``.
        log_priors_: Shape ``(n_classes,)``.
        means_: Shape ``(n_classes, n_features)``.
        factors_: Cholesky factors of the covariances.
    """

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """Fit on rows ``(n, n_features)`` with class indices ``y``, -1 where unlabeled."""
        fitted = LatentClasses.fit(X, y)
        self.classes_, self.log_priors_ = fitted.classes, fitted.log_priors
        self.means_, self.factors_ = fitted.means, fitted.factors
        self.n_features_in_ = X.shape[1]
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return class probabilities, shape ``(n, n_classes)``."""
        fitted = LatentClasses(self.classes_, self.log_priors_, self.means_, self.factors_)
        return fitted.responsibilities(X)
