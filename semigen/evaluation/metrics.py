"""Test metrics with bootstrap intervals, and the paired gain of one classifier over another.

Every metric is a function of row weights. A bootstrap resample of the test rows is a column of
counts, so all resamples are scored by a few sparse matrix products, and both classifiers are scored
on the same resamples.

``scipy.stats.bootstrap`` resamples the data instead of weights, so each resample gathers and sorts
its rows again. Its vectorized path takes 74 s for the ROC AUC of one classifier (10,000 rows, 26
classes, 2,000 resamples, two cores); all six metrics of two classifiers take 1.1 s here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from semigen.evaluation.estimates import DECIMALS, Estimate, Gain, to_json
from semigen.evaluation.scorer import N_BINS, Scorer, checked, confidence_bin
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
MIN_ROWS_ACCURACY = 100
"""With fewer test rows, the interval of the accuracy is exact instead of bootstrapped."""
MIN_ROWS = 30
"""With fewer test rows, the other metrics and the gains have no interval."""
CHUNK_BYTES = 2**23
"""Size of a block of weights; matrix products are fastest if it fits into the cache."""


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a classifier and of a baseline on the same test rows.

    Attributes:
        test: Estimates of the classifier, by metric.
        baseline: Estimates of the baseline, by metric: the labels-only classifier, or the champion
            in a promotion.
        gain: Paired difference ``test - baseline``, by metric. The sign is the metric's own: for
            log loss and calibration error, negative is better.

    Examples:
        >>> y = np.array([0, 1] * 50)
        >>> good, bad = np.eye(2)[y], np.eye(2)[1 - y]
        >>> found = evaluate(y, good, bad, n_bootstrap=100)
        >>> f"{found.test['accuracy']:.2f}", found.gain["accuracy"].value
        ('1.00 [0.96, 1.00]', 1.0)
    """

    test: Mapping[str, Estimate]
    baseline: Mapping[str, Estimate]
    gain: Mapping[str, Gain]

    def to_json_dict(self) -> dict[str, dict[str, dict[str, float | None]]]:
        """Return the content of ``metrics.json``, rounded to six digits; None for no interval."""
        parts = {"test": self.test, "labels_only": self.baseline, "gain": self.gain}
        found: dict[str, dict[str, dict[str, float | None]]] = to_json(parts)
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
    """Score a classifier and a baseline on the same test rows.

    Intervals are percentile intervals over multinomial resamples of the test rows (Efron &
    Tibshirani 1993, ch. 13). They stay within a metric's range, and the paired intervals agree with
    the p-value. BCa intervals would need one more evaluation for every test row, for a correction
    that is small with hundreds of rows. The intervals of the calibration error are corrected for
    bias, see ``_corrected``.

    The bootstrap is too narrow where rows are few or resamples do not vary. With fewer than
    ``MIN_ROWS_ACCURACY`` rows, or if all or none of them are correct, the interval of the accuracy
    is the exact one of Clopper & Pearson (1934). Other metrics, and gains, have no interval with
    fewer than ``MIN_ROWS`` rows; a metric whose resamples are all equal has none either.
    Classifiers with the same figures in every resample have a gain of exactly 0.

    Args:
        y_true: Class index of every test row, shape ``(n,)``.
        probabilities: Class probabilities of the classifier, shape ``(n, n_classes)``.
        baseline_probabilities: Class probabilities of the baseline, shape ``(n, n_classes)``.
        n_bootstrap: Number of resamples.
        confidence: Coverage of the intervals.
        seed: Seed of the resamples.

    Raises:
        ValueError: If there is no row, shapes differ, a class index is out of range, or the
            probabilities of a row do not sum to 1.
    """
    scorers = [Scorer(y_true, p) for p in (probabilities, baseline_probabilities)]
    n_rows = len(scorers[0].y)
    blocks = [[scorer(w) for scorer in scorers] for w in resamples(n_rows, n_bootstrap, seed)]
    values = [{m: float(v[0]) for m, v in scorer.once().items()} for scorer in scorers]
    figures: list[dict[str, Estimate]] = [{}, {}]
    gain = {}
    for metric in METRICS:
        resampled = [np.concatenate([block[side][metric] for block in blocks]) for side in (0, 1)]
        for side in (0, 1):
            figures[side][metric] = _estimate(
                metric, values[side][metric], resampled[side], confidence, n_rows
            )
        difference = values[0][metric] - values[1][metric]
        gain[metric] = _gain(metric, difference, resampled[0] - resampled[1], confidence, n_rows)
    return Evaluation(test=figures[0], baseline=figures[1], gain=gain)


def score(y_true: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return the metrics of one classifier without intervals.

    Args:
        y_true: Class index of every row, shape ``(n,)``.
        probabilities: Class probabilities, shape ``(n, n_classes)``.
    """
    scores = Scorer(y_true, probabilities).once()
    return {metric: float(values[0]) for metric, values in scores.items()}


def resamples(n_rows: int, n_bootstrap: int, seed: int) -> Iterator[np.ndarray]:
    """Yield blocks of multinomial counts, shape ``(n_rows, block)``.

    Blocks bound the memory; their size does not affect the random numbers.

    Args:
        n_rows: Number of rows of a resample.
        n_bootstrap: Number of resamples, the columns of all blocks together.
        seed: Seed of the random numbers.
    """
    rng = np.random.default_rng(seed)
    block = max(1, CHUNK_BYTES // (8 * n_rows))
    for start in range(0, n_bootstrap, block):
        size = min(block, n_bootstrap - start)
        rows = rng.integers(n_rows, size=(size, n_rows))
        cells = rows * size + np.arange(size)[:, None]
        counts = np.bincount(cells.ravel(), minlength=n_rows * size)
        yield counts.reshape(n_rows, size).astype(float)


def calibration_table(y_true: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """Return the reliability diagram (Guo et al. 2017) as a table, one row for each nonempty bin.

    Args:
        y_true: Class index of every row, shape ``(n,)``.
        probabilities: Class probabilities, shape ``(n, n_classes)``.

    Returns:
        Columns ``bin_low``, ``bin_high``, ``n_rows``, ``confidence`` (mean probability of the
        predicted class) and ``accuracy``.
    """
    y, probabilities = checked(y_true, probabilities)
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


def _corrected(metric: str, value: float, resampled: np.ndarray) -> np.ndarray:
    """Return the resampled metric, reflected at the value for the calibration error.

    Noise increases an absolute difference, so the calibration error of the test rows is too high
    (Roelofs et al. 2022), and that of a resample is too high twice. Reflection (the "basic"
    bootstrap interval) removes the second bias. In a simulation with 1,000 rows and a true error of
    0.05, 95 % percentile intervals covered it in 75 % of 200 trials, reflected intervals in 89 %;
    with 200 rows, in 6 % and 89 %.
    """
    return 2 * value - resampled if metric == "calibration_error" else resampled


def _estimate(
    metric: str, value: float, resampled: np.ndarray, confidence: float, n_rows: int
) -> Estimate:
    if metric == "accuracy" and (n_rows < MIN_ROWS_ACCURACY or value in (0.0, 1.0)):
        return proportion(round(value * n_rows), n_rows, confidence, "exact")
    # Rounding errors make equal resamples differ in the last digits.
    if n_rows < MIN_ROWS or np.ptp(resampled) < 10**-DECIMALS:
        return Estimate(value, math.nan, math.nan)
    low, high = _percentiles(_corrected(metric, value, resampled), confidence)
    if metric == "calibration_error":
        low, high = max(0.0, min(low, value)), max(high, value)
    return Estimate(value, low, high)


def _gain(
    metric: str, value: float, differences: np.ndarray, confidence: float, n_rows: int
) -> Gain:
    if n_rows < MIN_ROWS and np.any(differences != 0):
        return Gain(value, math.nan, math.nan, p_value=math.nan)
    draws = _corrected(metric, value, differences)
    low, high = _percentiles(draws, confidence)
    tail = min(np.mean(draws <= 0), np.mean(draws >= 0))
    return Gain(value, low, high, p_value=float(np.clip(2 * tail, 1 / (len(draws) + 1), 1)))


def _percentiles(draws: np.ndarray, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
