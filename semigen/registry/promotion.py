"""The decision whether a newly trained model, the challenger, replaces the champion.

The challenger is promoted if it is not worse than the champion on the same test rows: its score is
no lower, or the paired interval of the difference stays within a tolerance (a test of
non-inferiority). The test alone would reject every challenger where test rows are few: with 150
rows the interval reaches five to seven points to either side of the difference. The challenger must
also pass the gates of validation, fairness and drift.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from semigen.evaluation.estimates import Estimate, Gain
from semigen.evaluation.metrics import LOWER_IS_BETTER, evaluate
from semigen.params.config import EvaluateParams, PromoteParams
from semigen.registry.gates import Gate

MAX_CLASS_RATIO = 5
"""Ratio of class frequencies beyond which accuracy says little about the rare classes."""
Outcome = Literal["promoted", "kept", "unchanged"]


@dataclass(frozen=True)
class Comparison:
    """Scores of champion and challenger on the same test rows.

    Attributes:
        against: Name of the champion's version.
        n_rows: Number of test rows compared.
        n_left_out: Number of test rows left out because the champion was trained on them.
        champion: Scores of the champion, by metric.
        challenger: Scores of the challenger, by metric.
        difference: Challenger minus champion, paired, by metric. The sign is the metric's own: for
            log loss, negative is better.
        is_uneven: Whether the largest class has more than ``MAX_CLASS_RATIO`` times the test rows
            of the smallest.

    Examples:
        >>> y, good, bad = np.array([0, 1] * 20), np.eye(2)[[0, 1] * 20], np.eye(2)[[1, 0] * 20]
        >>> comparison = compare(y, good, bad, EvaluateParams(), against="v0001")
        >>> comparison.loss("accuracy")
        -1.0
    """

    against: str
    n_rows: int
    n_left_out: int
    champion: Mapping[str, Estimate]
    challenger: Mapping[str, Estimate]
    difference: Mapping[str, Gain]
    is_uneven: bool = False

    @classmethod
    def from_json(cls, content: Mapping[str, Any] | None) -> Comparison | None:
        """Return the comparison recorded as plain dictionaries; None for None."""
        if content is None:
            return None
        champion, challenger = (
            {metric: Estimate.from_json(figure) for metric, figure in content[part].items()}
            for part in ("champion", "challenger")
        )
        difference = {m: Gain.from_json(figure) for m, figure in content["difference"].items()}
        figures = {"champion": champion, "challenger": challenger, "difference": difference}
        return cls(**{**content, **figures})

    def loss(self, metric: str) -> float:
        """Return how much worse the challenger is; negative if it is better."""
        value = self.difference[metric].value
        return value if metric in LOWER_IS_BETTER else -value

    def worst_loss(self, metric: str) -> float:
        """Return the limit of the interval of ``loss`` that is worst for the challenger.

        Infinite if there is no interval.
        """
        difference = self.difference[metric]
        if not difference.has_interval:
            return math.inf
        return difference.high if metric in LOWER_IS_BETTER else -difference.low


@dataclass(frozen=True)
class NotCompared:
    """The reason why champion and challenger were not compared.

    Attributes:
        reason: Explanation for the user.
        keeps_challenger: Whether there is a champion that must not be replaced without a
            comparison.

    Examples:
        >>> decide(NotCompared("a column is missing", True), [], PromoteParams()).outcome
        'kept'
    """

    reason: str
    keeps_challenger: bool


@dataclass(frozen=True)
class Decision:
    """The decision about a challenger.

    Attributes:
        outcome: ``promoted``; ``kept`` as challenger; ``unchanged`` if nothing was written, because
            the classifier is registered already and the decision about it is the same.
        reason: Explanation for the user.
        version: Version of the challenger.
        champion: Version of the champion after the decision; None if there is none.
        gates: Results of the gates, in order.
        comparison: Scores beside the champion's; None if they were not compared.

    Examples:
        >>> first = NotCompared("there is no champion to compare with", keeps_challenger=False)
        >>> decide(first, [Gate("drift", True, "none")], PromoteParams()).outcome
        'promoted'
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
    """Score champion and challenger on test rows that neither was trained on.

    Args:
        y: Class index of every row, shape ``(n,)``.
        challenger: Class probabilities of the challenger, shape ``(n, n_classes)``.
        champion: Class probabilities of the champion, shape ``(n, n_classes)``.
        params: Number of resamples and coverage of the intervals.
        against: Name of the champion's version.
        n_left_out: Number of test rows left out because the champion was trained on them.
        seed: Seed of the bootstrap.
    """
    evaluation = evaluate(
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
        champion=evaluation.baseline,
        challenger=evaluation.test,
        difference=evaluation.gain,
        is_uneven=has_uneven_classes(y),
    )


def has_uneven_classes(y: np.ndarray) -> bool:
    """Return whether the class frequencies differ by more than ``MAX_CLASS_RATIO``.

    Args:
        y: Class index of every row, shape ``(n,)``; classes without rows do not count.
    """
    counts = np.unique(y, return_counts=True)[1]
    return bool(counts.max() > MAX_CLASS_RATIO * counts.min())


def decide(
    comparison: Comparison | NotCompared,
    gates: Sequence[Gate],
    params: PromoteParams,
    *,
    force: bool = False,
) -> Decision:
    """Decide whether the challenger becomes the champion.

    Args:
        comparison: Comparison with the champion, or why there is none.
        gates: Results of all gates.
        params: The metric to compare and the tolerance.
        force: Promote the challenger whatever the comparison and the gates say.
    """
    failed = [f"{gate.name}: {gate.reason}" for gate in gates if not gate.passed]
    if isinstance(comparison, NotCompared):
        reason, is_worse, figures = comparison.reason, comparison.keeps_challenger, None
    else:
        metric = _metric(comparison, params)
        reason, figures = _describe(comparison, metric, params.tolerance), comparison
        is_worse = comparison.loss(metric) > 0 and comparison.worst_loss(metric) > params.tolerance
    objections = [reason, *failed] if is_worse else failed
    if objections and not force:
        return Decision("kept", "; ".join(objections), gates=tuple(gates), comparison=figures)
    if objections:
        reason = f"forced, although {'; '.join(objections)}"
    return Decision("promoted", reason, gates=tuple(gates), comparison=figures)


def _metric(comparison: Comparison, params: PromoteParams) -> str:
    if params.metric != "auto":
        return params.metric
    return "balanced_accuracy" if comparison.is_uneven else "accuracy"


def _describe(comparison: Comparison, metric: str, tolerance: float) -> str:
    name = metric.replace("_", " ")
    difference = comparison.difference[metric]
    text = (
        f"{name} differs from {comparison.against}'s by {difference:+.3f} on {comparison.n_rows} "
        "test rows"
    )
    if comparison.loss(metric) <= 0:
        return f"{text}, which is not worse"
    if not difference.has_interval:
        return f"{text}, too few to bound the difference"
    worst = max(0.0, comparison.worst_loss(metric))
    return f"{text}, so it may be worse by up to {worst:.3f}; tolerance {tolerance:g}"
