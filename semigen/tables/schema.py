"""What a table's columns are: kinds, ranges, categories, target and classes."""

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
"""Share of a text column's values that must parse for it to count as numeric; the rest is reported
by validation instead of silently turning the column into categories."""
MAX_DISTINCT_SHARE = 0.5
"""Text with more distinct values than this share of its rows is an identifier or free text."""
MIN_ROWS_FOR_ROW_NUMBER = 100
MIN_ROWS_OF_RARE_FLAG = 10
"""Numbers that are all 0 or 1 count as boolean only if the rarer one fills this many rows or
``MIN_SHARE_OF_RARE_FLAG`` of them: a count that is seldom above 0 looks just like a flag until a
test row holds a 2."""
MIN_SHARE_OF_RARE_FLAG = 0.1
WHOLE_NUMBER = r"0|-?[1-9]\d{0,17}"
"""As Python writes it and int64 holds it, so that labels such as 007 stay text."""
DATE = r"\d{4}-\d{1,2}-\d{1,2}([ T].*)?|\d{1,2}[/.]\d{1,2}[/.]\d{4}( .*)?"
DATE_REASON = "dates are not encoded; derive numbers from them"
NAMELESS = r"Unnamed: \d+(_level_\d+)?"
"""What pandas calls a column without a name, most often a row number that was written along."""


class ColumnSchema(BaseModel):
    """One feature column.

    Attributes:
        name: The column's name.
        kind: How it is encoded; ``ignore`` leaves it out.
        integer: Whether all values are whole numbers.
        minimum: Least value of a numeric column.
        maximum: Greatest value of a numeric column.
        categories: Values of a category column, sorted; of a boolean one, false then true.
        reason: Why the column is ignored.
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
    """The columns of a labeled table.

    Attributes:
        columns: Feature columns in the table's order, ignored ones included.
        target: Name of the label column.
        classes: Labels as text, sorted (as numbers if all are whole numbers).
        integer_classes: Whether labels are whole numbers.
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
        """Infer the schema from labeled and unlabeled rows (never from test rows).

        Args:
            labeled: Table with the label column ``target``.
            unlabeled: Table of the same features; it decides which features both tables share.
            target: Name of the label column.
            kinds: Kinds that override inference, by column name.

        Raises:
            UserError: If the label column is absent, a column in ``kinds`` is unknown, or no
                feature is left.
        """
        if target not in labeled:
            raise UserError(
                f"column {target!r} (data.target) is not in the labeled table; "
                f"its columns are: {', '.join(labeled.columns)}"
            )
        names = [name for name in labeled.columns if name != target and name in unlabeled]
        unknown = sorted(set(kinds or {}) - set(names))
        if unknown:
            raise UserError(
                f"data.kinds names {unknown[0]!r}, which is not a feature that both tables have; "
                f"those are: {', '.join(names)}"
            )
        columns = tuple(
            infer_column(*_stack(labeled[name], unlabeled[name], (kinds or {}).get(name)))
            for name in names
        )
        if all(column.kind == "ignore" for column in columns):
            raise UserError(
                "labeled and unlabeled table share no usable feature column"
                + ("".join(f"; {c.name!r}: {c.reason}" for c in columns[:3]) or "; none is in both")
                + "; add columns of numbers or categories, or set their kinds in data.kinds"
            )
        labels = as_text(labeled[target]).dropna()
        integer = bool(labels.str.fullmatch(WHOLE_NUMBER).all())
        classes = sorted(labels.unique(), key=int if integer else str)
        return cls(columns=columns, target=target, classes=tuple(classes), integer_classes=integer)

    @property
    def features(self) -> tuple[ColumnSchema, ...]:
        """Columns that are encoded: all but the ignored ones."""
        return tuple(column for column in self.columns if column.kind != "ignore")

    def of_kind(self, kind: ColumnKind) -> tuple[ColumnSchema, ...]:
        """Return the columns of one kind, in the table's order."""
        return tuple(column for column in self.columns if column.kind == kind)

    def coerce(self, frame: pd.DataFrame, source: str = "table") -> pd.DataFrame:
        """Return the feature columns, typed: floats for numeric ones, text for the others.

        Columns are found by name; further ones are left out. Missing cells become NaN or None, and
        so does a boolean column's third value.
        What this returns may be passed in again and comes back unchanged.

        Args:
            frame: Rows, shape ``(n_rows, any)``.
            source: What to call the table in errors.

        Raises:
            UserError: If a column is absent or a value has the wrong type; the message names both.
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
                    f"({int(is_wrong.sum())} such value(s)); mend it, or set its kind in data.kinds"
                )
            typed[column.name] = values
        return pd.DataFrame(typed, index=frame.index)

    def encode_labels(self, labels: pd.Series) -> np.ndarray:
        """Return the class index of every label, shape ``(n,)``, int64; -1 where unlabeled.

        Raises:
            UserError: If a label is not one of ``classes``.
        """
        text = as_text(labels)
        codes = pd.Index(self.classes).get_indexer(pd.Index(text))
        unknown = text.notna().to_numpy() & (codes < 0)
        if unknown.any():
            row = int(np.flatnonzero(unknown)[0])
            raise UserError(
                f"column {self.target!r}, row {row + 1}: label {labels.iloc[row]!r} is none of the "
                f"labeled table's classes ({', '.join(self.classes)})"
            )
        return codes.astype(np.int64)

    def decode_labels(self, codes: np.ndarray) -> np.ndarray:
        """Return the labels of class indices, as integers if all classes are."""
        classes = np.array(self.classes, dtype=object)
        return (classes.astype(np.int64) if self.integer_classes else classes)[codes]

    def save(self, path: Path) -> None:
        """Write the schema as JSON."""
        write_json(path, self.model_dump(mode="json", exclude_defaults=True))

    @classmethod
    def load(cls, path: Path) -> TableSchema:
        """Read what ``save`` wrote."""
        return cls.model_validate(read_json(path))


def infer_column(values: pd.Series, kind: ColumnKind | None = None) -> ColumnSchema:
    """Infer one column's schema; ``kind`` overrides the inferred kind."""
    name, present = str(values.name), values.dropna()
    reason: str | None
    if kind is None and re.fullmatch(NAMELESS, name):
        kind, reason = "ignore", "has no name in the header"
    elif kind is None:
        kind, reason = infer_kind(present)
    else:
        reason = "set in data.kinds" if kind == "ignore" else None
    if kind == "ignore":
        return ColumnSchema(name=name, kind=kind, reason=reason)
    if kind == "numeric":
        numbers = pd.to_numeric(present, errors="coerce").astype(float).dropna()
        if numbers.empty:
            raise UserError(f"data.kinds makes column {name!r} numeric, but it holds no number")
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
    """Return the kind of a column's non-missing values, and the reason if it is ``ignore``."""
    try:
        n_distinct = present.nunique()
    except TypeError:
        return "ignore", "holds lists or other nested values"
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

    def share(is_so: pd.Series) -> float:
        return counts.to_numpy()[is_so.to_numpy()].sum() / n_rows

    is_number = pd.to_numeric(text, errors="coerce").notna()
    if share(is_number) >= NUMERIC_SHARE:
        return "numeric", None
    if share(text.str.fullmatch(DATE)) >= NUMERIC_SHARE:
        return "ignore", DATE_REASON
    if len(text) <= max(2, MAX_DISTINCT_SHARE * n_rows):
        return "category", None
    reason = "identifier or free text"
    if share(is_number) >= 0.5:
        others = text[~is_number].sort_values().iloc[0]
        reason = f"numbers but for {1 - share(is_number):.0%}, e.g. {others!r}"
    elif pd.to_numeric(text.str.replace(",", "."), errors="coerce").notna().all():
        reason = "numbers with a decimal comma; write them with a point"
    return "ignore", f"{len(text)} distinct values in {n_rows} rows: {reason}"


def coerce_column(values: pd.Series, column: ColumnSchema) -> tuple[pd.Series, np.ndarray]:
    """Return a column's typed values, and where a present value has the wrong type."""
    if column.kind == "numeric":
        typed = pd.to_numeric(values, errors="coerce").astype(float)
        typed = typed.where(np.isfinite(typed))
        return typed, (typed.isna() & values.notna()).to_numpy()
    text = as_text(values)
    if column.kind == "boolean":
        # A third value cannot be encoded, but must not stop a prediction: it counts as missing.
        text = text.where(text.isin(column.categories), None)
    return text, np.zeros(len(values), bool)


def as_text(values: pd.Series) -> pd.Series:
    """Return values as text objects, whole floats without ``.0``; missing ones become None."""
    text = values.astype(str).astype(object)
    if pd.api.types.is_float_dtype(values):
        text = text.str.removesuffix(".0")
    return text.where(values.notna(), None)


def _boolean_pair(distinct: Iterable[str]) -> tuple[str, str] | None:
    """Return the pair that two values are but for their case."""
    lower = sorted(value.lower() for value in distinct)
    return next((pair for pair in BOOLEAN_PAIRS if lower == sorted(pair)), None)


def _boolean_categories(text: pd.Series) -> tuple[str, ...]:
    distinct = sorted(text.unique())
    pair = _boolean_pair(distinct)
    if pair is not None:
        return tuple(sorted(distinct, key=lambda value: pair.index(value.lower())))
    if len(distinct) != 2:
        raise UserError(
            f"data.kinds makes column {text.name!r} boolean, but it has {len(distinct)} values"
        )
    return tuple(distinct)


def _stack(
    labeled: pd.Series, unlabeled: pd.Series, kind: ColumnKind | None
) -> tuple[pd.Series, ColumnKind | None]:
    """Stack a column of both tables, as text where only one holds numbers, so that 1 meets '1'.

    If one table holds only numbers there and the other mostly none, the column is numeric, so that
    validation finds what is wrong, instead of a category that makes sense of both.
    """
    parts = [labeled, unlabeled]
    if len({pd.api.types.is_numeric_dtype(part) for part in parts}) > 1:
        shares = [pd.to_numeric(p.dropna(), errors="coerce").notna().mean() for p in parts]
        if kind is None and max(shares) == 1 and min(shares) < 0.5:
            kind = "numeric"
        parts = [as_text(part) for part in parts]
    return pd.concat(parts, ignore_index=True), kind


def _is_row_number(present: pd.Series) -> bool:
    n_rows = len(present)
    if n_rows < MIN_ROWS_FOR_ROW_NUMBER or not present.is_unique:
        return False
    is_whole = bool((present.astype(float) % 1 == 0).all())
    return is_whole and float(present.max()) - float(present.min()) < 2 * n_rows
