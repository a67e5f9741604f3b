"""Conditions on the columns of synthetic rows: ``{"region": "north", "age": "30..40"}``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from semigen.errors import UserError
from semigen.synthesis.dates import to_numbers
from semigen.synthesis.formats import ColumnFormat
from semigen.tables.cells import as_text
from semigen.tables.columns import ColumnSchema
from semigen.tables.schema import TableSchema
from semigen.wording import first_few

Where = Mapping[str, Any]
"""Value of each column; a list of values, any of which fits; or ``low..high`` for numbers and
dates."""


def parse_where(texts: Sequence[str]) -> dict[str, str]:
    """Return the conditions of ``COLUMN=VALUE`` texts.

    Raises:
        UserError: If a text has no column.

    Examples:
        >>> parse_where(["region=north", "age=30..40"])
        {'region': 'north', 'age': '30..40'}
    """
    conditions = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UserError(f"--where must be COLUMN=VALUE, not {text!r}")
        conditions[name.strip()] = value.strip()
    return conditions


def check_where(where: Where, schema: TableSchema, formats: Mapping[str, ColumnFormat]) -> None:
    """Check that rows can fit the conditions.

    Raises:
        UserError: If a column is unknown or has no such value.
    """
    columns = {column.name: column for column in schema.features}
    for name, value in where.items():
        if name == schema.target:
            _check_values(name, value, schema.classes)
        elif name not in columns:
            raise UserError(
                f"where: the model generates no column {name!r}; it generates: "
                f"{', '.join([*columns, schema.target])}"
            )
        elif columns[name].kind == "numeric":
            _limits(value, columns[name], formats.get(name))
        else:
            _check_values(name, value, columns[name].categories)


def matches(
    rows: pd.DataFrame, where: Where, schema: TableSchema, formats: Mapping[str, ColumnFormat]
) -> pd.Series:
    """Return which rows fit all conditions.

    Args:
        rows: Decoded features, in which dates are numbers, and the target.
        where: The conditions.
        schema: Schema of the rows.
        formats: Formats of the columns, by name.
    """
    fits = pd.Series(True, index=rows.index)
    numeric = {column.name: column for column in schema.of_kind("numeric")}
    for name, value in where.items():
        if name in numeric:
            low, high = _limits(value, numeric[name], formats.get(name))
            fits &= rows[name].astype(float).between(low, high)
        else:
            fits &= as_text(rows[name]).isin(_texts(value))
    return fits


def _texts(value: Any) -> list[str]:
    values = list(value) if isinstance(value, list | tuple | set) else [value]
    return [str(text) for text in as_text(pd.Series(values, dtype=object))]


def _check_values(name: str, value: Any, known: Sequence[str]) -> None:
    unknown = [text for text in _texts(value) if text not in known]
    if unknown:
        raise UserError(
            f"where: column {name!r} has no value {unknown[0]!r} that enough rows have; known: "
            f"{first_few(list(known), 10)}"
        )


def _limits(value: Any, column: ColumnSchema, f: ColumnFormat | None) -> tuple[float, float]:
    """Return the smallest and the largest number that fits."""
    parts = str(value).split("..") if isinstance(value, str) else [value]
    if isinstance(value, tuple | list):
        parts = list(value)
    if len(parts) > 2:
        raise UserError(f"where: column {column.name!r} takes a number or low..high, not {value!r}")
    try:
        numbers = [_number(part, f) for part in parts]
    except ValueError as error:
        raise UserError(
            f"where: column {column.name!r} takes a number or low..high, not {value!r}"
        ) from error
    low, high = min(numbers), max(numbers)
    smallest, largest = float(column.minimum or 0), float(column.maximum or 0)
    if high < smallest or low > largest:
        raise UserError(
            f"where: column {column.name!r} has no values near {value!r}; the model generates "
            f"{smallest:g} to {largest:g}"
        )
    return low, high


def _number(part: Any, f: ColumnFormat | None) -> float:
    if f is None or f.role != "date":
        return float(part)
    values = pd.Series([part])
    number = float(to_numbers(values, str(f.date), f.unit).iloc[0])
    if pd.isna(number):
        raise ValueError(f"not a date: {part!r}")
    return number
