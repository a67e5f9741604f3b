"""Small pieces of English that messages and reports share."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

CELL = re.compile("⟦(.*?)⟧")
"""Text of a message that shows the content of cells, between marks."""
MARK_CELLS = "SEMIGEN_MARK_CELLS"
"""Environment variable that keeps the marks in what a command prints, set where a flow reads it."""


def first_few(items: Sequence[str], limit: int = 5) -> str:
    """Return the first items, separated by commas, and how many more there are.

    Examples:
        >>> first_few(["a", "b", "c"], limit=2)
        'a, b and 1 more'
    """
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more


def printable(text: str) -> str:
    r"""Return a text with control characters escaped, so that it is one line.

    Names and cells of tables may contain line breaks and escape sequences of terminals, which would
    forge lines of a log or hide them.

    Examples:
        >>> printable("a\nerror: b\x1b[2J")
        'a\\nerror: b\\x1b[2J'
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def cell(value: object) -> str:
    """Return a cell's value for a message, marked so that stored texts can leave it out.

    Messages show the value that is wrong, so that users find it. They see it on their terminal;
    reports, and the log of the server, hold messages without it.

    Examples:
        >>> message = f"row 3: {cell('ten')} is not a number"
        >>> show_cells(message), hide_cells(message)
        ("row 3: 'ten' is not a number", 'row 3: … is not a number')
    """
    return mark_cells(repr(value))


def mark_cells(text: str) -> str:
    """Return a part of a message that shows cells, marked."""
    return f"⟦{text.replace('⟦', '[').replace('⟧', ']')}⟧"


def show_cells(text: str) -> str:
    """Return a message with the values of cells, without marks."""
    return CELL.sub(r"\1", text)


def hide_cells(text: str) -> str:
    """Return a message without the values of cells."""
    return CELL.sub("…", text)


def printed(text: str) -> str:
    """Return a message as commands print it: with marks only for a flow, which removes them."""
    return text if os.environ.get(MARK_CELLS) else show_cells(text)


def count(n: int, noun: str) -> str:
    """Return a number with its noun.

    Examples:
        >>> count(1, "error"), count(2, "error")
        ('1 error', '2 errors')
    """
    return f"{n} {noun}" + ("" if n == 1 else "s")
