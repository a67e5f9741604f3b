"""Guard of CSV files against text that spreadsheets run as a formula (CSV injection).

OWASP, "CSV Injection": a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a line break is
a formula to Excel or LibreOffice, and may send the table elsewhere or start a program. A leading
apostrophe makes it text. Numbers such as ``-1``, and a sign alone, are no formulas and stay as they
are, so that class labels such as ``-1``, ``+`` and ``-`` can be used.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pandas as pd

FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20].", re.DOTALL)
"""Start of a formula; full-width signs count in East Asian editions."""
GUARDED = re.compile("'" + FORMULA.pattern, re.DOTALL)
NUMBER = re.compile(r"[+-](\d+\.?\d*|\.\d+)([eE][+-]?\d+)?%?")


def guard_text(text: str) -> str:
    """Return a text with a leading apostrophe if a spreadsheet would take it for a formula.

    Examples:
        >>> [guard_text(text) for text in ("=1+1", "@SUM(A1)", "-2+3", "-1", "+", "a=b")]
        ["'=1+1", "'@SUM(A1)", "'-2+3", '-1', '+', 'a=b']
    """
    is_formula = FORMULA.match(text) and not NUMBER.fullmatch(text)
    return f"'{text}" if is_formula else text


def guard_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table with guarded text cells and column names.

    Args:
        frame: The table, shape ``(n_rows, n_columns)``. Its numbers stay as they are.

    Examples:
        >>> guard_formulas(pd.DataFrame({"=cmd": ["=cmd|calc", "x"], "n": [-1, 2]})).to_dict("list")
        {"'=cmd": ["'=cmd|calc", 'x'], 'n': [-1, 2]}
    """
    return _map_text(frame, FORMULA, guard_text)


def remove_guards(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table without the apostrophes that ``guard_formulas`` wrote.

    Args:
        frame: The table, shape ``(n_rows, n_columns)``.

    Examples:
        >>> remove_guards(pd.DataFrame({"'=cmd": ["'=cmd|calc", "'x"]})).to_dict("list")
        {'=cmd': ['=cmd|calc', "'x"]}
    """
    return _map_text(frame, GUARDED, _remove_guard)


def _remove_guard(text: str) -> str:
    return text[1:] if text.startswith("'") and guard_text(text[1:]) == text else text


def _map_text(
    frame: pd.DataFrame, pattern: re.Pattern[str], function: Callable[[str], str]
) -> pd.DataFrame:
    """Apply a function to the column names, and to the text cells that match a pattern."""
    mapped = frame.rename(columns=lambda name: function(str(name)))
    for position, (_, values) in enumerate(frame.items()):
        if values.dtype == object or pd.api.types.is_string_dtype(values):
            matches = values.astype(str).str.match(pattern)
            if matches.any():
                changed = [function(v) if isinstance(v, str) else v for v in values[matches]]
                cells = values.astype(object)
                cells[matches] = changed
                mapped.isetitem(position, cells.array)
    return mapped
