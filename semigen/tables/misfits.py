"""Cells that do not fit the schema of their column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from semigen.errors import UserError
from semigen.tables.cells import as_text
from semigen.tables.columns import ColumnSchema, coerce_column
from semigen.tables.schema import TableSchema
from semigen.wording import first_few, mark_cells, show_cells

MIN_ROWS = 20
"""Minimum number of cells for a column to be refused: one new category in a table of one row is no
sign of another meaning."""
MAX_SAMPLES = 5
FAULTS = {
    "numeric": "are not numbers",
    "boolean": "are neither of the two values, so they count as missing",
    "category": "are unknown categories",
}


@dataclass(frozen=True)
class Misfit:
    """Cells of one column that do not fit its schema.

    Attributes:
        column: Schema of the column.
        n_present: Number of cells that are not missing.
        n_misfit: Number of cells that do not fit.
        samples: First distinct cells that do not fit.
        row: Row of the first of them, counted from 1; None if there is none.

    Examples:
        >>> column = ColumnSchema(name="age", kind="numeric", minimum=0, maximum=99)
        >>> print(Misfit.of(pd.Series(["31", "x", None]), column))
        column 'age': 1 of 2 cells (50%) are not numbers ('x', first in row 2)
    """

    column: ColumnSchema
    n_present: int
    n_misfit: int
    samples: tuple[str, ...]
    row: int | None

    @classmethod
    def of(
        cls,
        values: pd.Series,
        column: ColumnSchema,
        n_rows_before: int = 0,
        read: tuple[pd.Series, np.ndarray] | None = None,
    ) -> Misfit:
        """Return the cells of a column that do not fit.

        Args:
            values: The column, of any type.
            column: Its schema.
            n_rows_before: Number of rows of the table above these.
            read: What ``coerce_column`` returns for the column, if that is known.
        """
        typed, is_misfit = read or coerce_column(values, column)
        rows = np.flatnonzero(is_misfit)
        if not len(rows):
            return cls(column, int(typed.notna().sum()), 0, (), None)
        cells = as_text(values[is_misfit])
        return cls(
            column,
            int((typed.notna() | is_misfit).sum()),
            len(rows),
            tuple(cells.unique()[:MAX_SAMPLES]),
            n_rows_before + int(rows[0]) + 1,
        )

    @property
    def share(self) -> float:
        """Fraction of the present cells that do not fit."""
        return self.n_misfit / max(1, self.n_present)

    def is_excessive(self, max_share: float) -> bool:
        """Return whether more cells do not fit than ``max_share`` and rare categories explain."""
        limit = max_share + self.column.unseen_share
        return self.n_present >= MIN_ROWS and self.share > limit

    @property
    def is_expected(self) -> bool:
        """Whether rare categories explain the cells that do not fit."""
        return self.share <= self.column.unseen_share

    def __add__(self, other: Misfit) -> Misfit:
        samples = tuple(dict.fromkeys(self.samples + other.samples))[:MAX_SAMPLES]
        return Misfit(
            self.column,
            self.n_present + other.n_present,
            self.n_misfit + other.n_misfit,
            samples,
            other.row if self.row is None else self.row,
        )

    def at_row(self, row: int | None) -> str:
        """Return the misfit in words, cells marked, with its row in the file if that is known."""
        samples = mark_cells(first_few(list(map(repr, self.samples)), MAX_SAMPLES))
        place = "" if row is None else f", first in row {row}"
        return (
            f"column {self.column.name!r}: {self.n_misfit} of {self.n_present} cells "
            f"({self.share:.0%}) {FAULTS[self.column.kind]} ({samples}{place})"
        )

    def __str__(self) -> str:
        return show_cells(self.at_row(self.row))


class Misfits:
    """Cells of a table that do not fit its schema, gathered from blocks of rows.

    Args:
        schema: Schema of the table.

    Examples:
        >>> rows = pd.DataFrame({"smoker": ["yes", "no"] * 10, "label": ["a", "b"] * 10})
        >>> misfits = Misfits(TableSchema.infer(rows, rows, "label"))
        >>> for block in (pd.DataFrame({"smoker": ["Yes"]}), pd.DataFrame({"smoker": ["maybe"]})):
        ...     misfits.add(block)
        >>> misfits.warnings("new.csv")[0][:52]
        "new.csv: column 'smoker': 1 of 2 cells (50%) are nei"
    """

    def __init__(self, schema: TableSchema) -> None:
        self.schema = schema
        self._found: dict[str, Misfit] = {}
        self._n_rows = 0

    def add(self, frame: pd.DataFrame) -> None:
        """Count the cells of further rows; columns that the rows lack are left out."""
        for column in self.schema.features:
            if column.name in frame:
                found = Misfit.of(frame[column.name], column, self._n_rows)
                known = self._found.get(column.name)
                self._found[column.name] = found if known is None else known + found
        self._n_rows += len(frame)

    def warnings(self, source: str) -> list[str]:
        """Return one sentence, with cells marked, for each column with cells that do not fit.

        Args:
            source: Name of the table.

        Raises:
            UserError: If more cells of a column do not fit than ``schema.max_unknown_share``.
        """
        limit = self.schema.max_unknown_share
        for misfit in self._found.values():
            if misfit.is_excessive(limit):
                raise UserError(
                    f"{source}: {misfit.at_row(misfit.row)}, more than {limit:.0%} "
                    "(validate.max_unknown_share): the column seems to have another meaning than "
                    "in the training tables; correct it"
                )
        return [
            f"{source}: {misfit.at_row(misfit.row)}"
            for misfit in self._found.values()
            if not misfit.is_expected
        ]


def find_misfits(frame: pd.DataFrame, schema: TableSchema, source: str) -> list[str]:
    """Return warnings about a table; see ``Misfits.warnings``.

    Args:
        frame: Rows, shape ``(n_rows, any)``.
        schema: Schema of the table.
        source: Name of the table in messages.

    Raises:
        UserError: If more cells of a column do not fit than ``schema.max_unknown_share``.
    """
    misfits = Misfits(schema)
    misfits.add(frame)
    return misfits.warnings(source)
