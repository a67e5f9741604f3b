"""Semi-supervised naive Bayes on binned columns."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from scipy import sparse
from scipy.special import softmax
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from semigen.estimators.base import ProbabilisticClassifier


class SemiSupervisedNaiveBayes(ProbabilisticClassifier):
    """Naive Bayes with a categorical distribution per class and column, fitted by EM.

    EM-lambda of Nigam et al. 2000, "Text Classification from Labeled and Unlabeled Documents using
    EM", section 5.3: unlabeled rows belong to the classes by their posterior probabilities and have
    the weight ``unlabeled_weight``. Columns with more than ``n_bins`` values are cut at their
    quantiles, so that no distribution is assumed. The probability of a bin is shrunk towards the
    frequency of the bin among all rows. The prior probabilities are the frequencies of the classes
    among the labeled rows. Redundant columns make naive Bayes overconfident, and EM amplifies this;
    a ``tempering`` below 1 counteracts it.

    Args:
        n_bins: Maximum number of bins of a column.
        unlabeled_weight: Weight of an unlabeled row relative to a labeled one; 0 ignores unlabeled
            rows.
        tempering: Factor of the log likelihood.
        smoothing: Weight of the prior on a class's bins, in labeled rows.
        max_iter: Number of EM steps.

    Attributes:
        classes_: Labels, shape ``(n_classes,)``.
        edges_: Inner bin edges of every column.
        log_priors_: Log prior probabilities of the classes, shape ``(n_classes,)``.
        n_iter_: Number of steps made.
        log_likelihoods_: Log probability of each bin of each column, shape
            ``(n_bins_of_all_columns, n_classes)``.

    Examples:
        >>> X = np.array([[0, 0], [0, 1], [1, 1], [1, 0]])
        >>> model = SemiSupervisedNaiveBayes().fit(X, np.array([0, -1, 1, -1]))
        >>> model.predict([[0, 0], [1, 1]])
        array([0, 1])
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
        """Fit by expectation-maximization.

        Args:
            X: Rows, shape ``(n, n_features)``.
            y: Labels, -1 where unlabeled, shape ``(n,)``.
        """
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        is_labeled = y != -1
        self.classes_ = np.unique(y[is_labeled])
        self.edges_ = [_inner_edges(column, self.n_bins) for column in X.T]
        one_hot = self._one_hot(X)
        prior_counts = self.smoothing * self._bin_frequencies(one_hot)
        memberships = (y[:, None] == self.classes_).astype(float)
        self.log_priors_ = np.log(memberships[is_labeled].mean(axis=0))
        self._maximize(one_hot, memberships, prior_counts)
        uses_unlabeled = self.unlabeled_weight > 0 and not is_labeled.all()
        self.n_iter_ = self.max_iter if uses_unlabeled else 1
        for _ in range(self.max_iter if uses_unlabeled else 0):
            posterior = self._posterior(one_hot[~is_labeled])
            memberships[~is_labeled] = self.unlabeled_weight * posterior
            self._maximize(one_hot, memberships, prior_counts)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return class probabilities, shape ``(n, n_classes)``."""
        check_is_fitted(self)
        # Each column is converted on its own, since the one-hot matrix of many rows is large.
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        log_likelihood = np.zeros((len(X), len(self.classes_)))
        start = 0
        for edges, column in zip(self.edges_, X.T, strict=True):
            bins = np.searchsorted(edges, column.astype(np.float64), side="right")
            log_likelihood += self.log_likelihoods_[start + bins]
            start += len(edges) + 1
        return self._normalize(log_likelihood)

    def _bin_frequencies(self, one_hot: sparse.csr_array) -> np.ndarray:
        """Return the frequency of every bin among all rows, above 0 by Laplace's rule."""
        n_bins = np.array([len(edges) + 1 for edges in self.edges_])
        counts = np.asarray(one_hot.sum(axis=0)).ravel()
        return (counts + 1) / (one_hot.shape[0] + np.repeat(n_bins, n_bins))

    def _maximize(
        self, one_hot: sparse.csr_array, memberships: np.ndarray, prior_counts: np.ndarray
    ) -> None:
        counts = one_hot.T @ memberships + prior_counts[:, None]
        self.log_likelihoods_ = np.log(counts) - np.log(memberships.sum(axis=0) + self.smoothing)

    def _posterior(self, one_hot: sparse.csr_array) -> np.ndarray:
        return self._normalize(one_hot @ self.log_likelihoods_)

    def _normalize(self, log_likelihood: np.ndarray) -> np.ndarray:
        """Return the posterior probabilities of the classes, shape ``(n, n_classes)``."""
        return softmax(self.tempering * log_likelihood + self.log_priors_, axis=1)

    def _one_hot(self, X: np.ndarray) -> sparse.csr_array:
        """Return the bins of rows as indicators, shape ``(n, n_bins_of_all_columns)``."""
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
    """Return the inner bin edges: quantiles, or midpoints of at most ``n_bins`` values."""
    values = np.unique(column)
    if len(values) <= n_bins:
        return (values[1:] + values[:-1]) / 2
    return np.unique(np.quantile(column, np.arange(1, n_bins) / n_bins))
