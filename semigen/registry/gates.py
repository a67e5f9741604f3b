"""Gates: conditions that a challenger must meet whatever its score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from semigen.evaluation.estimates import Estimate
from semigen.evaluation.fairness import Fairness


@dataclass(frozen=True)
class Gate:
    """The result of one condition of promotion.

    Attributes:
        name: ``validation``, ``fairness`` or ``drift``.
        passed: Whether the challenger meets the condition.
        reason: What was measured.

    Examples:
        >>> drift_gate(Estimate(0.95, 0.91, 0.99), limit=0.8).passed
        False
    """

    name: str
    passed: bool
    reason: str


def validation_gate(report: Mapping[str, Any] | None) -> Gate:
    """Pass if validation found no error.

    Args:
        report: Content of ``reports/validation.json``; None if the file does not exist.
    """
    if report is None:
        return Gate("validation", False, "no reports/validation.json; run the validate stage")
    if not report["success"]:
        return Gate("validation", False, "the tables have errors; see reports/validation.md")
    return Gate("validation", True, "the tables have no errors")


def fairness_gate(found: Sequence[Fairness], limit: float) -> Gate:
    """Fail if accuracy differs significantly by more than ``limit`` between groups of a column.

    Args:
        found: Accuracy by group, one item for each column.
        limit: Largest difference in accuracy that the lower limit of an interval may reach.
    """
    if not found:
        return Gate("fairness", True, "not checked, because promote.fairness_columns is empty")
    descriptions = [_describe(fairness) for fairness in found]
    unfair = [
        description
        for fairness, description in zip(found, descriptions, strict=True)
        if fairness.gap is not None and fairness.gap.low > limit
    ]
    if unfair:
        return Gate("fairness", False, f"{', '.join(unfair)}; limit {limit:g}")
    return Gate("fairness", True, ", ".join(descriptions))


def drift_gate(auc: Estimate, limit: float) -> Gate:
    """Fail if labeled and unlabeled rows differ significantly.

    Args:
        auc: ROC AUC of a classifier that separates labeled from unlabeled rows; 0.5 is chance.
        limit: Largest AUC that the lower limit of the interval may reach.
    """
    reason = f"ROC AUC of labeled against unlabeled rows {auc}; limit {limit:g}"
    return Gate("drift", auc.low <= limit, reason)


def _describe(fairness: Fairness) -> str:
    if fairness.gap is None or fairness.pair is None:
        return f"{fairness.column!r} has one group"
    better, worse = fairness.pair
    return (
        f"accuracy differs by {fairness.gap} between {fairness.column!r} values {better} and "
        f"{worse}"
    )
