"""Naive Bayes over binned columns that also learns from rows without a label."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from scipy import sparse
from scipy.special import softmax
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from semigen.estimators.base import ProbabilisticClassifier


class SemiSupervisedNaiveBayes(ProbabilisticClassifier):
    """A categorical distribution for each class and column, fitted by EM (Nigam et al. 2000).

    Columns of more than ``n_bins`` values are cut at their quantiles, so that no shape is assumed
    of a column. A bin's probability is drawn towards its share among all rows. Unlabeled rows
    belong to the classes by their posterior probabilities and count ``unlabeled_weight`` of a
    labeled one (EM-lambda of "Text Classification from Labeled and Unlabeled Documents using EM",
    section 5.3). Classes keep the shares that they have among the labeled rows. Columns that repeat
    one another make naive Bayes too sure, and EM trusts what it is sure of; ``tempering`` below 1
    scales the log likelihood down against that.

    Args:
        n_bins: Most bins of a column.
        unlabeled_weight: Weight of an unlabeled row; 0 ignores it.
        tempering: Power of the likelihood.
        smoothing: Rows' worth of the prior on a class's bins, in multiples of a labeled row.
        max_iter: EM steps.

    Attributes:
        classes_: Shape ``(n_classes,)``.
        edges_: Inner bin edges of every column.
        log_priors_: Shape ``(n_classes,)``.
        n_iter_: Steps made.
        log_likelihoods_: Log probability of each bin of each column, shape
            ``(n_bins_in_all, n_classes)``.
    """

    def __init__(
        self,
        n_bins: int = 6,
        unlabeled_weight: float = 0.1,
        tempering: float = 1.0,
        smoothing: float = 2.0,
        max_iter: int = 25,
    ) -> None:
        self.n_bins = n_bins
        self.unlabeled_weight = unlabeled_weight
        self.tempering = tempering
        self.smoothing = smoothing
        self.max_iter = max_iter

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """Fit on rows ``(n, n_features)`` with labels ``y``, -1 where unlabeled."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        is_labeled = y != -1
        self.classes_ = np.unique(y[is_labeled])
        self.edges_ = [_inner_edges(column, self.n_bins) for column in X.T]
        one_hot = self._one_hot(X)
        marginals = self.smoothing * self._marginals(one_hot)
        shares = (y[:, None] == self.classes_).astype(float)
        self.log_priors_ = np.log(shares[is_labeled].mean(axis=0))
        self._maximize(one_hot, shares, marginals)
        learns = self.unlabeled_weight > 0 and not is_labeled.all()
        self.n_iter_ = self.max_iter if learns else 1
        for _ in range(self.max_iter if learns else 0):
            posterior = self._posterior(one_hot[~is_labeled])
            shares[~is_labeled] = self.unlabeled_weight * posterior
            self._maximize(one_hot, shares, marginals)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return class probabilities, shape ``(n, n_classes)``."""
        check_is_fitted(self)
        return self._posterior(self._one_hot(validate_data(self, X, dtype=np.float64, reset=False)))

    def _marginals(self, one_hot: sparse.csr_array) -> np.ndarray:
        """Return every bin's share among all rows, none of them zero (Laplace's rule)."""
        n_bins = np.array([len(edges) + 1 for edges in self.edges_])
        counts = np.asarray(one_hot.sum(axis=0)).ravel()
        return (counts + 1) / (one_hot.shape[0] + np.repeat(n_bins, n_bins))

    def _maximize(
        self, one_hot: sparse.csr_array, shares: np.ndarray, marginals: np.ndarray
    ) -> None:
        counts = one_hot.T @ shares + marginals[:, None]
        self.log_likelihoods_ = np.log(counts) - np.log(shares.sum(axis=0) + self.smoothing)

    def _posterior(self, one_hot: sparse.csr_array) -> np.ndarray:
        evidence = self.tempering * (one_hot @ self.log_likelihoods_)
        return softmax(evidence + self.log_priors_, axis=1)

    def _one_hot(self, X: np.ndarray) -> sparse.csr_array:
        n_bins = [len(edges) + 1 for edges in self.edges_]
        starts = np.concatenate([[0], np.cumsum(n_bins)])
        bins = [np.searchsorted(e, x, side="right") for e, x in zip(self.edges_, X.T, strict=True)]
        columns = (np.stack(bins, axis=1) + starts[:-1]).ravel()
        row_starts = np.arange(len(X) + 1) * X.shape[1]
        entries = (np.ones(X.size), columns, row_starts)
        return sparse.csr_array(entries, shape=(len(X), starts[-1]))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags


def _inner_edges(column: np.ndarray, n_bins: int) -> np.ndarray:
    """Return where bins meet: between the values of a column that has few, else at quantiles."""
    values = np.unique(column)
    if len(values) <= n_bins:
        return (values[1:] + values[:-1]) / 2
    return np.unique(np.quantile(column, np.arange(1, n_bins) / n_bins))
