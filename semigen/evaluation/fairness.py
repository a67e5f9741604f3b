"""Differences in a classifier's accuracy between groups of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from semigen.errors import UserError
from semigen.evaluation.estimates import Estimate
from semigen.evaluation.statistics import proportion
from semigen.tables.cells import as_text

MISSING = "(missing)"
MAX_NUMBERS = 10
"""A numeric column with more distinct values is binned at its quartiles."""


@dataclass(frozen=True)
class Group:
    """Rows that share a value of one column.

    Attributes:
        name: The value, or the range of values.
        n_rows: Number of rows in the group.
        accuracy: Accuracy of the classifier on these rows.

    Examples:
        >>> rows = pd.DataFrame({"ward": ["east", "west", "west"]})
        >>> [group.name for group in fairness(rows, "ward", np.array([True, False, True])).groups]
        ['east', 'west']
    """

    name: str
    n_rows: int
    accuracy: Estimate


@dataclass(frozen=True)
class Fairness:
    """Accuracy by group of one column.

    Attributes:
        column: Name of the column.
        groups: The groups, sorted by name.
        gap: Difference in accuracy between the better and the worse group of one pair: the pair
            whose interval has the highest lower limit. The intervals of all pairs hold
            simultaneously at the requested confidence. None if there is only one group.
        pair: Names of the better and the worse group of that pair.

    Examples:
        >>> rows = pd.DataFrame({"sex": ["f"] * 50 + ["m"] * 50})
        >>> is_correct = np.arange(100) < 75
        >>> found = fairness(rows, "sex", is_correct)
        >>> found.pair, f"{found.gap:.2f}"
        (('f', 'm'), '0.50 [0.35, 0.63]')
    """

    column: str
    groups: tuple[Group, ...]
    gap: Estimate | None
    pair: tuple[str, str] | None


def fairness(
    rows: pd.DataFrame, column: str, is_correct: np.ndarray, *, confidence: float = 0.95
) -> Fairness:
    """Compare the accuracy of a classifier between the groups of a column.

    Intervals are Wilson's (1927) for groups and Newcombe's (1998, method 10), which combines them,
    for gaps. Both hold in small groups and where all predictions are correct. The intervals of gaps
    are corrected for the number of pairs (Bonferroni), because with many groups some pair differs
    by chance.

    Args:
        rows: Table with the column, shape ``(n, any)``.
        column: Column whose values define the groups; numeric columns with many values are binned
            at their quartiles.
        is_correct: Whether each row's prediction is correct, shape ``(n,)``.
        confidence: Coverage of the intervals.

    Raises:
        UserError: If the table lacks the column.
    """
    if column not in rows:
        raise UserError(
            f"promote.fairness_columns: the test table has no column {column!r}; "
            f"its columns are: {', '.join(map(str, rows.columns))}"
        )
    correct = pd.Series(np.asarray(is_correct, int)).groupby(groups_of(rows[column]).to_numpy())
    groups = tuple(
        Group(str(name), int(n), proportion(int(n_correct), int(n), confidence))
        for name, n_correct, n in correct.agg(["sum", "size"]).itertuples()
    )
    gap, pair = _largest_certain_gap(groups, confidence) if len(groups) > 1 else (None, None)
    return Fairness(column, groups, gap, pair)


def groups_of(values: pd.Series) -> pd.Series:
    """Return the name of each row's group, shape ``(n,)``, text."""
    is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    if is_number and values.nunique() > MAX_NUMBERS:
        names = pd.qcut(values, 4, duplicates="drop", precision=3).astype(object)
    else:
        names = as_text(values)
    return names.where(values.notna(), MISSING).astype(str)


def _largest_certain_gap(
    groups: Sequence[Group], confidence: float
) -> tuple[Estimate, tuple[str, str]]:
    """Return the gap with the highest lower limit and the names of its two groups."""
    n_pairs = len(groups) * (len(groups) - 1) / 2
    corrected = 1 - (1 - confidence) / n_pairs
    accuracies = [
        proportion(round(group.accuracy.value * group.n_rows), group.n_rows, corrected)
        for group in groups
    ]
    value, low, high = np.array([[a.value, a.low, a.high] for a in accuracies]).T
    gap = value[:, None] - value  # (better, worse)
    lows = gap - np.hypot((value - low)[:, None], high - value)
    highs = gap + np.hypot((high - value)[:, None], value - low)
    lows[gap < 0] = -np.inf
    np.fill_diagonal(lows, -np.inf)
    better, worse = np.unravel_index(lows.argmax(), lows.shape)
    estimate = Estimate(*(float(part[better, worse]) for part in (gap, lows, highs)))
    return estimate, (groups[better].name, groups[worse].name)
