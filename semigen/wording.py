"""Small pieces of English that messages and reports share."""

from __future__ import annotations

from collections.abc import Sequence


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


def count(n: int, noun: str) -> str:
    """Return a number with its noun.

    Examples:
        >>> count(1, "error"), count(2, "error")
        ('1 error', '2 errors')
    """
    return f"{n} {noun}" + ("" if n == 1 else "s")
