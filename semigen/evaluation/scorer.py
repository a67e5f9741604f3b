"""Metrics of a classifier as functions of row weights, by sparse matrix products."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

N_BINS = 15
"""Number of bins of the calibration error and the reliability diagram."""


class Scorer:
    """All metrics of one classifier as functions of row weights.

    A class without weighted rows has no recall and no ROC curve; it is excluded from the mean over
    the classes. A class that is predicted but has no rows has an F1 of 0. If all rows have the same
    class, the ROC AUC is 0.5.

    Args:
        y_true: Class indices, shape ``(n,)``.
        probabilities: Class probabilities, shape ``(n, n_classes)``.

    Examples:
        >>> scorer = Scorer(np.array([0, 1]), np.array([[0.9, 0.1], [0.6, 0.4]]))
        >>> scorer(np.array([[1.0, 3.0], [1.0, 1.0]]))["accuracy"].tolist()
        [0.5, 0.75]
    """

    def __init__(self, y_true: np.ndarray, probabilities: np.ndarray) -> None:
        self.y, self.probabilities = checked(y_true, probabilities)
        n_rows, self.n_classes = self.probabilities.shape
        rows = np.arange(n_rows)
        predicted = self.probabilities.argmax(1)
        is_correct = predicted == self.y
        eps = np.finfo(float).eps
        nll = -np.log(np.clip(self.probabilities[rows, self.y], eps, 1 - eps))
        confidence = self.probabilities[rows, predicted]
        self._n_correct = _sums(is_correct, np.zeros(n_rows, int), 1)
        self._nll = _sums(nll, np.zeros(n_rows, int), 1)
        self._n_actual = _sums(np.ones(n_rows), self.y, self.n_classes)
        self._n_predicted = _sums(np.ones(n_rows), predicted, self.n_classes)
        self._n_hits = _sums(is_correct, self.y, self.n_classes)
        self._gaps = _sums(is_correct - confidence, confidence_bin(confidence), N_BINS)
        # With two classes, both curves have the same area.
        scored = [1] if self.n_classes == 2 else range(self.n_classes)
        self._curves = [RankSums(self.y == k, self.probabilities[:, k]) for k in scored]

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return each metric under every column of weights.

        Args:
            weights: Weights of the rows, shape ``(n, n_resamples)``, not negative, with a positive
                sum in each column.

        Returns:
            Values by metric, each of shape ``(n_resamples,)``.
        """
        total = weights.sum(0)
        n_actual, n_hits = self._n_actual @ weights, self._n_hits @ weights
        n_either = n_actual + self._n_predicted @ weights
        areas = np.stack([curve.area(weights) for curve in self._curves])
        return {
            "accuracy": (self._n_correct @ weights)[0] / total,
            "balanced_accuracy": _mean_where(n_actual > 0, n_hits, n_actual),
            "macro_f1": _mean_where(n_either > 0, 2 * n_hits, n_either),
            "log_loss": (self._nll @ weights)[0] / total,
            "roc_auc": _mean_of_defined(areas, default=0.5),
            # Guo et al. (2017), eq. 3: mean |accuracy - confidence| of the bins, weighted by rows.
            "calibration_error": np.abs(self._gaps @ weights).sum(0) / total,
        }

    def once(self) -> dict[str, np.ndarray]:
        """Return each metric with weight 1 for every row, shape ``(1,)``."""
        return self(np.ones((len(self.y), 1)))


class RankSums:
    """Area under the ROC curve of one class against the rest, as a function of row weights.

    The area is the fraction of (positive, negative) pairs that the score ranks correctly, with ties
    counting half (Mann & Whitney 1947). The weight of pairs of a positive with *any* lower row
    needs only sums over runs of rows between positives; subtracting half the squared weight of the
    positives removes the pairs of two positives.

    Args:
        is_positive: Whether a row has the class, shape ``(n,)``.
        scores: Scores, shape ``(n,)``.

    Examples:
        >>> curve = RankSums(np.array([True, False, True]), np.array([0.9, 0.5, 0.1]))
        >>> curve.area(np.ones((3, 1))).tolist()
        [0.5]
    """

    def __init__(self, is_positive: np.ndarray, scores: np.ndarray) -> None:
        order = np.argsort(scores, kind="stable")
        tie = np.cumsum(np.diff(scores[order], prepend=scores[order[0]]) > 0)
        has_positive = np.bincount(tie, weights=is_positive[order]) > 0
        # A run is a group of tied rows with a positive, or all groups between two of those.
        starts_run = np.ones(len(has_positive), bool)
        starts_run[1:] = has_positive[1:] | has_positive[:-1]
        run = np.empty(len(order), int)
        run[order] = (np.cumsum(starts_run) - 1)[tie]
        n_runs = int(starts_run.sum())
        self._all = _sums(np.ones(len(order)), run, n_runs)
        self._positive = _sums(is_positive, run, n_runs)

    def area(self, weights: np.ndarray) -> np.ndarray:
        """Return the area, shape ``(n_resamples,)``; NaN if one side has no weight."""
        every, positive = self._all @ weights, self._positive @ weights
        n_positive = positive.sum(0)
        n_negative = every.sum(0) - n_positive
        below = np.cumsum(every, 0) - every / 2
        n_ordered = (positive * below).sum(0) - n_positive**2 / 2
        n_pairs = n_positive * n_negative
        return np.divide(n_ordered, n_pairs, out=np.full_like(n_pairs, np.nan), where=n_pairs > 0)


def confidence_bin(confidence: np.ndarray) -> np.ndarray:
    """Return the bin ``(m / 15, (m + 1) / 15]`` of each confidence, ``m`` from 0."""
    edges = np.arange(1, N_BINS) / N_BINS
    return np.searchsorted(edges, confidence, side="left")


def checked(y_true: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return class indices and probabilities as arrays.

    Raises:
        ValueError: If there is no row, shapes differ, a class index is out of range, or the
            probabilities of a row do not sum to 1.
    """
    y, probabilities = np.asarray(y_true), np.asarray(probabilities, dtype=float)
    if probabilities.ndim != 2 or y.shape != probabilities.shape[:1] or len(y) == 0:
        raise ValueError(
            "expected y_true (n,) and probabilities (n, n_classes) of at least one row, "
            f"got {y.shape=}, {probabilities.shape=}"
        )
    n_classes = probabilities.shape[1]
    if y.min() < 0 or y.max() >= n_classes:
        raise ValueError(f"class indices must be in 0..{n_classes - 1}, got {y.min()}..{y.max()}")
    totals = probabilities.sum(1)
    if not np.allclose(totals, 1, atol=1e-3):  # NaN fails too
        row = int(np.flatnonzero(~np.isclose(totals, 1, atol=1e-3))[0])
        raise ValueError(f"probabilities of row {row} sum to {totals[row]}, not 1")
    return y, probabilities


def _sums(values: np.ndarray, groups: np.ndarray, n_groups: int) -> csr_array:
    """Return the matrix whose product with weights is the sum of ``values * weights`` by group."""
    rows = np.arange(len(values))
    shape = (n_groups, len(values))
    return csr_array((np.asarray(values, float), (groups, rows)), shape=shape)


def _mean_where(defined: np.ndarray, parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    ratios = np.divide(parts, wholes, out=np.zeros_like(parts), where=defined)
    mean: np.ndarray = ratios.sum(0) / defined.sum(0)
    return mean


def _mean_of_defined(values: np.ndarray, default: float) -> np.ndarray:
    defined = ~np.isnan(values)
    n_defined = defined.sum(0)
    total = np.where(defined, values, 0.0).sum(0)
    return np.divide(total, n_defined, out=np.full_like(total, default), where=n_defined > 0)
