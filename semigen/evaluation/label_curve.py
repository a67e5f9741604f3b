"""How accuracy grows with the number of labels, and what more of them would be worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student

from semigen.evaluation.estimates import Estimate
from semigen.evaluation.statistics import proportion_from_error

MIN_PER_CLASS = 2
"""Labels of a class below which no learner can be tried on it."""
N_BUDGETS = 4
N_RESAMPLES = 1000
MOST_OF_THE_FLOOR = 0.9
"""Largest share of the least error seen that may be the error that no label can take away."""


@dataclass(frozen=True)
class Forecast:
    """What more labels would be worth if the curve goes on as a power law.

    Attributes:
        n_more: Further labels.
        gain: Accuracy gained, as a share of the rows.
    """

    n_more: int
    gain: Estimate

    def __str__(self) -> str:
        value, low, high = (100 * x for x in (self.gain.value, self.gain.low, self.gain.high))
        return (
            f"{self.n_more} more labels would be worth {value:+.1f} points of accuracy "
            f"[{low:+.1f}, {high:+.1f}], if the curve goes on as a power law"
        )


def least_budget(y: np.ndarray) -> int:
    """Return the fewest labels that have two of each class, or one where there is only one."""
    return int(np.minimum(np.bincount(y), MIN_PER_CLASS).sum())


def default_budgets(y: np.ndarray) -> tuple[int, ...]:
    """Return a quarter, a half, three quarters and all of the labels, or what classes allow."""
    quarters = (round(len(y) * i / N_BUDGETS) for i in range(1, N_BUDGETS + 1))
    return tuple(sorted({max(least_budget(y), n) for n in quarters}))


def label_order(y: np.ndarray, seed: int) -> np.ndarray:
    """Return labeled rows in an order whose first rows have every class, in its share.

    The first rows of an order contain the first fewer ones, so that along a curve nothing but the
    number of labels changes.

    Args:
        y: Class indices, shape ``(n,)``.
        seed: Of the draw.

    Returns:
        Row indices, shape ``(n,)``. The first ``least_budget(y)`` are two of each class.
    """
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(y))
    groups = pd.Series(y[shuffled]).groupby(y[shuffled])
    rank = groups.cumcount().to_numpy()
    place = (rank + rng.random(len(y))) / groups.transform("size").to_numpy()
    place[rank < MIN_PER_CLASS] -= 1
    return shuffled[np.argsort(place, kind="stable")]


def mean_estimate(values: np.ndarray) -> Estimate:
    """Return the mean over draws and rows with its 95 % interval for other draws and rows.

    Rows and draws are crossed: the variance is that of the rows' means over rows plus that of the
    draws' means over draws, which counts their interaction twice (the interval is a little wide).
    Few draws tell their variance badly, hence Student's t with the degrees of freedom of Welch
    (1947). A single draw says nothing of others; shares of 0 and 1 have the binomial interval.

    Args:
        values: Of each draw and test row, shape ``(n_draws, n_rows)``, at least two rows: hits (0
            or 1), or differences of hits (-1 to 1).
    """
    n_draws, n_rows = values.shape
    mean = float(values.mean())
    sides = [(values.mean(0), n_rows), (values.mean(1), n_draws)]
    parts = [means.var(ddof=1) / n if n > 1 else 0.0 for means, n in sides]
    variance = sum(parts)
    if variance == 0:
        is_certain = mean in (0, 1)
        return proportion_from_error(mean, 0.0, n_rows) if is_certain else Estimate(*[mean] * 3)
    spread = sum(part**2 / (n - 1) for part, (_, n) in zip(parts, sides, strict=True) if n > 1)
    reach = float(student.isf(0.025, variance**2 / spread) * np.sqrt(variance))
    lowest = -1.0 if values.min() < 0 else 0.0
    return Estimate(mean, max(lowest, mean - reach), min(1.0, mean + reach))


def forecast(
    hits: Mapping[int, np.ndarray], n_more: int, *, n_all: int | None = None, seed: int = 0
) -> Forecast | None:
    """Return what more labels would be worth after ``error = floor + a * n ** -b``.

    Power laws often fit learning curves (Viering & Loog 2023, "The Shape of Learning Curves"), but
    few points do not tell the floor, the error that no number of labels takes away. So for each of
    1000 resamples of draws and test rows it is drawn anew: 0 in half of them, else between 0 and
    ``MOST_OF_THE_FLOOR`` of the least error. The interval holds 95 % of the gains that follow,
    which may be negative.

    Where all labels are kept, draws do not tell how much depends on which rows have one. That
    error is given the spread of the draws with the most labels below, which is a little more.

    Args:
        hits: By number of labels, whether each draw's classifier was right on each test row, shape
            ``(n_draws, n_rows)``; all of one shape.
        n_more: Labels beyond the most that were tried.
        n_all: All labels that there are; None if the draws differ in every number of them.
        seed: Of the resamples.

    Returns:
        None with fewer than two numbers of labels.
    """
    if len(hits) < 2:
        return None
    budgets = np.array(sorted(hits))
    errors = 1 - np.stack([hits[n] for n in budgets])  # (n_budgets, n_draws, n_rows)
    _, n_draws, n_rows = errors.shape
    is_all = budgets[-1] == n_all
    spread = errors[-2].mean(1).std(ddof=1) if is_all and n_draws > 1 else 0.0
    rng = np.random.default_rng(seed)
    gains = np.empty(N_RESAMPLES)
    for i in range(N_RESAMPLES):
        draws = rng.multinomial(n_draws, np.full(n_draws, 1 / n_draws)) / n_draws
        rows = rng.multinomial(n_rows, np.full(n_rows, 1 / n_rows)) / n_rows
        error = np.einsum("bdr,d,r->b", errors, draws, rows)
        error[-1] += rng.normal(0, spread)
        error = np.maximum(error, 0.5 / n_rows)  # none among so many rows may still be half a one
        floor = max(0.0, rng.uniform(-MOST_OF_THE_FLOOR, MOST_OF_THE_FLOOR)) * error.min()
        gains[i] = _gain(budgets, error, floor, budgets[-1] + n_more)
    value, low, high = np.quantile(gains, [0.5, 0.025, 0.975])
    return Forecast(n_more, Estimate(float(value), float(low), float(high)))


def _gain(budgets: np.ndarray, error: np.ndarray, floor: float, n_labels: int) -> float:
    """Return how far the fitted curve falls from the last number of labels to a larger one."""
    slope, level = np.polyfit(np.log(budgets), np.log(error - floor), 1)
    at_last, later = np.exp(level + slope * np.log([budgets[-1], n_labels]))
    return float(at_last - later)
