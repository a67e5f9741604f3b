"""Names, cells and reasons with HTML, Markdown or control characters are shown as text."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from semigen.registry.gates import Gate
from semigen.registry.promotion import Decision
from semigen.report.drift import drift_markdown
from semigen.report.promotion import promotion_markdown, promotion_text
from semigen.report.validation import validation_markdown
from semigen.validation.report import ValidationReport, ValidationResult

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[x](javascript:alert(1))",
    "![x](http://evil.example/x.png)",
    "`</code><b>`",
    "a|b\n\n# heading\n<b>",
    "&lt;b&gt; <!-- x",
    "**bold** _it_ \\<b>",
    "<https://evil.example>",
)
"""Attacks that a cell, a column name or a class name may hold."""


def validation_page(text: str) -> str:
    results = tuple(
        ValidationResult("labeled", text, rule, False, 2, 1, (text,), f"column {text}: wrong")
        for rule in ("two_classes", "missing_share")
    )
    files = dict.fromkeys(("labeled", "unlabeled", "test"), text)
    n_rows = {"labeled": 2, "unlabeled": 2, "test": 2}
    return validation_markdown(ValidationReport(n_rows, files, ((text, text),), results))


def promotion_page(text: str) -> str:
    gate = Gate("fairness", False, f"{text} is worse off")
    return promotion_markdown(Decision("kept", text, "v0002", "v0001", (gate,)))


def drift_page(text: str) -> str:
    column = {
        "column": text,
        "has_drifted": True,
        "distance": 0.5,
        "p_value": 0.01,
        "missing": [0.0, 0.1],
        "new_categories": [text],
    }
    limits = {"max_distance": 0.1, "significance": 0.01, "auc": 0.7}
    auc = {"value": 0.9, "low": 0.8, "high": 1.0}
    facts = {"input": text, "sentence": text, "n_current": 5, "n_reference": 9}
    return drift_markdown({**facts, "columns": [column], "limits": limits, "auc": auc})


PAGES = {"validation": validation_page, "promotion": promotion_page, "drift": drift_page}


def elements(page: str) -> list[str]:
    """Return the elements of a rendered page in order, texts left out; raw HTML is allowed."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(page)
    nested = [[token, *(token.children or ())] for token in tokens]
    return [token.type for group in nested for token in group if token.type != "text"]


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_adds_no_element_to_a_page(page, text):
    assert elements(page(text)) == elements(page("harmless"))


def test_hostile_reason_adds_no_line_to_the_terminal():
    gate = Gate("fairness", False, "x\nerror: all lost")
    text = promotion_text(Decision("kept", "y\x1b[2J\nerror: z", "v2", "v1", (gate,)))
    assert len(text.splitlines()) == 3
    assert "\x1b" not in text
