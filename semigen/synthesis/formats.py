"""How the columns of a table look, so that synthetic rows look the same.

Generators know numbers, booleans and categories. Dates become numbers of days or seconds for them,
decimals are rounded as in the table, constants are filled in, and identifiers are numbered anew,
beyond the real ones. Other columns of unique text (names, e-mails, notes) are left out: a
synthetic value would be a copy, or nonsense.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from semigen.params.config import ColumnKind
from semigen.synthesis.dates import Unit, date_format, to_dates, to_numbers, unit_of
from semigen.tables.cells import as_text
from semigen.tables.columns import coerce_column
from semigen.tables.schema import TableSchema

Role = Literal["generated", "date", "constant", "identifier", "left_out"]
MAX_DECIMALS = 6
IDENTIFIER = re.compile(r"(\D*)(\d{1,15})(\D*)")


class ColumnFormat(BaseModel):
    """How the cells of a column look.

    Attributes:
        name: Name of the column.
        role: ``generated`` by the model, ``date`` (generated as a number), ``constant``,
            ``identifier`` (numbered anew) or ``left_out``.
        decimals: Number of decimals of a numeric column; None if they vary or are many.
        dtype: ``bool`` or ``number`` for categories that the table holds as such, else None.
        date: Format of the dates.
        unit: Resolution of the dates: ``D``, ``min`` or ``s``.
        value: The constant; None if the column is empty.
        prefix: Text before the number of an identifier.
        suffix: Text after it.
        width: Number of digits, padded with zeros; 0 for integers.
        start: First number; the real ones are smaller.
        reason: Reason why the column is left out.

    Examples:
        >>> prices = {"price": ColumnFormat(name="price", decimals=2)}
        >>> round_numbers(pd.DataFrame({"price": [9.98999]}), prices)["price"].tolist()
        [9.99]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    role: Role = "generated"
    decimals: int | None = None
    dtype: Literal["bool", "number"] | None = None
    date: str | None = None
    unit: Unit = "D"
    value: bool | int | float | str | None = None
    prefix: str = ""
    suffix: str = ""
    width: int = 0
    start: int = 0
    reason: str | None = None


def learn_dates(table: pd.DataFrame, kinds: Mapping[str, ColumnKind]) -> dict[str, ColumnFormat]:
    """Return the formats of the columns of dates, without those whose kind the user has set."""
    formats = {}
    for name in table.columns:
        present = table[name].dropna()
        format_ = None if name in kinds or present.nunique() < 2 else date_format(present)
        if format_ is not None:
            unit = unit_of(present, format_)
            formats[name] = ColumnFormat(name=name, role="date", date=format_, unit=unit)
    return formats


def dates_as_numbers(table: pd.DataFrame, formats: Mapping[str, ColumnFormat]) -> pd.DataFrame:
    """Return a table whose dates are numbers."""
    return table.assign(
        **{
            name: to_numbers(table[name], str(f.date), f.unit)
            for name, f in formats.items()
            if f.role == "date" and name in table
        }
    )


def learn_formats(
    table: pd.DataFrame,
    schema: TableSchema,
    dates: Mapping[str, ColumnFormat],
    kinds: Mapping[str, ColumnKind],
) -> tuple[ColumnFormat, ...]:
    """Return the format of every feature column, in the order of the table.

    Args:
        table: Rows as they were read.
        schema: Schema of the rows, in which dates are numbers.
        dates: Formats of the columns of dates.
        kinds: Kinds that the user has set; columns set to ``ignore`` are left out.
    """
    formats = []
    for column in schema.columns:
        name, values = column.name, table[column.name]
        if name in dates:
            formats.append(dates[name])
        elif column.kind == "ignore":
            formats.append(_ignored(name, values, str(column.reason), schema.min_rows, kinds))
        elif column.kind == "numeric":
            numbers, _ = coerce_column(values, column)
            formats.append(ColumnFormat(name=name, decimals=_decimals(numbers)))
        else:
            is_bool = pd.api.types.is_bool_dtype(values.dropna().infer_objects())
            is_number = pd.api.types.is_numeric_dtype(values)
            dtype: Literal["bool", "number"] | None = (
                "bool" if is_bool else "number" if is_number else None
            )
            formats.append(ColumnFormat(name=name, dtype=dtype))
    return tuple(formats)


def learn_decimals(table: pd.DataFrame, schema: TableSchema) -> dict[str, ColumnFormat]:
    """Return the formats of the numeric columns of typed rows, with their number of decimals."""
    return {
        column.name: ColumnFormat(name=column.name, decimals=_decimals(table[column.name]))
        for column in schema.of_kind("numeric")
    }


def round_numbers(features: pd.DataFrame, formats: Mapping[str, ColumnFormat]) -> pd.DataFrame:
    """Return decoded features with as many decimals as the table has."""
    rounded = {
        name: features[name].astype(float).round(f.decimals)
        for name, f in formats.items()
        if f.decimals and name in features
    }
    return features.assign(**rounded)


def restore(
    features: pd.DataFrame, formats: Mapping[str, ColumnFormat], n_rows: int
) -> pd.DataFrame:
    """Return decoded features as cells of the table, without the columns that are left out.

    Args:
        features: Decoded features, in which dates are numbers.
        formats: Format of each column, by name.
        n_rows: Number of rows.
    """
    cells: dict[str, object] = {}
    for name, f in formats.items():
        if f.role == "date":
            cells[name] = to_dates(features[name], str(f.date), f.unit)
        elif f.role == "constant":
            cells[name] = [f.value] * n_rows
        elif f.role == "identifier":
            cells[name] = _numbered(f, n_rows)
        elif f.role == "generated":
            cells[name] = _as_in_table(features[name], f)
    return pd.DataFrame(cells, index=features.index)


def _ignored(
    name: str,
    values: pd.Series,
    reason: str,
    min_rows: int,
    kinds: Mapping[str, ColumnKind],
) -> ColumnFormat:
    left_out = ColumnFormat(name=name, role="left_out", reason=reason)
    if name in kinds:
        return left_out
    present = values.dropna()
    if present.empty:
        return ColumnFormat(name=name, role="constant")
    try:
        n_distinct = present.nunique()
    except TypeError:
        return left_out
    if n_distinct == 1 and len(present) >= min_rows and len(present) == len(values):
        value = present.iloc[0]
        plain = value.item() if isinstance(value, np.generic) else value
        if isinstance(plain, bool | int | float | str):
            return ColumnFormat(name=name, role="constant", value=plain)
    return _identifier(name, present, min_rows) or left_out


def _identifier(name: str, present: pd.Series, min_rows: int) -> ColumnFormat | None:
    """Return the format of numbered identifiers: ``17``, ``C-00017``; None if they are others."""
    if not present.is_unique or len(present) < max(2, min_rows):
        return None
    is_number = pd.api.types.is_numeric_dtype(present)
    matches = [IDENTIFIER.fullmatch(text) for text in as_text(present)]
    if not all(matches):
        return None
    parts = [match.groups() for match in matches if match]
    if len({(prefix, suffix) for prefix, _, suffix in parts}) > 1:
        return None
    prefix, _, suffix = parts[0]
    numbers = [digits for _, digits, _ in parts]
    largest = max(map(int, numbers))
    width = 0 if is_number else max(map(len, numbers))
    if width and len(set(map(len, numbers))) > 1:
        width = 1  # text without padding
    return ColumnFormat(
        name=name,
        role="identifier",
        prefix=prefix,
        suffix=suffix,
        width=width,
        start=10 ** len(str(largest)),
    )


def _numbered(f: ColumnFormat, n_rows: int) -> list[int] | list[str]:
    numbers = range(f.start, f.start + n_rows)
    if not f.width:
        return list(numbers)
    return [f"{f.prefix}{number:0{f.width}d}{f.suffix}" for number in numbers]


def _as_in_table(values: pd.Series, f: ColumnFormat) -> pd.Series:
    if f.dtype == "bool":
        found = values.map({"True": True, "False": False, "1": True, "0": False})
        is_known = found.notna() | values.isna()
        restored = found.where(is_known, values)
        return restored.astype(bool) if found.notna().all() else restored
    if f.dtype == "number":
        numbers = pd.to_numeric(values, errors="coerce")
        return numbers if (numbers.notna() | values.isna()).all() else values
    return values


def _decimals(values: pd.Series) -> int | None:
    numbers = pd.to_numeric(values, errors="coerce").dropna().to_numpy(dtype=float)
    for decimals in range(MAX_DECIMALS + 1):
        if np.allclose(numbers, numbers.round(decimals), rtol=1e-12, atol=1e-9):
            return decimals
    return None
