"""Formats of numbers in text: decimal mark, thousands separator, currency, percent and unit."""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

Decimal = Literal[".", ","]
SPACES = " \u00a0\u202f\u2009"
"""Blanks that separate thousands: the usual one, and no-break and thin ones."""
THOUSANDS = {".": ("", ",", " ", "'"), ",": ("", ".", " ", "'")}
"""Thousands separators for each decimal mark."""
MINUS, APOSTROPHE = "\u2212", "\u2019"
SIGNS = f"[+{MINUS}-]"
SEPARATORS = {",": ",", ".": r"\.", " ": f"[{SPACES}]", "'": f"['{APOSTROPHE}]"}
EXPONENT = r"(?:[eE][+-]?\d+)?"
PREFIX = r"\p{Sc}|[A-Z]{1,3}\p{Sc}|(?:USD|EUR|GBP|CHF|JPY|CNY|INR|AUD|CAD|SEK|NOK|DKK|PLN|Rs\.?)"
"""Currencies before a number. Other letters there make a code, such as C0017."""
SUFFIX = r"[^\d\s.,'+()-][^\d,'+()-]{0,11}?"
"""Percent, currency or unit after a number: up to 12 characters that are no digits."""
AFFIXED = (
    rf"^{SIGNS}?(?P<prefix>(?:{PREFIX})?)\s*{SIGNS}?"
    rf"[\d.,][\d.,'{APOSTROPHE}{SPACES}]*?{EXPONENT}\s*(?P<suffix>(?:{SUFFIX})?)$"
)
FULL_GROUPS = rf"{SIGNS}?[1-9]\d{{0,2}}(?:%s\d{{3}})+"
"""Numbers of which every group has three digits, so that the separator may be the decimal mark."""


class NumberFormat(BaseModel):
    """How the numbers of a column are written.

    Attributes:
        decimal: Decimal mark.
        thousands: Thousands separator; empty if there is none.
        prefix: Text before the number, such as a currency.
        suffix: Text after the number, such as ``%`` or a unit.

    Examples:
        >>> price = NumberFormat(decimal=",", thousands=".", suffix="EUR")
        >>> price.parse(pd.Series(["1.200,50 EUR", "7", "3.5"])).tolist()
        [1200.5, 7.0, nan]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    decimal: Decimal = "."
    thousands: Literal["", ",", ".", " ", "'"] = ""
    prefix: str = ""
    suffix: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether numbers are written as in programs."""
        return self == NumberFormat()

    @property
    def pattern(self) -> str:
        """Regular expression that a number matches as a whole."""
        whole = r"\d+"
        if self.thousands:
            separator = SEPARATORS[self.thousands]
            whole = rf"(?:[1-9]\d{{0,2}}(?:{separator}\d{{3}})+|\d+)"
        mark = re.escape(self.decimal)
        number = rf"(?:{whole}(?:{mark}\d*)?|{mark}\d+){EXPONENT}|(?i:inf|infinity)"
        prefix = rf"(?:{re.escape(self.prefix)}\s*)?" if self.prefix else ""
        suffix = rf"(?:\s*{re.escape(self.suffix)})" if self.suffix else ""
        if suffix and self.suffix != "%":  # 0.4 is not 0.4 %, but 5 may be 5 kg
            suffix += "?"
        return rf"^(?P<sign>{SIGNS}?){prefix}(?P<sign2>{SIGNS}?)(?P<number>{number}){suffix}$"

    def parse(self, cells: pd.Series) -> np.ndarray:
        """Return the numbers of text cells, shape ``(n,)``; NaN where a cell is no number.

        The result of a cell does not depend on the others. Numbers too large are infinite.
        """
        text = pa.array(cells, pa.string(), from_pandas=True)
        if not len(text):
            return np.empty(0)
        parts = pc.extract_regex(text, self.pattern)
        number = pc.struct_field(parts, "number")
        if self.thousands:
            number = pc.replace_substring_regex(number, SEPARATORS[self.thousands], "")
        if self.decimal != ".":
            number = pc.replace_substring(number, self.decimal, ".")
        values = pc.cast(number, pa.float64()).to_numpy(zero_copy_only=False)
        signs = [pc.struct_field(parts, name) for name in ("sign", "sign2")]
        is_negative = pc.or_(*(pc.is_in(s, pa.array(["-", MINUS])) for s in signs))
        flags = pc.fill_null(is_negative, False).to_numpy(zero_copy_only=False)
        return np.where(flags, -values, values)


PLAIN = NumberFormat()


def best_format(
    counts: pd.Series, decimal: Decimal | None = None, thousands: str | None = None
) -> NumberFormat:
    """Return the format by which most cells of a column are numbers.

    If several formats are equally good, the decimal mark and the separator decide.

    Args:
        counts: How often each distinct cell occurs.
        decimal: Preferred decimal mark; a point if None.
        thousands: Preferred thousands separator; the decimal mark decides if None.
    """
    cells = pd.Series(counts.index, dtype=object)
    prefix, suffix = common_affixes(cells)
    marks: tuple[Decimal, ...] = (",", ".") if decimal == "," else (".", ",")
    separators = {m: sorted(THOUSANDS[m], key=lambda s: s != thousands) for m in marks}
    best, best_share = PLAIN, -1.0
    for mark, separator in ((m, s) for m in marks for s in separators[m]):
        tried = NumberFormat(decimal=mark, thousands=separator, prefix=prefix, suffix=suffix)
        share = float(counts.to_numpy()[~np.isnan(tried.parse(cells))].sum())
        if share > best_share:
            best, best_share = tried, share
        if share == counts.sum():
            break
    return best


def common_affixes(cells: pd.Series) -> tuple[str, str]:
    """Return the most frequent text before and after the number of cells; empty if there is none.

    Examples:
        >>> common_affixes(pd.Series(["$ 1.20", "-$3", "$4"])), common_affixes(pd.Series(["5 kg"]))
        (('$', ''), ('', 'kg'))
    """
    parts = pc.extract_regex(pa.array(cells, pa.string(), from_pandas=True), AFFIXED)
    found = []
    for name in ("prefix", "suffix"):
        affixes = pc.struct_field(parts, name).to_pandas().dropna().str.strip()
        found.append(str(affixes.mode()[0]) if len(affixes) else "")
    return found[0], found[1]


def decimal_evidence(cells: pd.Series) -> Decimal | None:
    """Return the decimal mark that the numbers of a column prove, or None.

    ``1,5`` proves a comma; ``1,500`` may be fifteen hundred.

    Args:
        cells: Distinct text cells.
    """
    marks: tuple[Decimal, ...] = (".", ",")
    for mark, other in (marks, marks[::-1]):
        numbers = cells[cells.str.fullmatch(rf"{SIGNS}?\d*(?:\{other}\d{{3}})*\{mark}\d+")]
        if 2 * len(numbers) > len(cells) and not has_full_groups(numbers, mark):
            return mark
    return None


def has_full_groups(cells: pd.Series, separator: str) -> bool:
    """Return whether a separator in numbers may separate thousands as well as decimals.

    Args:
        cells: Distinct cells that are numbers, without currency and unit.
        separator: The separator.
    """
    with_separator = cells[cells.str.contains(separator, regex=False)]
    groups = FULL_GROUPS % re.escape(separator)
    return bool(len(with_separator) and with_separator.str.fullmatch(groups).all())
