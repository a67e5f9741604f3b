"""Formats of dates and times in text."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

MIN_SHARE = 0.9
"""Minimum fraction of the cells of a date column that are dates."""
TIME = (
    r"(?:[T ]\d{1,2}:\d{2}(?P<second>:\d{2}(?:\.\d+)?)?(?: ?[AaPp][Mm])?(?:Z| ?[+-]\d{2}:?\d{2})?)?"
)
MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?"
PATTERNS = {
    "%Y{}%m{}%d": r"(?:1[6-9]|2[01])\d{2}(?P<sep>[-/.])(?P<m>\d{1,2})(?P=sep)(?P<d>\d{1,2})",
    "%Y%m%d": r"(?:19|20)\d{2}(?P<m>0[1-9]|1[0-2])(?P<d>0[1-9]|[12]\d|3[01])",
    "%Y-%m": r"(?:1[6-9]|2[01])\d{2}[-/](?P<m>0[1-9]|1[0-2])",
    "{}": r"(?P<a>\d{1,2})(?P<sep>[-/.])(?P<b>\d{1,2})(?P=sep)(?P<y>\d{4}|\d{2})",
    "%b %d, %Y": rf"{MONTH} \d{{1,2}},? \d{{4}}",
    "%d %b %Y": rf"\d{{1,2}}\.?[- ]{MONTH}[- ]\d{{2,4}}",
    "%H:%M": r"(?:[01]?\d|2[0-3]):[0-5]\d(?P<second>:[0-5]\d(?:\.\d+)?)?",
}


@dataclass(frozen=True)
class DateFormat:
    """How the dates of a column are written.

    Attributes:
        pattern: Format in the codes of ``strftime``.
        resolution: ``month``, ``day``, ``minute`` or ``second``.
        is_ambiguous: Whether no date tells the day from the month.

    Examples:
        >>> counts = pd.Series({"31.12.2023": 4, "01.02.2024": 2})
        >>> find_date_format(counts)
        DateFormat(pattern='%d.%m.%Y', resolution='day', is_ambiguous=False)
        >>> find_date_format(pd.Series({"01/02/24": 4})).is_ambiguous
        True
    """

    pattern: str
    resolution: str
    is_ambiguous: bool = False


def find_date_format(counts: pd.Series) -> DateFormat | None:
    """Return the format of the dates of a column; None if it does not hold dates.

    Args:
        counts: How often each distinct text cell occurs.
    """
    cells = pd.Series(counts.index, dtype=object)
    for name, pattern in PATTERNS.items():
        suffix = "" if name == "%H:%M" else TIME
        regex = re.compile(f"{pattern}{suffix}")
        matches = [regex.fullmatch(cell) for cell in cells]
        is_date = np.array([match is not None for match in matches])
        if counts.to_numpy()[is_date].sum() < MIN_SHARE * counts.sum():
            continue
        groups = pd.DataFrame([match.groupdict() for match in matches if match])
        texts = cells[is_date]
        found, is_ambiguous = _named(name, groups)
        return DateFormat(found, _resolution(name, texts, groups), is_ambiguous)
    return None


def _named(name: str, groups: pd.DataFrame) -> tuple[str, bool]:
    """Return the format with its separators, and whether day and month may be swapped."""
    if "sep" not in groups:
        return name, False
    separator = str(groups["sep"].mode()[0])
    if name != "{}":
        return name.format(separator, separator), False
    year = "%y" if (groups["y"].str.len() == 2).mean() > 0.5 else "%Y"
    first, second = (pd.to_numeric(groups[part]) for part in ("a", "b"))
    # Points separate the parts of German dates, which have the day first.
    is_day_first = bool((first > 12).any()) or separator == "."
    is_month_first = bool((second > 12).any())
    parts = ("%m", "%d", year) if is_month_first and not (first > 12).any() else ("%d", "%m", year)
    return separator.join(parts), not (is_day_first or is_month_first)


def _resolution(name: str, texts: pd.Series, groups: pd.DataFrame) -> str:
    if name == "%Y-%m":
        return "month"
    with_time = texts[texts.str.contains(":", regex=False)]
    if (
        with_time.empty
        or with_time.str.fullmatch(r".*[T ]00:00(?::00(?:\.0+)?)?(?:Z|\+00:?00)?").all()
    ):
        return "day"
    return "second" if groups["second"].notna().any() else "minute"
