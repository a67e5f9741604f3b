"""Cells as text, and the marks of missing cells."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

MISSING = (
    *("", "nan", "NaN", "NAN", "-nan", "-NaN", "null", "NULL", "Null", "(null)", "<NA>", "NaT"),
    *("N/A", "n/a", "#N/A", "#NA", "#N/A N/A", "#NULL!", "\\N", "?"),
)
"""Cells that are missing in every column."""
MISSING_AMONG_VALUES = (
    *MISSING,
    *("NA", "na", "None", "none", "n.a.", "N.A.", "nil", "-", "--", "---", ".", "..", "..."),
    *("#DIV/0!", "#VALUE!", "#REF!", "#NUM!", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
)
"""Cells that are missing in columns of numbers, booleans and dates; elsewhere ``NA`` may be Namibia
and ``None`` an answer."""

UNUSUAL_MARKS = ("?", "None", "none", "nil", "-", "--", "---", ".", "..", "...")
"""Marks that users are told of, since another file may mean a value by them."""


def as_text(values: pd.Series) -> pd.Series:
    """Return values as text, whole floats without ``.0``; missing values become None."""
    text = values.astype(str).astype(object)
    if pd.api.types.is_float_dtype(values):
        text = text.str.removesuffix(".0")
    return text.where(values.notna(), None)


def as_cells(values: pd.Series, na_values: Sequence[str] | None = None) -> pd.Series:
    """Return values as text cells without white space around them; missing cells become None.

    Args:
        values: A column of any type.
        na_values: Cells that are missing besides empty ones; ``MISSING`` if None.

    Examples:
        >>> as_cells(pd.Series([" a ", "", "NA", "?"])).tolist()
        ['a', None, 'NA', None]
        >>> as_cells(pd.Series([1.0, None, -999.0]), ["-999"]).tolist()
        ['1', None, None]
    """
    text = as_text(values)
    if not pd.api.types.is_numeric_dtype(values):
        text = text.str.strip()
    return drop_marks(text, na_values)


def drop_marks(text: pd.Series, na_values: Sequence[str] | None = None) -> pd.Series:
    """Return text cells in which marks of missing cells are None; ``as_cells`` describes them."""
    marks = MISSING if na_values is None else ("", *na_values)
    return text.where(~text.isin(marks), None)


def count_cells(cells: pd.Series) -> pd.Series:
    """Return how often each text cell occurs, missing cells left out, in order of the text."""
    return cells.value_counts(sort=False).sort_index()
