"""Markdown as the reports write it: escaped text, tables and sections."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def escape(value: object) -> str:
    r"""Return a value as one line of text that Markdown, and HTML in it, takes literally.

    Examples:
        >>> print(escape("a*b | <c>"))
        a\*b \| \<c\>
    """
    return re.sub(r"([\\`*_\[\]<>|#~$&])", r"\\\1", " ".join(str(value).split()))


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    r"""Return a table. Cells may hold Markdown; a bare ``|`` in a cell does not end the cell.

    Args:
        header: Column names.
        rows: Cells of each row, as many as there are columns.

    Examples:
        >>> print(table(("file", "rows"), [("a|b.csv", 3)]))
        | file | rows |
        | --- | --- |
        | a\|b.csv | 3 |
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_cell(value) for value in line)} |" for line in lines)


def section(title: str, *paragraphs: str) -> str:
    """Return a section with a heading of the second level; nothing without a paragraph.

    Examples:
        >>> print(section("Errors", "- a", ""))
        ## Errors
        <BLANKLINE>
        - a
    """
    body = join(*paragraphs)
    return f"## {title}\n\n{body}" if body else ""


def join(*paragraphs: str) -> str:
    """Return paragraphs separated by blank lines; empty ones are left out."""
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _cell(value: object) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(str(value).split()))
