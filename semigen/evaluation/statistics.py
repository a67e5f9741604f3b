"""Confidence intervals of proportions and of ROC AUCs, and p-values of several tests."""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy  # loads scipy.stats, which takes a second, when it is used

from semigen.evaluation.estimates import Estimate


def proportion(
    n_successes: int,
    n_trials: int,
    confidence: float = 0.95,
    method: Literal["wilson", "exact"] = "wilson",
) -> Estimate:
    """Return a proportion with its binomial confidence interval.

    Args:
        n_successes: Number of successes.
        n_trials: Number of trials, at least one.
        confidence: Coverage of the interval.
        method: Wilson's score interval (1927), which is close to its coverage on average, or the
            exact interval of Clopper & Pearson (1934), which never covers less.

    Raises:
        ValueError: If there are more successes than trials, or no trial.

    Examples:
        >>> f"{proportion(9, 10):.2f}"
        '0.90 [0.60, 0.98]'
        >>> f"{proportion(10, 10, method='exact'):.2f}"
        '1.00 [0.69, 1.00]'
    """
    interval = scipy.stats.binomtest(n_successes, n_trials).proportion_ci(confidence, method)
    return Estimate(n_successes / n_trials, float(interval.low), float(interval.high))


def proportion_from_error(
    value: float, error: float, n_trials: int, confidence: float = 0.95
) -> Estimate:
    """Return a proportion with the normal interval of its standard error, clipped to [0, 1].

    A proportion of exactly 0 or 1 has a standard error of 0. Its interval is the exact one of
    Clopper & Pearson (1934) for ``n_trials`` independent trials.

    Args:
        value: Proportion.
        error: Standard error of the proportion.
        n_trials: Number of independent trials, used where the proportion is 0 or 1.
        confidence: Coverage of the interval.
    """
    if value in (0.0, 1.0):
        return proportion(int(value) * n_trials, n_trials, confidence, "exact")
    margin = float(scipy.stats.norm.isf((1 - confidence) / 2)) * error
    return Estimate(value, max(0.0, value - margin), min(1.0, value + margin))


def roc_auc(positive: np.ndarray, negative: np.ndarray, *, confidence: float = 0.95) -> Estimate:
    """Return the area under the ROC curve with the interval of DeLong et al. (1988).

    An area of exactly 0 or 1 has no variance to estimate. Its interval is the exact binomial one of
    as many independent pairs as there are rows on the smaller side.

    Args:
        positive: Scores of rows that should rank high, shape ``(n_positive,)``, at least two.
        negative: Scores of the other rows, shape ``(n_negative,)``, at least two.
        confidence: Coverage of the interval.

    Examples:
        >>> f"{roc_auc(np.array([2.0, 3.0, 4.0]), np.array([1.0, 2.5, 0.0])):.2f}"
        '0.89 [0.58, 1.00]'
    """
    n_positive, n_negative = len(positive), len(negative)
    ranks = scipy.stats.rankdata(np.concatenate([positive, negative]))
    # Proportion of negatives below each positive and of positives above each negative, ties half.
    above = (ranks[:n_positive] - scipy.stats.rankdata(positive)) / n_negative
    below = 1 - (ranks[n_positive:] - scipy.stats.rankdata(negative)) / n_positive
    area = float(above.mean())
    error = np.sqrt(above.var(ddof=1) / n_positive + below.var(ddof=1) / n_negative)
    return proportion_from_error(area, float(error), min(n_positive, n_negative), confidence)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Return p-values adjusted by the step-down method of Holm (1979), shape ``(n,)``.

    Args:
        p_values: P-values of ``n`` tests, shape ``(n,)``.

    Examples:
        >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p_values[order]), 1.0)
    return adjusted
