"""How well a single column tells the rows of two tables apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeClassifier

from semigen.tables.columns import ColumnSchema

SEPARATION = 0.98
"""Balanced accuracy from which a column tells two tables apart almost perfectly."""
MIN_ROWS = 20
"""Minimum number of rows of each table; fewer may be separated by chance."""
MAX_ROWS = 2000
"""Maximum number of rows of each table; more are subsampled evenly."""
MIN_DISTANCE = 0.3
"""Minimum distance of the distributions, for columns that can be skipped quickly otherwise. An
interval of one table in the midst of the other has about 0.5."""
MAX_LEAVES = 8


def separation(first: pd.Series, second: pd.Series, column: ColumnSchema) -> float:
    """Return the balanced accuracy with which a column tells two tables apart, on held-out rows.

    A tree with a few leaves is fitted to every other row, and tested on the rows between.

    Args:
        first: Column of one table, typed; what does not fit counts as missing.
        second: Column of the other table.
        column: Its schema.

    Returns:
        From 0.5 (not at all) to 1; 0.5 if a table has fewer than 20 rows.

    Examples:
        >>> year = ColumnSchema(name="year", kind="numeric", minimum=2020, maximum=2022)
        >>> separation(pd.Series([2020.0] * 40), pd.Series([2021.0, 2022.0] * 40), year)
        1.0
    """
    sides = [_codes(_thinned(values), column) for values in (first, second)]
    if min(map(len, sides)) < MIN_ROWS or _distance(*sides) < MIN_DISTANCE:
        return 0.5
    x = np.concatenate(sides)[:, None]
    y = np.repeat([0, 1], [len(side) for side in sides])
    is_fitted = np.concatenate([np.arange(len(side)) % 2 == 0 for side in sides])
    tree = DecisionTreeClassifier(
        max_leaf_nodes=MAX_LEAVES, class_weight="balanced", random_state=0
    ).fit(x[is_fitted], y[is_fitted])
    is_right = tree.predict(x[~is_fitted]) == y[~is_fitted]
    rates = [is_right[y[~is_fitted] == side].mean() for side in (0, 1)]
    return max(0.5, float(np.mean(rates)))


def _thinned(values: pd.Series) -> pd.Series:
    return values.iloc[:: max(1, -(-len(values) // MAX_ROWS))]


def _codes(values: pd.Series, column: ColumnSchema) -> np.ndarray:
    """Return a column as numbers; missing cells become the lowest number."""
    if column.kind == "numeric":
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(float)
        return np.where(np.isnan(numbers), (column.minimum or 0.0) - 1, numbers)
    return pd.Index(column.categories).get_indexer(pd.Index(values)).astype(float)


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    """Return the Kolmogorov-Smirnov distance."""
    points = np.unique(np.concatenate([first, second]))
    shares = [
        np.searchsorted(np.sort(side), points, "right") / len(side) for side in (first, second)
    ]
    return float(np.abs(shares[0] - shares[1]).max())
