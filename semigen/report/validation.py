"""The validation report as a page and for the terminal."""

from __future__ import annotations

from typing import Any

from semigen.report.markdown import escape, join, section, table
from semigen.validation.report import PARTS, RULES, ValidationReport
from semigen.wording import count, printable, printed

MAX_WARNINGS = 5
MAX_COLUMNS = 3
SUMMARY_HEADER = ("part", "file", "rows", "errors", "warnings")


def validation_markdown(report: ValidationReport) -> str:
    """Return the report as a Markdown page: errors and warnings first, then the checks made."""
    ignored = [(escape(name), escape(reason)) for name, reason in report.ignored_columns]
    verdict = "The tables are valid" if report.success else "The tables are not valid"
    page = join(
        "# Validation",
        f"{verdict}: {_counts(report)}.",
        table(SUMMARY_HEADER, [tuple(map(escape, row)) for row in summary_rows(report)]),
        section("Errors", "\n".join(f"- {escape(result.message)}" for result in report.errors)),
        section("Warnings", "\n".join(f"- {escape(result.message)}" for result in report.warnings)),
        section(
            "Ignored columns",
            table(("column", "reason"), ignored) if ignored else "",
        ),
        section("Rules", table(("rule", "part", "severity", "checks", "failed"), _rules(report))),
    )
    return page + "\n"


def validation_text(report: ValidationReport, path: str) -> str:
    """Return rows, errors and warnings of each part, and the first warnings, for the terminal.

    Args:
        report: The report.
        path: Path of the Markdown page, which has all warnings.
    """
    lines = _aligned([SUMMARY_HEADER, *summary_rows(report)])
    if report.ignored_columns:
        named = [f"{name} ({reason})" for name, reason in report.ignored_columns[:MAX_COLUMNS]]
        more = ", ..." if len(report.ignored_columns) > MAX_COLUMNS else ""
        n_ignored = count(len(report.ignored_columns), "column")
        lines.append(f"{n_ignored} ignored: {', '.join(named)}{more}")
    lines += [f"warning: {printed(result.text)}" for result in report.warnings[:MAX_WARNINGS]]
    n_more = len(report.warnings) - MAX_WARNINGS
    if n_more > 0:
        lines.append(f"{count(n_more, 'more warning')} in {path}")
    return "\n".join(map(printable, lines))


def first_error(report: ValidationReport, path: str) -> str:
    """Return the first error's message, the number of further errors, and the page's path."""
    first, *others = report.errors
    more = f" ({count(len(others), 'more error')})" if others else ""
    return f"{first.text}{more}; report: {path}"


def summary_rows(report: ValidationReport) -> list[tuple[str, str, Any, int, int]]:
    """Return part, file, number of rows, errors and warnings of each part."""
    return [
        (
            part,
            report.files[part],
            "not read" if report.n_rows[part] is None else report.n_rows[part],
            sum(result.part == part for result in report.errors),
            sum(result.part == part for result in report.warnings),
        )
        for part in PARTS
    ]


def _counts(report: ValidationReport) -> str:
    return f"{count(len(report.errors), 'error')}, {count(len(report.warnings), 'warning')}"


def _rules(report: ValidationReport) -> list[tuple[Any, ...]]:
    rows = []
    for name, part in ((name, part) for name in RULES for part in PARTS):
        results = [r for r in report.results if (r.rule, r.part) == (name, part)]
        if results:
            n_failed = sum(not result.success for result in results)
            rule = RULES[name]
            rows.append((rule.description, part, rule.severity, len(results), n_failed))
    return rows


def _aligned(rows: list[tuple[Any, ...]]) -> list[str]:
    texts = [tuple(map(str, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in texts
    ]
