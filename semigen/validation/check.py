"""A check: one expectation of Great Expectations, with the message for the user if it fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from semigen.wording import mark_cells

EPSILON = 1e-9
"""Subtracted from the required fraction of valid values, so that rounding fails no check."""


@dataclass(frozen=True)
class Finding:
    """Counts of a check, and samples of the values that failed it.

    Attributes:
        n_checked: Number of values, rows or columns checked.
        n_failed: Number of them that failed.
        samples: Distinct values that failed, or row numbers.

    Examples:
        >>> finding = Finding(50, 2, (7, 9))
        >>> f"{finding} rows{finding.rows}"
        '2 of 50 rows (row 7, 9)'
    """

    n_checked: int
    n_failed: int
    samples: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.n_failed} of {self.n_checked}"

    @property
    def examples(self) -> str:
        """Samples as values of cells, in parentheses and marked (``wording.mark_cells``)."""
        if not self.samples:
            return ""
        return mark_cells(f" ({', '.join(map(repr, self.samples))})")

    @property
    def rows(self) -> str:
        """Samples as row numbers, in parentheses."""
        more = ", ..." if self.n_failed > len(self.samples) else ""
        return f" (row {', '.join(map(str, self.samples))}{more})" if self.samples else ""


@dataclass(frozen=True)
class Check:
    """One expectation, and its message for the user.

    Attributes:
        rule: A key of ``semigen.validation.report.RULES``.
        column: The column to report; None if the rule is about rows or the set of columns.
        expectation: Name of a class in ``great_expectations.expectations``.
        arguments: Arguments of the expectation.
        explain: Returns the message if the check fails.
        samples: Sample values, if the unexpected values themselves are not informative.

    Examples:
        >>> check = Check(
        ...     "label_present",
        ...     "label",
        ...     "ExpectColumnValuesToNotBeNull",
        ...     {"column": "label"},
        ...     lambda found: f"{found} rows have no label",
        ... )
        >>> check.explain(Finding(50, 2, ()))
        '2 of 50 rows have no label'
    """

    rule: str
    column: str | None
    expectation: str
    arguments: dict[str, Any]
    explain: Callable[[Finding], str]
    samples: tuple[Any, ...] | None = None


def at_least(fraction: float) -> float:
    """Return the required fraction of valid values, tolerant of rounding."""
    return max(0.0, fraction - EPSILON)


def set_kind(column: str, kind: str) -> str:
    """Return how to set the kind of a column, for messages."""
    return f"set data.kinds to {{{column}: {kind}}} in params.yaml"
