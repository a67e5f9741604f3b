"""Schema of a table: columns, target and classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from semigen.artifacts import write_json
from semigen.errors import UserError
from semigen.params.config import ColumnKind
from semigen.params.reading import ReadParams
from semigen.storage.saved_files import read_saved_json, reading
from semigen.tables.cells import as_text
from semigen.tables.columns import (
    MAX_MAGNITUDE,
    ColumnSchema,
    coerce_column,
    merge_rare,
    read_numbers,
    same_number,
)
from semigen.tables.conventions import Conventions
from semigen.tables.inference import infer_column
from semigen.wording import cell, mark_cells

WHOLE_NUMBER = r"0|-?[1-9]\d{0,17}"
"""Integers as Python prints them, within int64; labels such as 007 stay text."""


class TableSchema(BaseModel):
    """Schema of a labeled table.

    Attributes:
        columns: Feature columns in the order of the table, ignored columns included.
        target: Name of the label column.
        classes: Labels as text, sorted (as numbers if all are whole numbers).
        integer_classes: Whether labels are whole numbers.
        min_rows: Minimum number of training rows behind each category and bound; 1 if the schema
            holds values of single rows. Classes are exempt, since rows are labeled with them.
        max_unknown_share: Maximum fraction of cells of a column that do not fit it; see
            ``semigen.tables.misfits``.

    Examples:
        >>> rows = pd.DataFrame({"age": [31, 47], "ward": ["east", "west"], "label": ["b", "a"]})
        >>> schema = TableSchema.infer(rows, rows, "label")
        >>> [(column.name, column.kind) for column in schema.features], schema.classes
        ([('age', 'numeric'), ('ward', 'category')], ('a', 'b'))
        >>> schema.encode_labels(pd.Series(["a", "b", None])).tolist()
        [0, 1, -1]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: tuple[ColumnSchema, ...]
    target: str
    classes: tuple[str, ...]
    integer_classes: bool = False
    min_rows: int = 1
    max_unknown_share: float = 0.2

    @classmethod
    def infer(
        cls,
        labeled: pd.DataFrame,
        unlabeled: pd.DataFrame,
        target: str,
        kinds: Mapping[str, ColumnKind] | None = None,
        min_rows: int = 1,
        read: ReadParams | None = None,
    ) -> TableSchema:
        """Infer the schema from labeled and unlabeled rows, never from test rows.

        Args:
            labeled: Labeled rows, with the label column.
            unlabeled: Unlabeled rows; columns that are in one table only are not used.
            target: Name of the label column.
            kinds: Kinds that override inference, by column name.
            min_rows: Minimum number of rows of a category, counted over both tables, so give no row
                in both; rarer ones are merged (``privacy.min_rows``).
            read: How text is read, where the cells allow several readings.

        Raises:
            UserError: If the label column is missing, a column in ``kinds`` is unknown, or there is
                no usable feature.
        """
        if target not in labeled:
            raise UserError(
                f"the labeled table has no column {target!r} (data.target); "
                f"its columns are: {', '.join(labeled.columns)}"
            )
        names = [name for name in labeled.columns if name != target and name in unlabeled]
        unknown = sorted(set(kinds or {}) - set(names))
        if unknown:
            raise UserError(
                f"data.kinds: {unknown[0]!r} is not a feature of both tables; "
                f"features: {', '.join(names)}"
            )
        tables = [labeled[names], unlabeled[names]]
        conventions = Conventions.of(tables, read or ReadParams())
        columns = tuple(
            infer_column(
                [table[name] for table in tables], (kinds or {}).get(name), min_rows, conventions
            )
            for name in names
        )
        if all(column.kind == "ignore" for column in columns):
            raise UserError(
                "the labeled and the unlabeled table share no usable feature column; "
                + (
                    "".join(f"{c.name!r}: {c.reason}; " for c in columns[:3])
                    or "no common column; "
                )
                + "add columns of numbers or categories, or set kinds of columns in data.kinds"
            )
        labels = as_text(labeled[target]).dropna()
        integer = bool(labels.str.fullmatch(WHOLE_NUMBER).all())
        classes = sorted(labels.unique(), key=int if integer else str)
        return cls(
            columns=columns,
            target=target,
            classes=tuple(classes),
            integer_classes=integer,
            min_rows=min_rows,
        )

    @property
    def features(self) -> tuple[ColumnSchema, ...]:
        """Columns that are used: all but the ignored columns."""
        return tuple(column for column in self.columns if column.kind != "ignore")

    def of_kind(self, kind: ColumnKind) -> tuple[ColumnSchema, ...]:
        """Return the columns of one kind, in the order of the table."""
        return tuple(column for column in self.columns if column.kind == kind)

    def coerce(self, frame: pd.DataFrame, source: str = "table") -> pd.DataFrame:
        """Return the feature columns, as floats if numeric, else as text.

        Other columns are dropped. Missing cells become NaN or None, and so do values that are no
        numbers, or that are neither false nor true. The method is idempotent, and the type of a row
        does not depend on other rows, nor on the type of the file that it was read from.

        Args:
            frame: Rows, shape ``(n_rows, any)``.
            source: Name of the table in errors.

        Returns:
            Typed features, shape ``(n_rows, n_features)``.

        Raises:
            UserError: If a column is missing, or a number is infinite or too large.
        """
        typed, wrong = self.coerce_cells(frame, source)
        for column in self.features:
            if column.name in wrong:
                reject_extremes(frame[column.name], column, source)
        return typed

    def coerce_cells(
        self, frame: pd.DataFrame, source: str = "table"
    ) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
        """Return the feature columns as ``coerce`` does, and the cells that are no numbers.

        Args:
            frame: Rows, shape ``(n_rows, any)``.
            source: Name of the table in errors.

        Returns:
            Typed features, shape ``(n_rows, n_features)``, in which wrong cells are missing; and
            for each numeric column with cells that are no finite numbers which they are, shape
            ``(n_rows,)``.

        Raises:
            UserError: If a column is missing.
        """
        absent = [column.name for column in self.features if column.name not in frame]
        if absent:
            raise UserError(f"{source}: missing column(s) {', '.join(map(repr, absent))}")
        typed, wrong = {}, {}
        for column in self.features:
            values, is_misfit = coerce_column(frame[column.name], column)
            typed[column.name] = values
            if column.kind == "numeric" and is_misfit.any():
                wrong[column.name] = is_misfit
        return pd.DataFrame(typed, index=frame.index), wrong

    def merge_rare(self, typed: pd.DataFrame) -> pd.DataFrame:
        """Return typed columns with rare and unknown categories replaced by ``RARE``."""
        merged = {c.name: merge_rare(typed[c.name], c) for c in self.of_kind("category")}
        return typed.assign(**merged)

    def encode_labels(self, labels: pd.Series) -> np.ndarray:
        """Return the class index of every label, shape ``(n,)``, int64; -1 if missing.

        Raises:
            UserError: If a label is not one of ``classes``.
        """
        text = as_text(labels)
        spellings = ColumnSchema(name=self.target, kind="category", categories=self.classes)
        text = text.map(lambda label: same_number(label, spellings), na_action="ignore")
        codes = pd.Index(self.classes).get_indexer(pd.Index(text))
        unknown = text.notna().to_numpy() & (codes < 0)
        if unknown.any():
            row = int(np.flatnonzero(unknown)[0])
            raise UserError(
                f"column {self.target!r}, row {row + 1}: label {cell(labels.iloc[row])} is not one "
                f"of the classes of the labeled table ({', '.join(self.classes)})"
            )
        return codes.astype(np.int64)

    def decode_labels(self, codes: np.ndarray) -> np.ndarray:
        """Return the labels of class indices, as integers if all classes are whole numbers."""
        classes = np.array(self.classes, dtype=object)
        return (classes.astype(np.int64) if self.integer_classes else classes)[codes]

    def save(self, path: Path) -> None:
        """Write the schema as JSON."""
        write_json(path, self.model_dump(mode="json", exclude_defaults=True))

    @classmethod
    def load(cls, path: Path) -> TableSchema:
        """Read the file that ``save`` wrote."""
        with reading(path):
            return cls.model_validate(read_saved_json(path))


def reject_extremes(values: pd.Series, column: ColumnSchema, source: str) -> None:
    """Raise if a number is infinite or too large to compute with.

    Args:
        values: A numeric column.
        column: Its schema.
        source: Name of the table in errors.

    Raises:
        UserError: If there is one; the message names its row, counted from 1, and its value.
    """
    rows = extreme_rows(values, column)
    if len(rows):
        row = int(rows[0])
        raise UserError(
            f"{source}: column {column.name!r}, row {row + 1}: "
            f"{mark_cells(str(values.iloc[row]))} is infinite or "
            f"beyond {MAX_MAGNITUDE:g} ({len(rows)} such value(s)); correct or empty "
            "the cell"
        )


def extreme_rows(values: pd.Series, column: ColumnSchema) -> np.ndarray:
    """Return the indices of numbers of a column that are infinite or beyond ``MAX_MAGNITUDE``."""
    numbers, _ = read_numbers(values, column)
    return np.flatnonzero(
        np.abs(np.nan_to_num(numbers, posinf=np.inf, neginf=-np.inf)) > MAX_MAGNITUDE
    )
