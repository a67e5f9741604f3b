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


def count(n: int, noun: str) -> str:
    """Return a number with its noun.

    Examples:
        >>> count(1, "error"), count(2, "error")
        ('1 error', '2 errors')
    """
    return f"{n} {noun}" + ("" if n == 1 else "s")
