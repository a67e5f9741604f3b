"""Columns of dates as numbers, and back."""

from __future__ import annotations

from typing import Literal

import pandas as pd

Unit = Literal["D", "min", "s"]
FORMATS = (
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y/%m/%d",
    "%d.%m.%Y",
    "%d.%m.%Y %H:%M",
    "%d/%m/%Y",
    "%m/%d/%Y",
)
"""Formats that are recognized if they fit every value; the first that fits is used."""
NATIVE = "datetime64"
"""Format of columns whose type is already that of a time."""
EPOCH = pd.Timestamp("1970-01-01")


def date_format(values: pd.Series) -> str | None:
    """Return the format of a column of dates, None if it has none.

    Args:
        values: Values of the column that are not missing.

    Examples:
        >>> date_format(pd.Series(["24.12.2023", "01.02.2024"]))
        '%d.%m.%Y'
        >>> date_format(pd.Series(["24.12.2023", "soon"])) is None
        True
    """
    if values.empty:
        return None
    if values.dtype.kind == "M":
        return NATIVE
    if not (pd.api.types.is_string_dtype(values) or values.dtype == object):
        return None
    text = values.astype(str)
    for candidate in FORMATS:
        parsed = pd.to_datetime(text, format=candidate, errors="coerce")
        if parsed.notna().all() and (parsed.dt.strftime(candidate) == text).all():
            return candidate
    return None


def to_numbers(values: pd.Series, format_: str, unit: Unit) -> pd.Series:
    """Return dates as whole days or seconds since 1970, float64; missing if they do not parse."""
    times = _times(values, format_)
    return ((times - EPOCH) / pd.Timedelta(1, unit)).round().astype(float)


def unit_of(values: pd.Series, format_: str) -> Unit:
    """Return the resolution of dates: ``D`` if all are at midnight, ``min`` or ``s``."""
    times = _times(values, format_).dropna()
    if (times == times.dt.normalize()).all():
        return "D"
    return "min" if (times == times.dt.floor("min")).all() else "s"


def to_dates(numbers: pd.Series, format_: str, unit: Unit) -> pd.Series:
    """Return the dates of numbers in the format of the column.

    Examples:
        >>> to_dates(pd.Series([19716.0, None]), "%d.%m.%Y", "D").tolist()
        ['25.12.2023', None]
    """
    times = EPOCH + pd.to_timedelta(numbers.astype(float).round(), unit=unit)
    if format_ == NATIVE:
        return times
    return times.dt.strftime(format_).astype(object).where(times.notna(), None)


def _times(values: pd.Series, format_: str) -> pd.Series:
    if format_ == NATIVE:
        return values.dt.tz_localize(None) if values.dt.tz is not None else values
    return pd.to_datetime(values.astype(object), format=format_, errors="coerce")
