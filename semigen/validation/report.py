"""Results of validation, by rule."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from semigen.wording import hide_cells, show_cells

Severity = Literal["error", "warning"]
PARTS = ("labeled", "unlabeled", "test")
MAX_SAMPLE_VALUES = 5
CELL_RULES = ("type", "known_label", "within_unlabeled", "no_labels", "missing_share")
"""Rules whose samples are values of cells, not names or numbers of rows."""


@dataclass(frozen=True)
class Rule:
    """A rule that tables should follow.

    Attributes:
        severity: ``error`` if a violation stops the run, else ``warning``.
        description: The rule in words.

    Examples:
        >>> RULES["label_present"].severity
        'error'
    """

    severity: Severity
    description: str


RULES = {
    "readable": Rule("error", "the tables can be read and have a schema"),
    "feature_columns": Rule("error", "the table has every feature column"),
    "finite": Rule("error", "numbers are finite and not beyond 1e30"),
    "type": Rule("error", "few values do not fit the schema of their column"),
    "separates": Rule("error", "no column tells labeled from unlabeled or test rows"),
    "label_present": Rule("error", "every row has a label"),
    "known_label": Rule("error", "labels are among the classes of the labeled table"),
    "two_classes": Rule("error", "there are at least two classes"),
    "rows_per_class": Rule("error", "every class has enough labeled rows"),
    "reading": Rule("warning", "files and columns can be read in one way only"),
    "fits_schema": Rule("warning", "values fit the schema of their column"),
    "sentinel": Rule("warning", "no number marks missing cells, such as -999"),
    "some_unlabeled": Rule("warning", "there are unlabeled rows"),
    "same_columns": Rule("warning", "the tables have the same columns"),
    "no_labels": Rule("warning", "unlabeled rows have no label"),
    "missing_share": Rule("warning", "columns are not mostly missing"),
    "within_unlabeled": Rule("warning", "values are within the range of the unlabeled rows"),
    "not_in_labeled": Rule("warning", "no row is also in the labeled table"),
    "not_in_unlabeled": Rule("warning", "no row is also in the unlabeled table"),
    "consistent_labels": Rule("warning", "equal rows have equal labels"),
}
"""All rules, errors first; results are reported in this order."""


@dataclass(frozen=True)
class ValidationResult:
    """The result of one rule for one column of a table, or for the table as a whole.

    Attributes:
        part: ``labeled``, ``unlabeled`` or ``test``.
        column: The column; None if the rule is about rows or the set of columns.
        rule: A key of ``RULES``.
        success: Whether the rule holds.
        n_checked: Number of values, rows or columns checked.
        n_failed: Number of them that violate the rule. May be positive although the rule holds, up
            to the tolerance set in ``params.yaml``.
        sample_values: At most five distinct values that violate the rule. For rules about rows,
            row numbers, counted from 1 below the header.
        text: One sentence for the user, with the remedy if the rule is violated. Values of cells
            are marked (``wording.cell``).
        shows_cells: Whether the sample values are values of cells.

    Examples:
        >>> result = ValidationResult(
        ...     "labeled", "label", "two_classes", False, 50, 50, ("a",), "only class 'a'"
        ... )
        >>> result.severity
        'error'
    """

    part: str
    column: str | None
    rule: str
    success: bool
    n_checked: int
    n_failed: int
    sample_values: tuple[Any, ...]
    text: str
    shows_cells: bool = False

    @property
    def message(self) -> str:
        """The sentence with the values of cells."""
        return show_cells(self.text)

    @property
    def severity(self) -> Severity:
        """Severity of the rule."""
        return RULES[self.rule].severity

    def to_json_dict(self, *, sample_values: bool = False) -> dict[str, Any]:
        """Return the result as plain types.

        Args:
            sample_values: Whether values of cells are included.
        """
        result = self if sample_values else self.without_cells()
        content = dataclasses.asdict(result)
        content.pop("shows_cells")
        content["message"] = show_cells(content.pop("text"))
        return {
            **{name: content.pop(name) for name in ("part", "column", "rule")},
            "severity": self.severity,
            **content,
            "sample_values": list(result.sample_values),
        }

    def without_cells(self) -> ValidationResult:
        """Return the result without values of cells."""
        samples = () if self.shows_cells else self.sample_values
        return dataclasses.replace(self, sample_values=samples, text=hide_cells(self.text))


@dataclass(frozen=True)
class ValidationReport:
    """All results of a validation. Equal tables and parameters give equal reports.

    Attributes:
        n_rows: Number of rows of each part; None where the tables could not be read.
        files: File of each part, as named in ``params.yaml``.
        ignored_columns: Columns that are not used, each with the reason.
        results: Results in the order of parts and rules.

    Examples:
        >>> files = {"labeled": "a.csv", "unlabeled": "b.csv", "test": "a.csv"}
        >>> report = ValidationReport.unreadable("b.csv: the file is empty", files)
        >>> report.success, report.errors[0].part
        (False, 'unlabeled')
    """

    n_rows: dict[str, int | None]
    files: dict[str, str]
    ignored_columns: tuple[tuple[str, str], ...]
    results: tuple[ValidationResult, ...]

    @classmethod
    def unreadable(cls, message: str, files: dict[str, str]) -> ValidationReport:
        """Return the report of tables that cannot be read or have no usable schema."""
        part = next((part for part in PARTS if message.startswith(f"{files[part]}:")), PARTS[0])
        result = ValidationResult(part, None, "readable", False, 1, 1, (), message)
        return cls(dict.fromkeys(PARTS), files, (), (result,))

    @property
    def errors(self) -> tuple[ValidationResult, ...]:
        """Violations that stop the run."""
        return self._violations("error")

    @property
    def warnings(self) -> tuple[ValidationResult, ...]:
        """Violations that do not stop the run."""
        return self._violations("warning")

    @property
    def success(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    def without_cells(self) -> ValidationReport:
        """Return the report without values of cells, as it is stored."""
        results = tuple(result.without_cells() for result in self.results)
        return dataclasses.replace(self, results=results)

    def to_json_dict(self, *, sample_values: bool = False) -> dict[str, Any]:
        """Return the report as plain types.

        Args:
            sample_values: Whether values of cells are included.
        """
        return {
            "success": self.success,
            "n_rows": self.n_rows,
            "files": self.files,
            "ignored_columns": [
                {"column": column, "reason": reason} for column, reason in self.ignored_columns
            ],
            "results": [
                result.to_json_dict(sample_values=sample_values) for result in self.results
            ],
        }

    def _violations(self, severity: Severity) -> tuple[ValidationResult, ...]:
        return tuple(r for r in self.results if not r.success and r.severity == severity)
