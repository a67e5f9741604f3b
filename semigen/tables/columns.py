"""Columns of a table: their schema, and their typed values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from semigen.params.config import ColumnKind
from semigen.tables.cells import MISSING_AMONG_VALUES, as_cells, as_text
from semigen.tables.number_formats import PLAIN, NumberFormat

BOOLEAN_PAIRS = [
    ("0", "1"),
    ("false", "true"),
    ("no", "yes"),
    ("n", "y"),
    ("f", "t"),
    ("off", "on"),
]
RARE = "(rare)"
"""Category that stands for all categories with fewer rows than ``privacy.min_rows``."""
MAX_MAGNITUDE = 1e30
"""Numbers beyond this are refused: their squares overflow in float32 and even in float64."""


class ColumnSchema(BaseModel):
    """One feature column.

    Attributes:
        name: Name of the column.
        kind: Kind of the column; ``ignore`` excludes it.
        integer: Whether all values are whole numbers.
        minimum: Lower bound of a numeric column, ``shared_bounds``; not the value of a single row.
        maximum: Upper bound of a numeric column.
        categories: Values of a category column, sorted; of a boolean column, false and true.
            ``RARE`` is among the categories if rarer ones were merged into it.
        reason: Reason why the column is ignored.
        number_format: How numbers are written; None for plain numbers.
        missing: Marks of missing cells that occur in the column.
        width: Number of digits of zero-padded codes such as 01001.
        date_format: Format of dates in the codes of ``strftime``.
        resolution: ``month``, ``day``, ``minute`` or ``second`` of dates.
        unseen_share: Expected fraction of new values whose category is not in ``categories``.
        note: What the user should check about the reading of the column.

    Examples:
        >>> from semigen.tables.inference import infer_column
        >>> column = infer_column(pd.Series([1.5, 2.0, None], name="weight"))
        >>> column.kind, column.minimum, column.maximum
        ('numeric', 1.5, 2.0)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: ColumnKind
    integer: bool = False
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] = ()
    reason: str | None = None
    number_format: NumberFormat | None = None
    missing: tuple[str, ...] = ()
    width: int | None = None
    date_format: str | None = None
    resolution: str | None = None
    unseen_share: float = 0.0
    note: str | None = None


def coerce_column(values: pd.Series, column: ColumnSchema) -> tuple[pd.Series, np.ndarray]:
    """Return the typed values of a column, and which values do not fit it.

    The type of a cell does not depend on other cells. Numbers become floats, and values that are no
    numbers missing. Spellings of a category or boolean value become that of the schema: ``TRUE``,
    ``true`` and 1.0 where it has ``True``. Unknown categories stay as they are; a third value of a
    boolean column is missing, so that predictions do not fail.

    Args:
        values: The column, of any type.
        column: Its schema.

    Returns:
        Typed values, and a mask of present values that do not fit, shape ``(n,)``: values that are
        no finite numbers, third values of a boolean column, and unknown categories.
    """
    if column.kind == "numeric":
        numbers, is_present = read_numbers(values, column)
        is_finite = np.abs(np.nan_to_num(numbers, nan=np.inf)) <= MAX_MAGNITUDE
        finite = pd.Series(np.where(is_finite, numbers, np.nan), values.index, name=values.name)
        return finite, is_present & ~is_finite
    codes, distinct = pd.factorize(as_cells(values, ()))
    spellings = _Spellings.of(column)
    found = [spellings.find(str(cell)) for cell in distinct]
    # Missing cells have code -1, which takes the last element.
    is_known = np.array([*(spelling is not None for spelling in found), True])[codes]
    if column.kind == "category":
        found = [str(c) if f is None else f for c, f in zip(distinct, found, strict=True)]
    typed = np.array([*(spelling or None for spelling in found), None], dtype=object)[codes]
    return pd.Series(typed, values.index, dtype=object, name=values.name), ~is_known


def read_numbers(values: pd.Series, column: ColumnSchema) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of a column, infinite ones included, and which cells are present.

    Numbers in text have the format of the schema; other numbers have no format.

    Returns:
        Numbers, NaN where missing or no number, and a mask, both of shape ``(n,)``.
    """
    if is_number(values):
        numbers, is_present = to_floats(values), values.notna().to_numpy()
    else:
        cells = as_cells(values, MISSING_AMONG_VALUES)
        number_format = column.number_format or PLAIN
        numbers, is_present = number_format.parse(cells), cells.notna().to_numpy()
        if not number_format.is_plain and values.dtype == object:
            is_text = values.map(lambda value: isinstance(value, str)).to_numpy(bool)
            numbers = np.where(is_text, numbers, PLAIN.parse(cells))
        is_present = is_present & ~cells.isin(column.missing).to_numpy()
    is_present = is_present & ~np.isin(numbers, _floats(column.missing))
    return np.where(is_present, numbers, np.nan), is_present


def is_number(values: pd.Series) -> bool:
    """Return whether a column has a type of numbers, which booleans and categories are not."""
    dtype = values.dtype
    return pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype)


def to_floats(values: pd.Series) -> np.ndarray:
    """Return a column of numbers as float64, shape ``(n,)``, NaN where missing.

    Single-precision numbers become what a text file with them reads as: 0.1 stays 0.1.
    """
    if values.dtype in ("float32", "float16", "Float32"):
        return PLAIN.parse(as_text(values))
    return values.to_numpy(dtype=np.float64, na_value=np.nan)


def boolean_pair(distinct: list[str]) -> tuple[str, str] | None:
    """Return the pair of words, false and true, that two values equal when case is ignored."""
    lower = sorted(value.lower() for value in distinct)
    return next((pair for pair in BOOLEAN_PAIRS if lower == sorted(pair)), None)


def _floats(marks: tuple[str, ...]) -> np.ndarray:
    numbers = PLAIN.parse(pd.Series(marks, dtype=object))
    return numbers[~np.isnan(numbers)]


def merge_rare(text: pd.Series, column: ColumnSchema) -> pd.Series:
    """Return the values of a category column with rare and unknown ones replaced by ``RARE``.

    Values stay as they are if the column has no rare category.
    """
    if column.kind != "category" or RARE not in column.categories:
        return text
    return text.where(text.isin(column.categories) | text.isna(), RARE)


def same_number(cell: str, column: ColumnSchema) -> str:
    """Return the value of the schema that is the same number as a cell; else the cell."""
    if cell in column.categories:
        return cell
    number = _as_number(cell)
    return cell if number is None else _Spellings.of(column).by_number.get(number, cell)


@dataclass(frozen=True)
class _Spellings:
    """Values of a category or boolean column by their spellings."""

    column: ColumnSchema
    exact: frozenset[str]
    by_number: dict[float, str]
    by_lower: dict[str, str]

    @classmethod
    @lru_cache(maxsize=1000)
    def of(cls, column: ColumnSchema) -> _Spellings:
        numbers = [(_as_number(value), value) for value in column.categories]
        lower = [(value.lower(), value) for value in column.categories]
        return cls(column, frozenset(column.categories), _unambiguous(numbers), _unambiguous(lower))

    def find(self, cell: str) -> str | None:
        """Return the value that a cell means; "" if it is missing, None if it is unknown.

        A cell means the value that it equals; else the only value that is the same number, so that
        1 means 01; else the only value that it equals when case is ignored.
        """
        if cell in self.exact:
            return cell
        if cell in self.column.missing or cell in MISSING_AMONG_VALUES:
            return ""
        number = _as_number(cell)
        value = self.by_lower.get(cell.lower()) if number is None else self.by_number.get(number)
        if value is not None or self.column.kind != "boolean":
            return value
        word = cell.lower() if number is None else f"{number:g}"
        pair = next((pair for pair in BOOLEAN_PAIRS if word in pair), None)
        if pair is None or boolean_pair(list(self.column.categories)) is None:
            return None
        return self.column.categories[pair.index(word)]


def _unambiguous(pairs: list[tuple[Any, str]]) -> dict[Any, str]:
    """Return the values by their key; keys of several values, or None, are left out."""
    counts = Counter(key for key, _ in pairs)
    return {key: value for key, value in pairs if key is not None and counts[key] == 1}


def _as_number(cell: str) -> float | None:
    try:
        return float(cell) if cell[-1].isdigit() and "_" not in cell else None
    except ValueError:
        return None
