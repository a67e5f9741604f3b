"""Columns of a table: inference of their kind, and their typed values."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from semigen.errors import UserError
from semigen.params.config import ColumnKind
from semigen.tables.shared_statistics import shared_bounds

BOOLEAN_PAIRS = [("0", "1"), ("false", "true"), ("no", "yes"), ("n", "y"), ("f", "t")]
NUMERIC_SHARE = 0.9
"""Minimum fraction of values that parse as numbers for a text column to be numeric. Validation
reports the other values; otherwise they would silently turn the column into categories."""
MAX_DISTINCT_SHARE = 0.5
"""Text with more distinct values, relative to the number of rows, is an identifier or free text."""
MIN_ROWS_FOR_ROW_NUMBER = 100
MIN_ROWS_OF_RARE_FLAG = 10
"""A column of zeros and ones is boolean only if the rarer value has at least this many rows or the
fraction ``MIN_SHARE_OF_RARE_FLAG``: a count that is rarely above 0 looks like a flag until a test
row has a 2."""
MIN_SHARE_OF_RARE_FLAG = 0.1
RARE = "(rare)"
"""Category that stands for all categories with fewer rows than ``privacy.min_rows``."""
DATE = r"\d{4}-\d{1,2}-\d{1,2}([ T].*)?|\d{1,2}[/.]\d{1,2}[/.]\d{4}( .*)?"
DATE_REASON = "dates are not encoded; derive numbers from them"
NAMELESS = r"Unnamed: \d+(_level_\d+)?"
"""Name that pandas gives to a column without a name, usually an index that was written too."""


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

    Examples:
        >>> column = infer_column(pd.Series([1.5, 2.0, None], name="weight"))
        >>> column.kind, column.minimum, column.maximum
        ('numeric', 1.5, 2.0)
        >>> towns = pd.Series(["Rome"] * 9 + ["Oslo"] * 8 + ["Orta", "Elva"], name="town")
        >>> infer_column(towns, min_rows=5).categories
        ('(rare)', 'Oslo', 'Rome')
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: ColumnKind
    integer: bool = False
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] = ()
    reason: str | None = None


def infer_column(
    values: pd.Series, kind: ColumnKind | None = None, min_rows: int = 1
) -> ColumnSchema:
    """Infer the schema of a column.

    Args:
        values: The column, with its name.
        kind: Kind that overrides the inferred kind.
        min_rows: Minimum number of rows of each category, and of the values that a bound averages.

    Raises:
        UserError: If the values do not fit ``kind``.
    """
    name, present, is_inferred = str(values.name), values.dropna(), kind is None
    reason: str | None
    if kind is None and re.fullmatch(NAMELESS, name):
        kind, reason = "ignore", "has no name"
    elif kind is None:
        kind, reason = infer_kind(present, min_rows)
    else:
        reason = "set in data.kinds" if kind == "ignore" else None
    if kind == "ignore":
        return ColumnSchema(name=name, kind=kind, reason=reason)
    if kind == "numeric":
        numbers = pd.to_numeric(present, errors="coerce").astype(float).dropna()
        if numbers.empty:
            raise UserError(f"data.kinds: column {name!r} is set to numeric, but has no number")
        integer = bool((numbers == numbers.round()).all())
        low, high = shared_bounds(numbers.to_numpy(), min_rows, integer=integer)
        return ColumnSchema(name=name, kind=kind, integer=integer, minimum=low, maximum=high)
    text = as_text(present)
    counts = text.value_counts()
    if kind == "boolean":
        pair = _boolean_categories(text)
        if counts.min() >= min_rows:
            return ColumnSchema(name=name, kind=kind, categories=pair)
    shown = {value if n_rows >= min_rows else RARE for value, n_rows in counts.items()}
    if shown == {RARE} and is_inferred:
        reason = f"no value has {min_rows} rows (privacy.min_rows)"
        return ColumnSchema(name=name, kind="ignore", reason=reason)
    return ColumnSchema(name=name, kind="category", categories=tuple(sorted(shown)))


def infer_kind(present: pd.Series, min_rows: int = 1) -> tuple[ColumnKind, str | None]:
    """Return the kind of a column, and the reason if it is ``ignore``.

    Args:
        present: Values of the column that are not missing.
        min_rows: Minimum number of rows of a value that a reason shows.
    """
    try:
        n_distinct = present.nunique()
    except TypeError:
        return "ignore", "contains lists or other nested values"
    if n_distinct < 2:
        if n_distinct == 0:
            return "ignore", "no value"
        value = as_text(present).iloc[0] if len(present) >= min_rows else "the same value"
        return "ignore", f"always {value}"
    if present.dtype.kind in "mM":
        return "ignore", DATE_REASON
    if pd.api.types.is_numeric_dtype(present) and not pd.api.types.is_bool_dtype(present):
        return _number_kind(present, n_distinct)
    return _text_kind(as_text(present).value_counts(), min_rows)


def _number_kind(present: pd.Series, n_distinct: int) -> tuple[ColumnKind, str | None]:
    if n_distinct == 2 and present.isin([0, 1]).all():
        n_rarer = int(present.value_counts().min())
        if n_rarer >= min(MIN_ROWS_OF_RARE_FLAG, MIN_SHARE_OF_RARE_FLAG * len(present)):
            return "boolean", None
    if _is_row_number(present):
        return "ignore", "looks like a row number"
    return "numeric", None


def _text_kind(counts: pd.Series, min_rows: int) -> tuple[ColumnKind, str | None]:
    """Return the kind of a text column from how often each value occurs."""
    text, n_rows = pd.Series(counts.index), int(counts.sum())
    if _boolean_pair(text):
        return "boolean", None

    def fraction(is_true: pd.Series) -> float:
        return counts.to_numpy()[is_true.to_numpy()].sum() / n_rows

    is_number = pd.to_numeric(text, errors="coerce").notna()
    if fraction(is_number) >= NUMERIC_SHARE:
        return "numeric", None
    if fraction(text.str.fullmatch(DATE)) >= NUMERIC_SHARE:
        return "ignore", DATE_REASON
    if len(text) <= max(2, MAX_DISTINCT_SHARE * n_rows):
        return "category", None
    reason = "identifier or free text"
    if fraction(is_number) >= 0.5:
        reason = f"numbers except for {1 - fraction(is_number):.0%}"
        others = counts[~is_number.to_numpy()]
        if others.iloc[0] >= min_rows:  # the most frequent of them
            reason += f", e.g. {others.index[0]!r}"
    elif pd.to_numeric(text.str.replace(",", "."), errors="coerce").notna().all():
        reason = "numbers with a decimal comma; write them with a point"
    return "ignore", f"{len(text)} distinct values in {n_rows} rows: {reason}"


def coerce_column(values: pd.Series, column: ColumnSchema) -> tuple[pd.Series, np.ndarray]:
    """Return the typed values of a column, and which values have the wrong type."""
    if column.kind == "numeric":
        typed = pd.to_numeric(values, errors="coerce").astype(float)
        typed = typed.where(np.isfinite(typed))
        return typed, (typed.isna() & values.notna()).to_numpy()
    text = as_text(values)
    if column.kind == "boolean":
        # A third value cannot be encoded and counts as missing, so that predictions do not fail.
        text = text.where(text.isin(column.categories), None)
    return text, np.zeros(len(values), bool)


def merge_rare(text: pd.Series, column: ColumnSchema) -> pd.Series:
    """Return the values of a category column with rare and unknown ones replaced by ``RARE``.

    Values stay as they are if the column has no rare category.
    """
    if column.kind != "category" or RARE not in column.categories:
        return text
    return text.where(text.isin(column.categories) | text.isna(), RARE)


def as_text(values: pd.Series) -> pd.Series:
    """Return values as text, whole floats without ``.0``; missing values become None."""
    text = values.astype(str).astype(object)
    if pd.api.types.is_float_dtype(values):
        text = text.str.removesuffix(".0")
    return text.where(values.notna(), None)


def _boolean_pair(distinct: Iterable[str]) -> tuple[str, str] | None:
    """Return the boolean pair that two values equal, ignoring case."""
    lower = sorted(value.lower() for value in distinct)
    return next((pair for pair in BOOLEAN_PAIRS if lower == sorted(pair)), None)


def _boolean_categories(text: pd.Series) -> tuple[str, ...]:
    distinct = sorted(text.unique())
    pair = _boolean_pair(distinct)
    if pair is not None:
        return tuple(sorted(distinct, key=lambda value: pair.index(value.lower())))
    if len(distinct) != 2:
        raise UserError(
            f"data.kinds: column {text.name!r} is set to boolean, but has {len(distinct)} values"
        )
    return tuple(distinct)


def _is_row_number(present: pd.Series) -> bool:
    n_rows = len(present)
    if n_rows < MIN_ROWS_FOR_ROW_NUMBER or not present.is_unique:
        return False
    is_whole = bool((present.astype(float) % 1 == 0).all())
    return is_whole and float(present.max()) - float(present.min()) < 2 * n_rows
