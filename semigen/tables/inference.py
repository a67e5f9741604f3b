"""Inference of the schema of a column from its cells in all training tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from semigen.errors import UserError
from semigen.params.config import ColumnKind
from semigen.tables.cells import (
    MISSING,
    MISSING_AMONG_VALUES,
    UNUSUAL_MARKS,
    as_cells,
    as_text,
    count_cells,
    drop_marks,
)
from semigen.tables.columns import (
    MAX_MAGNITUDE,
    RARE,
    ColumnSchema,
    boolean_pair,
    is_number,
    read_numbers,
)
from semigen.tables.conventions import Conventions, is_nested
from semigen.tables.date_formats import DateFormat, find_date_format
from semigen.tables.identifiers import number_reason, text_reason
from semigen.tables.number_formats import (
    PLAIN,
    NumberFormat,
    best_format,
    has_full_groups,
)
from semigen.tables.shared_statistics import shared_bounds

NUMERIC_SHARE = 0.9
"""Minimum fraction of values that are numbers for a text column to be numeric. Validation reports
the other values; otherwise they would silently turn the column into categories."""
MAX_DISTINCT_SHARE = 0.5
"""Text with more distinct values, relative to the number of rows, is an identifier or free text."""
MIN_ROWS_OF_RARE_FLAG = 10
"""A column of zeros and ones is boolean only if the rarer value has at least this many rows or the
fraction ``MIN_SHARE_OF_RARE_FLAG``: a count that is rarely above 0 looks like a flag until a test
row has a 2."""
MIN_SHARE_OF_RARE_FLAG = 0.1
MIN_NUMBERS = 20
"""Minimum number of distinct numbers in one table that make a column numeric although it is text in
the other."""
NAMELESS = r"(Unnamed: \d+(_level_\d+)?)?"
"""Name that pandas gives to a column without a name, usually an index that was written too."""
PADDED = r"0\d+"
NESTED_TEXT = r"\[.*\]|\{.*\}"


def infer_column(
    values: pd.Series | Sequence[pd.Series],
    kind: ColumnKind | None = None,
    min_rows: int = 1,
    conventions: Conventions | None = None,
    number_format: NumberFormat | None = None,
) -> ColumnSchema:
    """Infer the schema of a column.

    Args:
        values: The column, with its name; or the column of each table.
        kind: Kind that overrides the inferred kind.
        min_rows: Minimum number of rows of each category, of the values that a bound averages, and
            of each value that a reason shows.
        conventions: How the tables write numbers and missing cells.
        number_format: Format that overrides the inferred one.

    Raises:
        UserError: If the values do not fit ``kind``.
    """
    tables = [values] if isinstance(values, pd.Series) else list(values)
    return _Inference(tables, min_rows, conventions or Conventions(), number_format).column(kind)


class _Inference:
    """Inference of one column; the arguments are those of ``infer_column``."""

    def __init__(
        self,
        tables: list[pd.Series],
        min_rows: int,
        conventions: Conventions,
        number_format: NumberFormat | None,
    ) -> None:
        self.name, self.tables, self.min_rows = str(tables[0].name), tables, min_rows
        self.conventions, self.given_format = conventions, number_format
        self.is_numeric_type = all(map(is_number, tables))

    def column(self, kind: ColumnKind | None) -> ColumnSchema:
        if kind == "ignore":
            return self._ignored("set in data.kinds")
        if kind is None and re.fullmatch(NAMELESS, self.name):
            return self._ignored("has no name")
        if any(map(is_nested, self.tables)):
            return self._ignored("contains lists or other nested values")
        if kind is None and any(table.dtype.kind == "m" for table in self.tables):
            return self._ignored("durations and dates are not encoded; derive numbers from them")
        if kind == "numeric":
            return self._numeric()
        if kind == "boolean":
            return self._boolean(self.present, is_inferred=False)
        if kind == "category":
            return self._category(self.counts, is_inferred=False)
        if any(isinstance(table.dtype, pd.CategoricalDtype) for table in self.tables):
            return self._category(self.counts)
        return self._of_numbers() if self.is_numeric_type else self._of_text()

    @cached_property
    def texts(self) -> list[pd.Series]:
        """Cells of each table as text, marks of missing cells included."""
        return [as_cells(table, ()) for table in self.tables]

    @cached_property
    def cells(self) -> list[pd.Series]:
        """Text cells of each table."""
        return [drop_marks(text, self.conventions.na_values) for text in self.texts]

    @cached_property
    def counts(self) -> pd.Series:
        """How often each text cell occurs."""
        return count_cells(pd.concat(self.cells, ignore_index=True))

    @cached_property
    def present(self) -> pd.Series:
        """Counts of the cells that are present in a column of numbers, booleans or dates."""
        if self.conventions.na_values is not None:
            return self.counts
        return self.counts[~self.counts.index.isin(MISSING_AMONG_VALUES)]

    @cached_property
    def format(self) -> NumberFormat:
        """Format of the numbers."""
        if self.is_numeric_type:
            return PLAIN
        decimal, thousands = self.conventions.decimal, self.conventions.thousands
        return self.given_format or best_format(self.present, decimal, thousands)

    @cached_property
    def numbers(self) -> list[np.ndarray]:
        """Numbers of each table, missing ones left out."""
        probe = ColumnSchema(
            name=self.name,
            kind="numeric",
            number_format=self.format,
            missing=self.conventions.na_values or (),
        )
        found = [read_numbers(table, probe)[0] for table in self.tables]
        return [numbers[~np.isnan(numbers)] for numbers in found]

    def _of_text(self) -> ColumnSchema:
        if len(self.counts) < 2:
            return self._constant(self.counts)
        text = pd.Series(self.present.index, dtype=object)
        pair = boolean_pair(list(text))
        if pair is not None and pair != ("0", "1"):
            return self._boolean(self.present)
        date = find_date_format(self.present) if len(text) > 1 else None
        if date is not None:
            return self._dates(date)
        if text.str.fullmatch(NESTED_TEXT).all():
            return self._ignored("contains lists or other nested values")
        if self._is_padded(text):
            return self._categories_or_text()
        if self._fraction_of_numbers() >= NUMERIC_SHARE or self._is_numeric_in_one_table():
            return self._of_numbers()
        return self._categories_or_text()

    def _of_numbers(self) -> ColumnSchema:
        numbers = np.concatenate(self.numbers)
        distinct = np.unique(numbers)
        if len(distinct) < 2:
            return self._constant(count_cells(as_text(pd.Series(distinct))))
        date = find_date_format(self.counts) if _may_be_dates(distinct) else None
        if date is not None:
            return self._dates(date)
        if distinct.tolist() == [0, 1] and self.format.is_plain:
            n_rarer = int(min((numbers == 0).sum(), (numbers == 1).sum()))
            if n_rarer >= min(MIN_ROWS_OF_RARE_FLAG, MIN_SHARE_OF_RARE_FLAG * len(numbers)):
                return self._boolean(count_cells(as_text(pd.Series(numbers))))
        # Row numbers have no unit and no thousands separator.
        reason = number_reason(self.name, self.numbers) if self.format.is_plain else None
        return self._ignored(reason) if reason else self._numeric()

    def _numeric(self) -> ColumnSchema:
        numbers = np.concatenate(self.numbers)
        numbers = numbers[np.abs(numbers) <= MAX_MAGNITUDE]
        if not len(numbers):
            raise UserError(
                f"data.kinds: column {self.name!r} is set to numeric, but has no number"
            )
        integer = bool((numbers == numbers.round()).all())
        low, high = shared_bounds(numbers, self.min_rows, integer=integer)
        return self._schema(
            "numeric",
            integer=integer,
            minimum=low,
            maximum=high,
            number_format=None if self.format.is_plain else self.format,
            note=self._doubt_about_decimals(),
        )

    def _categories_or_text(self) -> ColumnSchema:
        n_rows, n_distinct = int(self.counts.sum()), len(self.counts)
        reason = text_reason(self.name, [cells.dropna() for cells in self.cells])
        if reason is None and n_distinct <= max(2, MAX_DISTINCT_SHARE * n_rows):
            return self._category(self.counts)
        text = pd.Series(self.present.index, dtype=object)
        fraction = self._fraction_of_numbers()
        if reason is None:
            reason = "identifier or free text"
            if 0.5 <= fraction < 1:
                others = self.present[np.isnan(self.format.parse(text))]
                reason = f"numbers except for {1 - fraction:.0%}"
                if others.max() >= self.min_rows:
                    reason += f", e.g. {others.idxmax()!r}"
        return self._ignored(f"{n_distinct} distinct values in {n_rows} rows: {reason}")

    def _category(self, counts: pd.Series, *, is_inferred: bool = True) -> ColumnSchema:
        text = pd.Series(counts.index, dtype=object)
        lengths = text.str.len().unique()
        shown = {value if n >= self.min_rows else RARE for value, n in counts.items()}
        if shown == {RARE} and is_inferred:
            return self._ignored(f"no value has {self.min_rows} rows (privacy.min_rows)")
        n_rare = int(counts[counts < max(2, self.min_rows)].sum())
        return self._schema(
            "category",
            categories=tuple(sorted(shown)),
            width=int(lengths[0]) if self._is_padded(text) and len(lengths) == 1 else None,
            unseen_share=round(n_rare / max(1, int(counts.sum())), 4),
        )

    def _boolean(self, counts: pd.Series, *, is_inferred: bool = True) -> ColumnSchema:
        distinct = sorted(counts.index)
        pair = boolean_pair(distinct)
        if pair is not None:
            distinct = sorted(distinct, key=lambda value: pair.index(value.lower()))
        elif len(distinct) != 2:
            raise UserError(
                f"data.kinds: column {self.name!r} is set to boolean, but has {len(distinct)} "
                "values"
            )
        if counts.min() < self.min_rows:
            return self._category(counts, is_inferred=is_inferred)
        return self._schema("boolean", categories=tuple(distinct))

    def _dates(self, date: DateFormat) -> ColumnSchema:
        what = "times of day" if date.pattern == "%H:%M" else "dates"
        doubt = ", day and month may be swapped" if date.is_ambiguous else ""
        reason = f"{what} ({date.pattern}, by {date.resolution}{doubt}) are not encoded; derive "
        return self._schema(
            "ignore",
            reason=reason + "numbers from them",
            date_format=date.pattern,
            resolution=date.resolution,
        )

    def _constant(self, counts: pd.Series) -> ColumnSchema:
        if counts.empty:
            return self._ignored("no value")
        is_shown = self.counts.sum() >= self.min_rows
        value = re.sub(r"^(-?\d+)\.0+$", r"\1", str(counts.index[0]))  # as of a column of numbers
        return self._ignored(f"always {value if is_shown else 'the same value'}")

    def _ignored(self, reason: str) -> ColumnSchema:
        return ColumnSchema(name=self.name, kind="ignore", reason=reason)

    def _schema(self, kind: ColumnKind, **facts: Any) -> ColumnSchema:
        """Return the schema, with the marks of missing cells that are given or occur."""
        pairs = zip(self.tables, self.texts, strict=True)
        text = [text for table, text in pairs if not is_number(table)]
        counts = count_cells(pd.concat(text)) if text else pd.Series(dtype=int)
        counts = counts[counts.index.isin(MISSING_AMONG_VALUES)]
        marks = {*(self.conventions.na_values or ()), *counts.index}
        marks -= set(facts.get("categories", ()))
        notes = (facts.pop("note", None), self._note_of_marks(kind, counts))
        note = "; ".join(filter(None, notes)) or None
        missing = tuple(sorted(marks))
        return ColumnSchema(name=self.name, kind=kind, missing=missing, note=note, **facts)

    def _note_of_marks(self, kind: ColumnKind, counts: pd.Series) -> str | None:
        """Return a note of the unusual marks of missing cells, if the user did not set the marks.

        Args:
            kind: Kind of the column. In a column of categories only ``MISSING`` marks are missing.
            counts: How often each mark of missing cells occurs.
        """
        known = MISSING if kind == "category" else MISSING_AMONG_VALUES
        told = counts[counts.index.isin(UNUSUAL_MARKS) & counts.index.isin(known)]
        if kind == "ignore" or self.conventions.na_values is not None or told.empty:
            return None
        cells = ", ".join(f"{n} x {mark!r}" for mark, n in told.items())
        return f"read as missing: {cells}; set data.read.na_values if these are values"

    def _is_padded(self, text: pd.Series) -> bool:
        """Return whether cells are codes with leading zeros, such as 01001."""
        is_digits = text.str.fullmatch(r"\d+").to_numpy(bool)
        return bool(is_digits.mean() >= NUMERIC_SHARE and text.str.fullmatch(PADDED).any())

    def _fraction_of_numbers(self) -> float:
        is_number = ~np.isnan(self.format.parse(pd.Series(self.present.index, dtype=object)))
        return float(self.present.to_numpy()[is_number].sum() / self.present.sum())

    def _is_numeric_in_one_table(self) -> bool:
        """Return whether one table has only numbers and another mostly text.

        Then the column is numeric, so that validation reports the text.
        """
        present = [int(cells.isin(self.present.index).sum()) for cells in self.cells]
        pairs = [(numbers, n) for numbers, n in zip(self.numbers, present, strict=True) if n]
        pure = [np.unique(numbers) for numbers, n in pairs if len(numbers) == n]
        has_text = any(len(numbers) < 0.5 * n for numbers, n in pairs)
        return has_text and any(len(numbers) >= MIN_NUMBERS for numbers in pure)

    def _doubt_about_decimals(self) -> str | None:
        """Return a question if a comma in the numbers may separate thousands or decimals."""
        if self.format.thousands != "," or self.conventions.decimal is not None:
            return None
        cells = pd.Series(self.present.index, dtype=object)
        is_bare = not (self.format.prefix or self.format.suffix)
        if not is_bare or not has_full_groups(cells, ","):
            return None
        cell = str(self.present[cells.str.contains(",", regex=False).to_numpy()].idxmax())
        if self.present[cell] < self.min_rows:
            return (
                "a comma is read as the thousands separator; if it is the decimal mark, set "
                'data.read.decimal to ","'
            )
        number = float(self.format.parse(pd.Series([cell]))[0])
        return (
            f"{cell!r} is read as {number:g}; if the comma is the decimal mark, set "
            'data.read.decimal to ","'
        )


def _may_be_dates(distinct: np.ndarray) -> bool:
    """Return whether whole numbers may be dates such as 20240131."""
    is_in_range = bool(distinct[0] >= 19000101 and distinct[-1] <= 20991231)
    return is_in_range and bool((distinct % 1 == 0).all())
