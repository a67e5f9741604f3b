"""What validation found: results by rule, as JSON for machines and as Markdown for people."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning"]
PARTS = ("labeled", "unlabeled", "test")
MAX_SAMPLE_VALUES = 5


@dataclass(frozen=True)
class Rule:
    """What a rule asks, and whether a run stops where it is broken."""

    severity: Severity
    description: str


RULES = {
    "readable": Rule("error", "the tables can be read and understood"),
    "feature_columns": Rule("error", "the table has every feature column"),
    "type": Rule("error", "values have their column's type"),
    "label_present": Rule("error", "every row has a label"),
    "known_label": Rule("error", "labels are among the labeled table's classes"),
    "two_classes": Rule("error", "there are at least two classes"),
    "rows_per_class": Rule("error", "every class has enough labeled rows"),
    "same_columns": Rule("warning", "the tables have the same columns"),
    "no_labels": Rule("warning", "unlabeled rows hold no label"),
    "missing_share": Rule("warning", "columns are not mostly empty"),
    "within_unlabeled": Rule("warning", "values lie where unlabeled ones do"),
    "not_in_labeled": Rule("warning", "no row stands in the labeled table too"),
    "not_in_unlabeled": Rule("warning", "no row stands in the unlabeled table too"),
    "consistent_labels": Rule("warning", "equal rows have equal labels"),
}
"""Every rule, errors first; results are reported in this order."""


@dataclass(frozen=True)
class ValidationResult:
    """What one rule found in one column of a part, or in the part as a whole.

    Attributes:
        part: ``labeled``, ``unlabeled`` or ``test``.
        column: The column, or None if the rule is about whole rows or the set of columns.
        rule: A key of ``RULES``.
        success: Whether the rule holds.
        n_checked: How many values, rows or columns were looked at.
        n_failed: How many of them broke the rule; some may although the rule holds, up to what
            ``params.yaml`` tolerates.
        sample_values: Up to five of those, the first distinct ones. For rules about rows their
            numbers, counted from 1 below the header.
        message: A sentence; if the rule is broken, with the remedy.
    """

    part: str
    column: str | None
    rule: str
    success: bool
    n_checked: int
    n_failed: int
    sample_values: tuple[Any, ...]
    message: str

    @property
    def severity(self) -> Severity:
        return RULES[self.rule].severity

    def to_json_dict(self) -> dict[str, Any]:
        """Return the result as plain types."""
        content = dataclasses.asdict(self)
        return {
            **{name: content.pop(name) for name in ("part", "column", "rule")},
            "severity": self.severity,
            **content,
            "sample_values": list(self.sample_values),
        }


@dataclass(frozen=True)
class ValidationReport:
    """All results of a validation. Equal tables and parameters give an equal report.

    Attributes:
        n_rows: Rows of each part; None where the tables could not be read.
        files: The file of each part, as the user named it.
        ignored_columns: Columns that are left out, with the reason.
        results: What each rule found, in the order of parts and rules.
    """

    n_rows: dict[str, int | None]
    files: dict[str, str]
    ignored_columns: tuple[tuple[str, str], ...]
    results: tuple[ValidationResult, ...]

    @classmethod
    def unreadable(cls, message: str, files: dict[str, str]) -> ValidationReport:
        """Return the report of tables that could not be read or have no schema."""
        part = next((part for part in PARTS if message.startswith(f"{files[part]}:")), PARTS[0])
        result = ValidationResult(part, None, "readable", False, 1, 1, (), message)
        return cls(dict.fromkeys(PARTS), files, (), (result,))

    @property
    def errors(self) -> tuple[ValidationResult, ...]:
        """Broken rules that stop a run."""
        return self._broken("error")

    @property
    def warnings(self) -> tuple[ValidationResult, ...]:
        """Broken rules that do not stop a run."""
        return self._broken("warning")

    @property
    def success(self) -> bool:
        return not self.errors

    def to_json_dict(self) -> dict[str, Any]:
        """Return the report as plain types."""
        return {
            "success": self.success,
            "n_rows": self.n_rows,
            "files": self.files,
            "ignored_columns": [
                {"column": column, "reason": reason} for column, reason in self.ignored_columns
            ],
            "results": [result.to_json_dict() for result in self.results],
        }

    def to_markdown(self) -> str:
        """Return the report for people: what is wrong first, then what was looked at."""
        verdict = "The tables are fit for a run" if self.success else "The tables stop the run"
        summary = f"{count(self.errors, 'error')}, {count(self.warnings, 'warning')}"
        sections = [
            "# Validation",
            f"{verdict}: {summary}.",
            table(("part", "file", "rows", "errors", "warnings"), self.summary_rows()),
            _section("Errors", [f"- {result.message}" for result in self.errors]),
            _section("Warnings", [f"- {result.message}" for result in self.warnings]),
            _section(
                "Columns left out",
                [table(("column", "reason"), self.ignored_columns)] if self.ignored_columns else [],
            ),
            _section(
                "Rules",
                [table(("rule", "part", "severity", "checks", "broken"), self._rule_rows())],
            ),
        ]
        return "\n\n".join(section for section in sections if section) + "\n"

    def summary_rows(self) -> list[tuple[str, str, Any, int, int]]:
        """Return part, file, rows, errors and warnings of each part."""
        return [
            (
                part,
                self.files[part],
                "not read" if self.n_rows[part] is None else self.n_rows[part],
                sum(result.part == part for result in self.errors),
                sum(result.part == part for result in self.warnings),
            )
            for part in PARTS
        ]

    def _rule_rows(self) -> list[tuple[Any, ...]]:
        rows = []
        for rule, part in ((rule, part) for rule in RULES for part in PARTS):
            results = [r for r in self.results if (r.rule, r.part) == (rule, part)]
            if results:
                n_broken = sum(not result.success for result in results)
                told = RULES[rule]
                rows.append((told.description, part, told.severity, len(results), n_broken))
        return rows

    def _broken(self, severity: Severity) -> tuple[ValidationResult, ...]:
        return tuple(r for r in self.results if not r.success and r.severity == severity)


def count(items: tuple[Any, ...], noun: str) -> str:
    """Return ``1 error``, ``2 errors``."""
    return f"{len(items)} {noun}" + ("" if len(items) == 1 else "s")


def table(header: tuple[str, ...], rows: Any) -> str:
    """Return a Markdown table."""
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(_cell(value) for value in line)} |" for line in lines)


def _cell(value: Any) -> str:
    return " ".join(str(value).replace("|", "\\|").split())


def _section(title: str, lines: list[str]) -> str:
    return f"## {title}\n\n" + "\n".join(lines) if lines else ""
