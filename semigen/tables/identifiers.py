"""Recognition of row numbers and identifiers, which must not be features."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

MIN_ROWS_OF_STEPS = 100
"""Minimum number of rows of a table for its numbers to be recognized as row numbers."""
MIN_ROWS_OF_NAME = 20
"""Minimum number of rows for a column to be recognized as an identifier by its name."""
MIN_DISTINCT_SHARE = 0.95
"""Minimum fraction of distinct values in each table for a column with the name of an identifier."""
MIN_EQUAL_STEPS = 0.95
WORDS = (
    *("id", "ids", "uid", "uuid", "guid", "key", "pk", "index", "idx", "row", "rownum", "record"),
    *("no", "nr", "num", "number"),
)
"""Words in the names of identifiers."""
SPLIT = r"[^A-Za-z]+|(?<=[a-z])(?=[A-Z])"


def number_reason(name: str, tables: Sequence[np.ndarray]) -> str | None:
    """Return why a numeric column is an identifier; None if it is not.

    Numbering may restart in each table, so the tables are judged one by one.

    Args:
        name: Name of the column.
        tables: Numbers of the column in each table, missing ones left out.
    """
    tables = [numbers[np.isfinite(numbers)] for numbers in tables]
    tables = [numbers for numbers in tables if len(numbers)]
    if any((numbers % 1 != 0).any() for numbers in tables):
        return None
    is_unique = all(len(np.unique(numbers)) == len(numbers) for numbers in tables)
    long = [numbers for numbers in tables if len(numbers) >= MIN_ROWS_OF_STEPS]
    if is_unique and long and all(map(_counts_up, long)):
        return "looks like a row number"
    return text_reason(name, [pd.Series(numbers) for numbers in tables])


def text_reason(name: str, tables: Sequence[pd.Series]) -> str | None:
    """Return why a column is an identifier by its name; None if it is not.

    Args:
        name: Name of the column.
        tables: Values of the column in each table, missing ones left out.
    """
    tables = [values for values in tables if len(values)]
    if not set(map(str.lower, re.split(SPLIT, name))) & set(WORDS):
        return None
    if sum(map(len, tables)) < MIN_ROWS_OF_NAME:
        return None
    is_distinct = all(v.nunique() >= MIN_DISTINCT_SHARE * len(v) for v in tables)
    return "looks like an identifier: distinct values, and its name" if is_distinct else None


def _counts_up(numbers: np.ndarray) -> bool:
    """Return whether distinct whole numbers have few gaps, or nearly all the same step."""
    if numbers.max() - numbers.min() < 2 * len(numbers):
        return True
    steps = np.diff(np.sort(numbers))
    return bool((steps == np.median(steps)).mean() >= MIN_EQUAL_STEPS)
