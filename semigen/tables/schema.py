"""Schema of a table: kinds, ranges and categories of its columns, target and classes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from semigen.artifacts import read_json, write_json
from semigen.errors import UserError
from semigen.params.config import ColumnKind

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
WHOLE_NUMBER = r"0|-?[1-9]\d{0,17}"
"""Integers as Python prints them, within int64; labels such as 007 stay text."""
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
        minimum: Minimum of a numeric column.
        maximum: Maximum of a numeric column.
        categories: Values of a category column, sorted; of a boolean column, false and true.
        reason: Reason why the column is ignored.

    Examples:
        >>> infer_column(pd.Series([1.5, 2.0, None], name="weight"))
        ColumnSchema(name='weight', kind='numeric', integer=False, minimum=1.5, maximum=2.0, \
categories=(), reason=None)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: ColumnKind
    integer: bool = False
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] = ()
    reason: str | None = None


class TableSchema(BaseModel):
    """Schema of a labeled table.

    Attributes:
        columns: Feature columns in the order of the table, ignored columns included.
        target: Name of the label column.
        classes: Labels as text, sorted (as numbers if all are whole numbers).
        integer_classes: Whether labels are whole numbers.

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

    @classmethod
    def infer(
        cls,
        labeled: pd.DataFrame,
        unlabeled: pd.DataFrame,
        target: str,
        kinds: Mapping[str, ColumnKind] | None = None,
    ) -> TableSchema:
        """Infer the schema from labeled and unlabeled rows, never from test rows.

        Args:
            labeled: Labeled rows, with the label column.
            unlabeled: Unlabeled rows; columns that are in one table only are not used.
            target: Name of the label column.
            kinds: Kinds that override inference, by column name.

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
        columns = tuple(
            infer_column(*_stack(labeled[name], unlabeled[name], (kinds or {}).get(name)))
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
        return cls(columns=columns, target=target, classes=tuple(classes), integer_classes=integer)

    @property
    def features(self) -> tuple[ColumnSchema, ...]:
        """Columns that are used: all but the ignored columns."""
        return tuple(column for column in self.columns if column.kind != "ignore")

    def of_kind(self, kind: ColumnKind) -> tuple[ColumnSchema, ...]:
        """Return the columns of one kind, in the order of the table."""
        return tuple(column for column in self.columns if column.kind == kind)

    def coerce(self, frame: pd.DataFrame, source: str = "table") -> pd.DataFrame:
        """Return the feature columns, as floats if numeric, else as text.

        Other columns are dropped. Missing cells become NaN or None, and so do values of a boolean
        column that are neither false nor true. The method is idempotent.

        Args:
            frame: Rows, shape ``(n_rows, any)``.
            source: Name of the table in errors.

        Returns:
            Typed features, shape ``(n_rows, n_features)``.

        Raises:
            UserError: If a column is missing or a value has the wrong type.
        """
        absent = [column.name for column in self.features if column.name not in frame]
        if absent:
            raise UserError(f"{source}: missing column(s) {', '.join(map(repr, absent))}")
        typed = {}
        for column in self.features:
            values, is_wrong = coerce_column(frame[column.name], column)
            if is_wrong.any():
                row = int(np.flatnonzero(is_wrong)[0])
                raise UserError(
                    f"{source}: column {column.name!r}, row {row + 1}: "
                    f"{frame[column.name].iloc[row]!r} is not a number "
                    f"({int(is_wrong.sum())} such value(s)); correct the values, or set the "
                    "column's kind in data.kinds"
                )
            typed[column.name] = values
        return pd.DataFrame(typed, index=frame.index)

    def encode_labels(self, labels: pd.Series) -> np.ndarray:
        """Return the class index of every label, shape ``(n,)``, int64; -1 if missing.

        Raises:
            UserError: If a label is not one of ``classes``.
        """
        text = as_text(labels)
        codes = pd.Index(self.classes).get_indexer(pd.Index(text))
        unknown = text.notna().to_numpy() & (codes < 0)
        if unknown.any():
            row = int(np.flatnonzero(unknown)[0])
            raise UserError(
                f"column {self.target!r}, row {row + 1}: label {labels.iloc[row]!r} is not one of "
                f"the classes of the labeled table ({', '.join(self.classes)})"
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
        return cls.model_validate(read_json(path))


def infer_column(values: pd.Series, kind: ColumnKind | None = None) -> ColumnSchema:
    """Infer the schema of a column.

    Args:
        values: The column, with its name.
        kind: Kind that overrides the inferred kind.

    Raises:
        UserError: If the values do not fit ``kind``.
    """
    name, present = str(values.name), values.dropna()
    reason: str | None
    if kind is None and re.fullmatch(NAMELESS, name):
        kind, reason = "ignore", "has no name"
    elif kind is None:
        kind, reason = infer_kind(present)
    else:
        reason = "set in data.kinds" if kind == "ignore" else None
    if kind == "ignore":
        return ColumnSchema(name=name, kind=kind, reason=reason)
    if kind == "numeric":
        numbers = pd.to_numeric(present, errors="coerce").astype(float).dropna()
        if numbers.empty:
            raise UserError(f"data.kinds: column {name!r} is set to numeric, but has no number")
        return ColumnSchema(
            name=name,
            kind=kind,
            integer=bool((numbers == numbers.round()).all()),
            minimum=float(numbers.min()),
            maximum=float(numbers.max()),
        )
    text = as_text(present)
    if kind == "boolean":
        return ColumnSchema(name=name, kind=kind, categories=_boolean_categories(text))
    return ColumnSchema(name=name, kind=kind, categories=tuple(sorted(text.unique())))


def infer_kind(present: pd.Series) -> tuple[ColumnKind, str | None]:
    """Return the kind of a column, and the reason if it is ``ignore``.

    Args:
        present: Values of the column that are not missing.
    """
    try:
        n_distinct = present.nunique()
    except TypeError:
        return "ignore", "contains lists or other nested values"
    if n_distinct < 2:
        return "ignore", "no value" if n_distinct == 0 else f"always {as_text(present).iloc[0]}"
    if present.dtype.kind in "mM":
        return "ignore", DATE_REASON
    if pd.api.types.is_numeric_dtype(present) and not pd.api.types.is_bool_dtype(present):
        return _number_kind(present, n_distinct)
    return _text_kind(as_text(present).value_counts())


def _number_kind(present: pd.Series, n_distinct: int) -> tuple[ColumnKind, str | None]:
    if n_distinct == 2 and present.isin([0, 1]).all():
        n_rarer = int(present.value_counts().min())
        if n_rarer >= min(MIN_ROWS_OF_RARE_FLAG, MIN_SHARE_OF_RARE_FLAG * len(present)):
            return "boolean", None
    if _is_row_number(present):
        return "ignore", "looks like a row number"
    return "numeric", None


def _text_kind(counts: pd.Series) -> tuple[ColumnKind, str | None]:
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
        others = text[~is_number].sort_values().iloc[0]
        reason = f"numbers except for {1 - fraction(is_number):.0%}, e.g. {others!r}"
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


def _stack(
    labeled: pd.Series, unlabeled: pd.Series, kind: ColumnKind | None
) -> tuple[pd.Series, ColumnKind | None]:
    """Concatenate a column of both tables, as text if only one has numbers, so that 1 equals '1'.

    If the column has only numbers in one table and mostly text in the other, it is numeric, so that
    validation reports the text.
    """
    parts = [labeled, unlabeled]
    if len({pd.api.types.is_numeric_dtype(part) for part in parts}) > 1:
        fractions = [pd.to_numeric(p.dropna(), errors="coerce").notna().mean() for p in parts]
        if kind is None and max(fractions) == 1 and min(fractions) < 0.5:
            kind = "numeric"
        parts = [as_text(part) for part in parts]
    return pd.concat(parts, ignore_index=True), kind


def _is_row_number(present: pd.Series) -> bool:
    n_rows = len(present)
    if n_rows < MIN_ROWS_FOR_ROW_NUMBER or not present.is_unique:
        return False
    is_whole = bool((present.astype(float) % 1 == 0).all())
    return is_whole and float(present.max()) - float(present.min()) < 2 * n_rows
