"""Whether a retrained model, the challenger, takes the champion's place.

It does if it is not worse than the champion on the same test rows: it scores no lower, or lower by
what the paired interval of the difference keeps within a tolerance (a test of non-inferiority). The
test alone would turn away every challenger where test rows are few: on 150 the interval reaches
five to seven points to either side of a gain. And it must pass the gates of validation, fairness
and drift.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from semigen.evaluation.fairness import Fairness
from semigen.evaluation.metrics import LOWER_IS_BETTER, Estimate, Gain, evaluate
from semigen.params.config import EvaluateParams, PromoteParams

Outcome = Literal["promoted", "kept", "unchanged"]
SHOWN = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss")
"""Metrics that reports show; ``promote.metric`` is one of them."""


@dataclass(frozen=True)
class Gate:
    """A condition of promotion beside the comparison.

    Attributes:
        name: ``validation``, ``fairness`` or ``drift``.
        passed: Whether it lets the challenger pass.
        reason: What was found.
    """

    name: str
    passed: bool
    reason: str


@dataclass(frozen=True)
class Comparison:
    """Champion and challenger on the same test rows.

    Attributes:
        against: Name of the champion's version.
        n_rows: Test rows that count.
        n_left_out: Test rows left out because the champion learned from them.
        champion: Its figures, by metric.
        challenger: The same of the challenger.
        difference: Challenger minus champion, paired. The sign is the metric's own: log loss is
            better when it is negative.
    """

    against: str
    n_rows: int
    n_left_out: int
    champion: Mapping[str, Estimate]
    challenger: Mapping[str, Estimate]
    difference: Mapping[str, Gain]

    @classmethod
    def from_json(cls, content: Mapping[str, Any] | None) -> Comparison | None:
        """Return what was recorded as plain dictionaries; None of None."""
        if content is None:
            return None
        kinds = {"champion": Estimate, "challenger": Estimate, "difference": Gain}
        figures = {
            part: {metric: kind(**figure) for metric, figure in content[part].items()}
            for part, kind in kinds.items()
        }
        return cls(**{**content, **figures})

    def loss(self, metric: str) -> float:
        """Return how much worse the challenger is; below 0 if better."""
        value = self.difference[metric].value
        return value if metric in LOWER_IS_BETTER else -value

    def worst_loss(self, metric: str) -> float:
        """Return how much worse the challenger may be, at the interval's end; below 0 if better."""
        difference = self.difference[metric]
        return difference.high if metric in LOWER_IS_BETTER else -difference.low


@dataclass(frozen=True)
class NotCompared:
    """Why champion and challenger were not compared.

    Attributes:
        reason: In words.
        keeps_challenger: Whether there is a champion whose place it must not take unseen.
    """

    reason: str
    keeps_challenger: bool


@dataclass(frozen=True)
class Decision:
    """What became of a challenger, and why.

    Attributes:
        outcome: ``promoted``; ``kept`` as challenger; ``unchanged`` if nothing was written, since
            the registry has this very classifier and thinks no otherwise of it.
        reason: Why, in words.
        version: The challenger's version.
        champion: The champion's version, as it is now; None if there is none.
        gates: What was checked, in order.
        comparison: Figures beside the champion's, if they could be compared.
    """

    outcome: Outcome
    reason: str
    version: str | None = None
    champion: str | None = None
    gates: tuple[Gate, ...] = ()
    comparison: Comparison | None = None


def compare(
    y: np.ndarray,
    challenger: np.ndarray,
    champion: np.ndarray,
    params: EvaluateParams,
    *,
    against: str,
    n_left_out: int = 0,
    seed: int = 0,
) -> Comparison:
    """Score both on the test rows that neither has learned from.

    Args:
        y: Class index of every such row, shape ``(n,)``.
        challenger: The challenger's class probabilities, shape ``(n, n_classes)``.
        champion: The champion's, same shape.
        params: How intervals are made.
        against: Name of the champion's version.
        n_left_out: How many rows are not among these because the champion learned from them.
        seed: Of the resamples.
    """
    found = evaluate(
        y,
        challenger,
        champion,
        n_bootstrap=params.n_bootstrap,
        confidence=params.confidence,
        seed=seed,
    )
    return Comparison(
        against=against,
        n_rows=len(y),
        n_left_out=n_left_out,
        champion=found.baseline,
        challenger=found.test,
        difference=found.gain,
    )


def decide(
    comparison: Comparison | NotCompared,
    gates: Sequence[Gate],
    params: PromoteParams,
    *,
    force: bool = False,
) -> Decision:
    """Decide whether the challenger becomes champion.

    Args:
        comparison: With the champion, or why there is none.
        gates: All gates, passed or not.
        params: What is compared and what is tolerated.
        force: Promote whatever was found.
    """
    failed = [f"{gate.name}: {gate.reason}" for gate in gates if not gate.passed]
    if isinstance(comparison, NotCompared):
        found, is_worse, figures = comparison.reason, comparison.keeps_challenger, None
    else:
        found, figures = _describe(comparison, params), comparison
        is_worse = (
            comparison.loss(params.metric) > 0
            and comparison.worst_loss(params.metric) > params.tolerance
        )
    against = [found, *failed] if is_worse else failed
    if against and not force:
        return Decision("kept", "; ".join(against), gates=tuple(gates), comparison=figures)
    reason = f"forced, although {'; '.join(against)}" if against else found
    return Decision("promoted", reason, gates=tuple(gates), comparison=figures)


def validation_gate(report: Mapping[str, Any] | None) -> Gate:
    """Pass if ``reports/validation.json`` says that the tables are fit for a run."""
    if report is None:
        return Gate("validation", False, "no reports/validation.json; run the validate stage")
    if not report["success"]:
        return Gate("validation", False, "the tables break a rule; see reports/validation.md")
    return Gate("validation", True, "no error in the tables")


def fairness_gate(found: Sequence[Fairness], limit: float) -> Gate:
    """Pass unless accuracy surely differs by more than ``limit`` between groups of a column."""
    if not found:
        return Gate("fairness", True, "not checked, as promote.fairness_columns is empty")
    said = [_describe_groups(fairness) for fairness in found]
    unfair = [
        words
        for fairness, words in zip(found, said, strict=True)
        if fairness.gap is not None and fairness.gap.low > limit
    ]
    if unfair:
        return Gate("fairness", False, f"{', '.join(unfair)}; limit {limit:g}")
    return Gate("fairness", True, ", ".join(said))


def drift_gate(auc: Estimate, limit: float) -> Gate:
    """Pass unless labeled rows can surely be told from unlabeled ones.

    Args:
        auc: Area under the ROC curve of a classifier that tries; 0.5 is a guess.
        limit: Largest area that may be certain.
    """
    words = f"labeled rows are told from unlabeled ones with ROC AUC {interval(auc)}"
    return Gate("drift", auc.low <= limit, f"{words}; limit {limit:g}")


def interval(estimate: Estimate, sign: str = "") -> str:
    """Return an estimate with its interval, e.g. ``0.950 [0.928, 0.969]``."""
    parts = (format(part, f"{sign}.3f") for part in (estimate.value, estimate.low, estimate.high))
    return "{} [{}, {}]".format(*parts)


def _describe(comparison: Comparison, params: PromoteParams) -> str:
    name = params.metric.replace("_", " ")
    difference = interval(comparison.difference[params.metric], "+")
    found = (
        f"{name} differs from {comparison.against}'s by {difference} on {comparison.n_rows} test "
        "rows"
    )
    if comparison.loss(params.metric) <= 0:
        return f"{found}, which is not worse"
    worst = max(0.0, comparison.worst_loss(params.metric))
    return f"{found}, so that it may be worse by {worst:.3f}; tolerance {params.tolerance:g}"


def _describe_groups(fairness: Fairness) -> str:
    if fairness.gap is None or fairness.pair is None:
        return f"{fairness.column!r} has one group"
    better, worse = fairness.pair
    return (
        f"accuracy differs by {interval(fairness.gap)} between {fairness.column!r} "
        f"{better} and {worse}"
    )
