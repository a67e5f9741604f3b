"""Test figures with bootstrap intervals, and the paired gain of one classifier over another.

Every metric is a function of row weights. A bootstrap resample of the test rows is a column of
counts, so all resamples are scored by a few sparse matrix products, and both classifiers are scored
on the same resamples.

Why not ``scipy.stats.bootstrap``: it resamples the data, not the weights, so that each resample
gathers and sorts its rows again. Its vectorized path needs 74 s for the ROC AUC alone of one
classifier (10,000 rows, 26 classes, 2,000 resamples, two cores); all six metrics of both
classifiers take 1.1 s here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from semigen.evaluation.estimates import DECIMALS, Estimate, Gain, to_json
from semigen.evaluation.statistics import proportion

METRICS = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "log_loss",
    "roc_auc",
    "calibration_error",
)
LOWER_IS_BETTER = frozenset({"log_loss", "calibration_error"})
N_BINS = 15
CHUNK_BYTES = 2**23
"""Size of one block of weights: small enough for the cache, where the products are fastest."""


@dataclass(frozen=True)
class Evaluation:
    """Figures of a classifier, of the labels-only classifier, and of the first minus the second.

    Attributes:
        test: Estimates of the classifier, by metric.
        labels_only: The same of the labels-only classifier.
        gain: ``test - labels_only``. The sign is the metric's own: log loss and calibration error
            are better when it is negative.
    """

    test: Mapping[str, Estimate]
    baseline: Mapping[str, Estimate]
    gain: Mapping[str, Gain]

    def to_json_dict(self) -> dict[str, dict[str, dict[str, float]]]:
        """Return plain dictionaries, rounded so that JSON stays readable and stable."""
        parts = {"test": self.test, "labels_only": self.baseline, "gain": self.gain}
        found: dict[str, dict[str, dict[str, float]]] = to_json(parts)
        return found


def evaluate(
    y_true: np.ndarray,
    probabilities: np.ndarray,
    baseline_probabilities: np.ndarray,
    *,
    n_bootstrap: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Evaluation:
    """Score a classifier beside the labels-only one on the same test rows.

    Intervals are percentile intervals over multinomial resamples of the test rows (Efron &
    Tibshirani 1993, ch. 13): they never leave a metric's range, and the paired ones agree with the
    p-value. BCa would need one more evaluation for every test row for a correction that is small at
    hundreds of rows. The calibration error alone is biased, see ``_draws``. An interval that would
    collapse because every row is right, or every one wrong, is the exact binomial one for accuracy.

    Args:
        y_true: Class index of every test row, shape ``(n,)``.
        probabilities: The classifier's class probabilities, shape ``(n, n_classes)``.
        baseline_probabilities: The labels-only classifier's, same shape.
        n_bootstrap: Resamples.
        confidence: Coverage of the intervals.
        seed: Seed of the resamples.

    Raises:
        ValueError: If there is no row, shapes disagree, a class index is out of range, or the
            probabilities of a row do not sum to 1.
    """
    scorers = [Scorer(y_true, p) for p in (probabilities, baseline_probabilities)]
    n_rows = len(scorers[0].y)
    blocks = [[scorer(w) for scorer in scorers] for w in resamples(n_rows, n_bootstrap, seed)]
    values = [{m: float(v[0]) for m, v in scorer.once().items()} for scorer in scorers]
    figures: list[dict[str, Estimate]] = [{}, {}]
    gain = {}
    for metric in METRICS:
        drawn = [np.concatenate([block[side][metric] for block in blocks]) for side in (0, 1)]
        for side in (0, 1):
            figures[side][metric] = _estimate(
                metric, values[side][metric], drawn[side], confidence, n_rows
            )
        difference = values[0][metric] - values[1][metric]
        gain[metric] = _gain(metric, difference, drawn[0] - drawn[1], confidence)
    return Evaluation(test=figures[0], baseline=figures[1], gain=gain)


def score(y_true: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return every metric of one classifier, without intervals (arguments as in ``evaluate``)."""
    scores = Scorer(y_true, probabilities).once()
    return {metric: float(values[0]) for metric, values in scores.items()}


class Scorer:
    """All metrics of one classifier as functions of row weights.

    A class that no weighted row belongs to has no recall and no ROC curve: it is left out of the
    mean over classes, in the test rows as in each resample. A class that is predicted but absent
    has an F1 of 0. Where one class is all there is, the ROC AUC is 0.5: nothing was ranked.

    Args:
        y_true: Class indices, shape ``(n,)``.
        probabilities: Shape ``(n, n_classes)``.
    """

    def __init__(self, y_true: np.ndarray, probabilities: np.ndarray) -> None:
        self.y, self.probabilities = _checked(y_true, probabilities)
        n_rows, self.n_classes = self.probabilities.shape
        rows = np.arange(n_rows)
        predicted = self.probabilities.argmax(1)
        is_right = predicted == self.y
        eps = np.finfo(float).eps
        surprise = -np.log(np.clip(self.probabilities[rows, self.y], eps, 1 - eps))
        confidence = self.probabilities[rows, predicted]
        self._n_right = _sums(is_right, np.zeros(n_rows, int), 1)
        self._surprise = _sums(surprise, np.zeros(n_rows, int), 1)
        self._n_actual = _sums(np.ones(n_rows), self.y, self.n_classes)
        self._n_predicted = _sums(np.ones(n_rows), predicted, self.n_classes)
        self._n_hits = _sums(is_right, self.y, self.n_classes)
        self._gaps = _sums(is_right - confidence, confidence_bin(confidence), N_BINS)
        # Of two classes the second tells all: the first has the mirrored curve, the same area.
        scored = [1] if self.n_classes == 2 else range(self.n_classes)
        self._curves = [RankSums(self.y == k, self.probabilities[:, k]) for k in scored]

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return each metric under every column of weights.

        Args:
            weights: Shape ``(n, n_resamples)``, not negative, no column all zero.

        Returns:
            By metric, shape ``(n_resamples,)``.
        """
        total = weights.sum(0)
        n_actual, n_hits = self._n_actual @ weights, self._n_hits @ weights
        n_either = n_actual + self._n_predicted @ weights
        areas = np.stack([curve.area(weights) for curve in self._curves])
        return {
            "accuracy": (self._n_right @ weights)[0] / total,
            "balanced_accuracy": _mean_where(n_actual > 0, n_hits, n_actual),
            "macro_f1": _mean_where(n_either > 0, 2 * n_hits, n_either),
            "log_loss": (self._surprise @ weights)[0] / total,
            "roc_auc": _mean_of_defined(areas, default=0.5),
            # Guo et al. (2017), eq. 3: mean |accuracy - confidence| of bins, weighted by rows.
            "calibration_error": np.abs(self._gaps @ weights).sum(0) / total,
        }

    def once(self) -> dict[str, np.ndarray]:
        """Return each metric with every row counted once, shape ``(1,)``."""
        return self(np.ones((len(self.y), 1)))


class RankSums:
    """Area under the ROC curve of one class against the rest, as a function of row weights.

    The area is the share of (positive, negative) pairs that the score ranks correctly, ties
    counting half (Mann & Whitney 1947). Pairs with *any* row below need only sums over runs of rows
    between positives; of these, pairs of two positives weigh half the square of the positives'
    weight.

    Args:
        is_positive: Shape ``(n,)``.
        scores: Shape ``(n,)``.
    """

    def __init__(self, is_positive: np.ndarray, scores: np.ndarray) -> None:
        order = np.argsort(scores, kind="stable")
        tie = np.cumsum(np.diff(scores[order], prepend=scores[order[0]]) > 0)
        has_positive = np.bincount(tie, weights=is_positive[order]) > 0
        # A run is a group of tied rows with a positive among them, or all groups between two such.
        starts_run = np.ones(len(has_positive), bool)
        starts_run[1:] = has_positive[1:] | has_positive[:-1]
        run = np.empty(len(order), int)
        run[order] = (np.cumsum(starts_run) - 1)[tie]
        n_runs = int(starts_run.sum())
        self._all = _sums(np.ones(len(order)), run, n_runs)
        self._positive = _sums(is_positive, run, n_runs)

    def area(self, weights: np.ndarray) -> np.ndarray:
        """Return the area, shape ``(n_resamples,)``; NaN where either side has no weight."""
        every, positive = self._all @ weights, self._positive @ weights
        n_positive = positive.sum(0)
        n_negative = every.sum(0) - n_positive
        below = np.cumsum(every, 0) - every / 2
        n_ordered = (positive * below).sum(0) - n_positive**2 / 2
        n_pairs = n_positive * n_negative
        return np.divide(n_ordered, n_pairs, out=np.full_like(n_pairs, np.nan), where=n_pairs > 0)


def resamples(n_rows: int, n_bootstrap: int, seed: int) -> Iterator[np.ndarray]:
    """Yield blocks of multinomial counts, shape ``(n_rows, block)``, of ``n_bootstrap`` columns.

    Blocks keep memory flat; how many columns one has does not change what is drawn.
    """
    rng = np.random.default_rng(seed)
    block = max(1, CHUNK_BYTES // (8 * n_rows))
    for start in range(0, n_bootstrap, block):
        size = min(block, n_bootstrap - start)
        drawn = rng.integers(n_rows, size=(size, n_rows))
        cells = drawn * size + np.arange(size)[:, None]
        counts = np.bincount(cells.ravel(), minlength=n_rows * size)
        yield counts.reshape(n_rows, size).astype(float)


def confidence_bin(confidence: np.ndarray) -> np.ndarray:
    """Return the bin ``(m / 15, (m + 1) / 15]`` of each confidence, ``m`` from 0."""
    edges = np.arange(1, N_BINS) / N_BINS
    return np.searchsorted(edges, confidence, side="left")


def calibration_table(y_true: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """Return the reliability diagram (Guo et al. 2017) as a table, one line a bin that has rows.

    Returns:
        Columns ``bin_low``, ``bin_high``, ``n_rows``, ``confidence`` (mean probability of the
        predicted class) and ``accuracy``.
    """
    y, probabilities = _checked(y_true, probabilities)
    predicted = probabilities.argmax(1)
    confidence = probabilities.max(1)
    rows = pd.DataFrame(
        {"bin": confidence_bin(confidence), "confidence": confidence, "accuracy": predicted == y}
    )
    table = rows.groupby("bin").agg(
        n_rows=("accuracy", "size"),
        confidence=("confidence", "mean"),
        accuracy=("accuracy", "mean"),
    )
    table.insert(0, "bin_low", table.index / N_BINS)
    table.insert(1, "bin_high", (table.index + 1) / N_BINS)
    return table.reset_index(drop=True).round(DECIMALS)


def _checked(y_true: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
    """Return the matrix whose product with weights sums ``values * weight`` by group of rows."""
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


def _draws(metric: str, value: float, drawn: np.ndarray) -> np.ndarray:
    """Return the resampled figures, mirrored at the value for the calibration error.

    Noise adds to an absolute gap whichever its sign, so the calibration error of test rows is too
    high (Roelofs et al. 2022), and that of a resample too high once more. Mirroring (the "basic"
    interval) takes the second bias off again. Simulated with 1,000 rows, 95 % percentile intervals
    held a true error of 0.05 in 75 % of 200 trials, mirrored ones in 89 %; with 200 rows, 6 and 89.
    """
    return 2 * value - drawn if metric == "calibration_error" else drawn


def _estimate(
    metric: str, value: float, drawn: np.ndarray, confidence: float, n_rows: int
) -> Estimate:
    low, high = _percentiles(_draws(metric, value, drawn), confidence)
    if metric == "calibration_error":
        low, high = max(0.0, min(low, value)), max(high, value)
    if metric == "accuracy" and value in (0.0, 1.0):
        # Resamples do not vary then: without it, no error in ten rows would read as certainty.
        return proportion(int(value) * n_rows, n_rows, confidence, "exact")
    return Estimate(value, low, high)


def _gain(metric: str, value: float, differences: np.ndarray, confidence: float) -> Gain:
    draws = _draws(metric, value, differences)
    low, high = _percentiles(draws, confidence)
    tail = min(np.mean(draws <= 0), np.mean(draws >= 0))
    return Gain(value, low, high, p_value=float(np.clip(2 * tail, 1 / (len(draws) + 1), 1)))


def _percentiles(draws: np.ndarray, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
