"""Whether a classifier is as often right in one group of rows as in another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm

from semigen.errors import UserError
from semigen.evaluation.metrics import Estimate
from semigen.tables.schema import as_text

MISSING = "(missing)"
MAX_NUMBERS = 10
"""A numeric column with more distinct values is cut at its quartiles."""


@dataclass(frozen=True)
class Group:
    """Rows that have a value in common.

    Attributes:
        name: The value, or the range of values.
        n_rows: How many they are.
        accuracy: Share of them that the classifier gets right.
    """

    name: str
    n_rows: int
    accuracy: Estimate


@dataclass(frozen=True)
class Fairness:
    """Accuracy by group of one column.

    Attributes:
        column: Name of the column.
        groups: The groups, by name.
        gap: Of all pairs of groups, the accuracy in the better one minus that in the worse one,
            where it is most certain: the pair whose interval begins highest. All pairs' intervals
            hold together with the confidence asked for. None if there is but one group.
        pair: Better and worse group of that pair.
    """

    column: str
    groups: tuple[Group, ...]
    gap: Estimate | None
    pair: tuple[str, str] | None


def fairness(
    rows: pd.DataFrame, column: str, is_right: np.ndarray, *, confidence: float = 0.95
) -> Fairness:
    """Compare how often a classifier is right between the groups of a column.

    Intervals are Wilson's (1927) for groups and, for gaps, Newcombe's (1998, method 10), which is
    made of them: both hold in small groups and where every row is right. Those of gaps are widened
    for the number of pairs (Bonferroni), for among many groups some pair is far apart by chance.

    Args:
        rows: Table that has the column, shape ``(n, any)``.
        column: Whose values are the groups; numbers are cut at their quartiles.
        is_right: Whether each row's prediction is right, shape ``(n,)``.
        confidence: Coverage of the intervals.

    Raises:
        UserError: If there is no such column.
    """
    if column not in rows:
        raise UserError(
            f"promote.fairness_columns: no column {column!r} among the test rows; "
            f"there are: {', '.join(map(str, rows.columns))}"
        )
    right = pd.Series(np.asarray(is_right, float)).groupby(groups_of(rows[column]).to_numpy())
    counts = right.agg(["mean", "size"])
    groups = tuple(
        Group(str(name), int(n), wilson(share, int(n), confidence))
        for name, share, n in counts.itertuples()
    )
    gap, pair = _most_certain(groups, confidence) if len(groups) > 1 else (None, None)
    return Fairness(column, groups, gap, pair)


def groups_of(values: pd.Series) -> pd.Series:
    """Return the name of each row's group, shape ``(n,)``, text."""
    is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    if is_number and values.nunique() > MAX_NUMBERS:
        names = pd.qcut(values, 4, duplicates="drop", precision=3).astype(object)
    else:
        names = as_text(values)
    return names.where(values.notna(), MISSING).astype(str)


def wilson(share: float, n_rows: int, confidence: float) -> Estimate:
    """Return a share with Wilson's score interval (1927)."""
    z = float(norm.ppf((1 + confidence) / 2))
    center = (share + z**2 / (2 * n_rows)) / (1 + z**2 / n_rows)
    spread = share * (1 - share) / n_rows + z**2 / (4 * n_rows**2)
    half = z * float(np.sqrt(spread)) / (1 + z**2 / n_rows)
    low, high = max(0.0, center - half), min(1.0, center + half)
    return Estimate(float(share), min(low, float(share)), max(high, float(share)))


def _most_certain(groups: Sequence[Group], confidence: float) -> tuple[Estimate, tuple[str, str]]:
    """Return the gap whose interval begins highest, and between which groups it is."""
    n_pairs = len(groups) * (len(groups) - 1) / 2
    shared = 1 - (1 - confidence) / n_pairs
    found = [wilson(group.accuracy.value, group.n_rows, shared) for group in groups]
    value, low, high = np.array([[e.value, e.low, e.high] for e in found]).T
    gap = value[:, None] - value  # (better, worse)
    lows = gap - np.hypot((value - low)[:, None], high - value)
    highs = gap + np.hypot((high - value)[:, None], value - low)
    lows[gap < 0] = -np.inf
    np.fill_diagonal(lows, -np.inf)
    better, worse = np.unravel_index(lows.argmax(), lows.shape)
    estimate = Estimate(*(float(part[better, worse]) for part in (gap, lows, highs)))
    return estimate, (groups[better].name, groups[worse].name)
