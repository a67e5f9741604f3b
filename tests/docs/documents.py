"""The Markdown files of the documentation, and their links, code blocks and inline code."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
FENCE = re.compile(r"^(`{3,}|:{3,})\{?(\w[\w-]*)\}?[^\n]*\n(.*?)^\1 *$", re.M | re.S)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
INLINE_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")


def code_blocks(document: Path, language: str) -> list[str]:
    """Return the code blocks of a language, in order."""
    found = FENCE.findall(document.read_text(encoding="utf-8"))
    return [body for _, name, body in found if name == language]


def prose(document: Path) -> str:
    """Return the text without its code blocks, each line break as a blank."""
    return " ".join(FENCE.sub("", document.read_text(encoding="utf-8")).split())


def links(document: Path) -> list[str]:
    """Return the targets of all relative links and images."""
    targets = LINK.findall(FENCE.sub("", document.read_text(encoding="utf-8")))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def inline_code(document: Path) -> list[str]:
    return INLINE_CODE.findall(prose(document))


def anchors(document: Path) -> set[str]:
    """Return the anchors of the headings, as GitHub and MyST derive them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.M)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def code_sequence(document: Path) -> list[tuple[str, str]]:
    """Return the language and content of all shell and Python blocks, in order."""
    found = FENCE.findall(document.read_text(encoding="utf-8"))
    return [(name, body) for _, name, body in found if name in ("bash", "python")]
