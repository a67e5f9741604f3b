"""The label curve: accuracy by number of labels, and a forecast for more labels."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import t as student

from semigen.errors import UserError
from semigen.evaluation.estimates import Estimate
from semigen.evaluation.statistics import proportion_from_error

LEARNERS = ("semigen", "labels only")
"""Classifiers of the curve, in the order of ``Fit.hits``."""
MIN_PER_CLASS = 2
"""Labels per class that cross-validation needs."""
N_BUDGETS = 4
N_RESAMPLES = 1000
MIN_FORECAST_POINTS = 3
"""Numbers of labels that a forecast needs: any two points lie on a power law."""
MIN_FORECAST_ROWS = 30
"""Labels, and test rows, that a forecast needs."""
MAX_FLOOR_FRACTION = 0.9
"""Largest irreducible error in the forecast, as a fraction of the lowest observed error."""


@dataclass(frozen=True)
class Fit:
    """Result of one number of labels in one draw.

    Attributes:
        n_labeled: Number of rows that kept their label.
        draw: Number of the draw, from 0.
        seconds: Wall-clock seconds of training and prediction.
        hits: Whether each of ``LEARNERS`` classified each test row correctly, shape
            ``(2, n_test)``.

    Examples:
        >>> fit = Fit(10, draw=0, seconds=2.5, hits=np.array([[True, True], [True, False]]))
        >>> fit.hits.mean(axis=1).tolist()
        [1.0, 0.5]
    """

    n_labeled: int
    draw: int
    seconds: float
    hits: np.ndarray


@dataclass(frozen=True)
class Point:
    """Accuracy of a learner with a number of labels.

    Attributes:
        learner: One of ``LEARNERS``.
        n_labeled: Number of labels.
        n_draws: Number of draws.
        accuracy: Mean accuracy over draws and test rows.

    Examples:
        >>> Point("semigen", 10, 3, Estimate(0.9, 0.85, 0.95)).accuracy.value
        0.9
    """

    learner: str
    n_labeled: int
    n_draws: int
    accuracy: Estimate


@dataclass(frozen=True)
class GainPoint:
    """Gain over labels alone with a number of labels.

    Attributes:
        n_labeled: Number of labels.
        gain: Mean difference in accuracy between the first and the second of ``LEARNERS``.

    Examples:
        >>> GainPoint(10, Estimate(0.05, 0.01, 0.09)).gain.value
        0.05
    """

    n_labeled: int
    gain: Estimate


@dataclass(frozen=True)
class Forecast:
    """Expected gain from more labels if the curve continues as a power law.

    Attributes:
        n_more: Number of further labels.
        gain: Gain in accuracy.

    Examples:
        >>> Forecast(50, Estimate(0.02, 0.0, 0.04)).n_more
        50
    """

    n_more: int
    gain: Estimate


@dataclass(frozen=True)
class LabelCurve:
    """Accuracy and gain by number of labels.

    Attributes:
        points: Accuracies, by learner and then by number of labels.
        gains: Gains over labels alone, by number of labels.
        forecast: Expected gain from twice the labels; None if the curve has fewer than
            ``MIN_FORECAST_POINTS`` numbers of labels, or fewer than ``MIN_FORECAST_ROWS`` labels or
            test rows.
        n_test: Number of test rows.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> fits = [Fit(n, 0, 1.0, rng.random((2, 200)) < 1 - 1 / n) for n in (10, 20, 40)]
        >>> curve = summarize(fits, n_labels=40)
        >>> [(point.learner, point.n_labeled) for point in curve.points[:2]]
        [('semigen', 10), ('semigen', 20)]
        >>> curve.forecast.n_more
        40
    """

    points: tuple[Point, ...]
    gains: tuple[GainPoint, ...]
    forecast: Forecast | None
    n_test: int

    @property
    def forecast_limits(self) -> list[str]:
        """What the curve has too few of for a forecast; empty if there is enough."""
        counts = (
            (len(self.gains), MIN_FORECAST_POINTS, "numbers of labels"),
            (self.gains[-1].n_labeled, MIN_FORECAST_ROWS, "labels"),
            (self.n_test, MIN_FORECAST_ROWS, "test rows"),
        )
        return [f"{least} {unit} (here {n})" for n, least, unit in counts if n < least]


def min_budget(y: np.ndarray) -> int:
    """Return the smallest number of labels: two per class, or one where there is only one.

    Args:
        y: Class indices of all labeled rows, shape ``(n,)``.
    """
    return int(np.minimum(np.bincount(y), MIN_PER_CLASS).sum())


def default_budgets(y: np.ndarray) -> tuple[int, ...]:
    """Return a quarter, a half, three quarters and all of the labels, at least ``min_budget``.

    Args:
        y: Class indices of all labeled rows, shape ``(n,)``.
    """
    quarters = (round(len(y) * i / N_BUDGETS) for i in range(1, N_BUDGETS + 1))
    return tuple(sorted({max(min_budget(y), n) for n in quarters}))


def check_budgets(budgets: Sequence[int] | None, y: np.ndarray) -> tuple[int, ...]:
    """Return the numbers of labels in ascending order, ``default_budgets`` if None or empty.

    Args:
        budgets: Numbers of labels.
        y: Class indices of all labeled rows, shape ``(n,)``.

    Raises:
        UserError: If a number is less than ``min_budget`` or exceeds the number of labels.
    """
    if not budgets:
        return default_budgets(y)
    minimum = min_budget(y)
    for n_labeled in budgets:
        if not minimum <= n_labeled <= len(y):
            raise UserError(
                f"budgets: {n_labeled} is not between {minimum} (two labels of each class) and "
                f"{len(y)} (all labels)"
            )
    return tuple(sorted(set(budgets)))


def label_order(y: np.ndarray, seed: int) -> np.ndarray:
    """Return labeled rows in random order, stratified so that every prefix has all classes.

    Shorter prefixes are contained in longer ones, so that only the number of labels changes along a
    curve.

    Args:
        y: Class indices, shape ``(n,)``.
        seed: Seed of the order.

    Returns:
        Row indices, shape ``(n,)``. The first ``min_budget(y)`` are two rows of each class.
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

    Rows and draws are crossed factors. The variance is the sum of the variances of the mean over
    rows and over draws; it counts their interaction twice, so the interval is slightly too wide.
    Since there are few draws, the interval uses Student's t with the degrees of freedom of Welch
    (1947). With a single draw, only the variance over rows is included. Proportions of 0 and 1 have
    the exact binomial interval.

    Args:
        values: Value of each draw and test row, shape ``(n_draws, n_rows)``, at least two rows:
            hits (0 or 1), or differences of hits (-1 to 1).
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
    margin = float(student.isf(0.025, variance**2 / spread) * np.sqrt(variance))
    lowest = -1.0 if values.min() < 0 else 0.0
    return Estimate(mean, max(lowest, mean - margin), min(1.0, mean + margin))


def forecast(
    hits: Mapping[int, np.ndarray], n_more: int, *, n_all: int | None = None, seed: int = 0
) -> Forecast | None:
    """Return the expected gain from more labels after ``error = floor + a * n ** -b``.

    Power laws often fit learning curves (Viering & Loog 2023, "The Shape of Learning Curves"), but
    few points do not identify the floor, the error that no number of labels removes. For each of
    1000 resamples of draws and test rows the floor is therefore random: 0 in half of them, else
    uniform between 0 and ``MAX_FLOOR_FRACTION`` of the lowest error. The interval contains 95 % of
    the resulting gains, which may be negative.

    With all labels, draws differ only in the randomness of training and not in the labeled rows.
    That error gets the spread of the draws at the next smaller number of labels, which is slightly
    larger.

    Args:
        hits: Whether each draw's classifier was correct on each test row, by number of labels,
            each of the same shape ``(n_draws, n_rows)``.
        n_more: Number of labels beyond the largest key of ``hits``.
        n_all: Number of all labels; None if the draws differ at every number of labels.
        seed: Seed of the resamples.

    Returns:
        None with fewer than two numbers of labels.
    """
    if len(hits) < 2:
        return None
    budgets = np.array(sorted(hits))
    errors = 1 - np.stack([hits[n] for n in budgets])  # (n_budgets, n_draws, n_rows)
    _, n_draws, n_rows = errors.shape
    has_all = budgets[-1] == n_all
    spread = errors[-2].mean(1).std(ddof=1) if has_all and n_draws > 1 else 0.0
    rng = np.random.default_rng(seed)
    gains = np.empty(N_RESAMPLES)
    for i in range(N_RESAMPLES):
        draws = rng.multinomial(n_draws, np.full(n_draws, 1 / n_draws)) / n_draws
        rows = rng.multinomial(n_rows, np.full(n_rows, 1 / n_rows)) / n_rows
        error = np.einsum("bdr,d,r->b", errors, draws, rows)
        error[-1] += rng.normal(0, spread)
        error = np.maximum(
            error, 0.5 / n_rows
        )  # no error among n_rows is still compatible with a small error rate
        floor = max(0.0, rng.uniform(-MAX_FLOOR_FRACTION, MAX_FLOOR_FRACTION)) * error.min()
        gains[i] = _gain(budgets, error, floor, budgets[-1] + n_more)
    value, low, high = np.quantile(gains, [0.5, 0.025, 0.975])
    return Forecast(n_more, Estimate(float(value), float(low), float(high)))


def _gain(budgets: np.ndarray, error: np.ndarray, floor: float, n_labels: int) -> float:
    """Return the decrease of the fitted error from the largest budget to ``n_labels``."""
    slope, level = np.polyfit(np.log(budgets), np.log(error - floor), 1)
    last, later = np.exp(level + slope * np.log([budgets[-1], n_labels]))
    return float(last - later)


def summarize(fits: Sequence[Fit], n_labels: int) -> LabelCurve:
    """Return the label curve of the finished fits.

    Args:
        fits: Fits of any numbers of labels, at least one.
        n_labels: Number of all labels.
    """
    ordered = sorted(fits, key=lambda fit: (fit.n_labeled, fit.draw))
    hits = {  # by number of labels, shape (n_draws, n_learners, n_test)
        n: np.array([fit.hits for fit in group], float)
        for n, group in itertools.groupby(ordered, key=lambda fit: fit.n_labeled)
    }
    points = tuple(
        Point(learner, n, len(found), mean_estimate(found[:, i]))
        for i, learner in enumerate(LEARNERS)
        for n, found in hits.items()
    )
    gains = tuple(
        GainPoint(n, mean_estimate(found[:, 0] - found[:, 1])) for n, found in hits.items()
    )
    n_draws = min(map(len, hits.values()))  # numbers of labels differ until all fits are finished
    committees = {n: found[:n_draws, 0] for n, found in hits.items()}
    curve = LabelCurve(points, gains, None, n_test=ordered[0].hits.shape[1])
    if curve.forecast_limits:
        return curve
    return replace(curve, forecast=forecast(committees, n_more=max(hits), n_all=n_labels))
