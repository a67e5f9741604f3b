"""Weights of the learners, and the decision between all learners and labels-only ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from semigen.ablation import ABLATION, LEARNS_FROM
from semigen.classifiers.cross_validation import Candidate, Evidence
from semigen.classifiers.weights import MIN_WEIGHT, committee_weights
from semigen.evaluation.estimates import to_json
from semigen.evaluation.statistics import proportion_from_error
from semigen.params.config import TrainParams

Z_95 = 1.96
N_BOOTSTRAP = 2000
NOT_REPRODUCIBLE = "not reproducible on another machine"


@dataclass(frozen=True)
class Committee:
    """Learners whose probabilities are averaged with weights; a single learner is one too.

    Attributes:
        name: Name in reports.
        members: Learners with their out-of-fold predictions, largest weight first.
        weights: Weight of each member; the weights sum to 1.
        losses: Out-of-fold log loss of every labeled row in nats, mean over repeats, shape
            ``(n_labeled,)``.
        hits: Fraction of repeats in which each labeled row was classified correctly, shape
            ``(n_labeled,)``.

    Examples:
        >>> import numpy as np
        >>> from semigen.classifiers.learners import Learner
        >>> y = np.array([0, 1])
        >>> def candidate(name, p):
        ...     probabilities = np.array([[[p, 1 - p], [1 - p, p]]])
        ...     return Candidate(Learner(name, (), "encoded", None), 1.0, probabilities)
        >>> poor, good = candidate("poor", 0.4), candidate("good", 0.9)
        >>> committee = Committee.weighted([poor, good], [0.25, 0.75], y, "both")
        >>> [member.learner.name for member in committee.members]
        ['good', 'poor']
        >>> committee.hits.tolist()
        [1.0, 1.0]
    """

    name: str
    members: tuple[Candidate, ...]
    weights: tuple[float, ...]
    losses: np.ndarray
    hits: np.ndarray

    @classmethod
    def weighted(
        cls,
        candidates: Sequence[Candidate],
        weights: Sequence[float],
        y: np.ndarray,
        name: str | None = None,
    ) -> Committee:
        """Return the committee of the candidates whose weight is not 0.

        Args:
            candidates: Learners with their out-of-fold predictions.
            weights: Weight of each candidate.
            y: Column of each labeled row's class, shape ``(n_labeled,)``.
            name: Name of the committee; a committee of one has the name of its member.
        """
        members = [(w, c) for w, c in zip(weights, candidates, strict=True) if w]
        members.sort(key=lambda pair: -pair[0])
        kept_weights, kept = zip(*members, strict=True)
        probabilities = np.average([c.probabilities for c in kept], axis=0, weights=kept_weights)
        likelihoods = probabilities[:, np.arange(len(y)), y]
        hits = (probabilities.argmax(axis=2) == y).mean(axis=0)
        if len(kept) == 1 or name is None:
            name = kept[0].learner.name
        return cls(name, kept, kept_weights, -np.log(likelihoods).mean(axis=0), hits)

    @property
    def uses(self) -> list[str]:
        """Rows that the members depend on besides the labeled ones."""
        return sorted({use for member in self.members for use in member.learner.uses}, reverse=True)

    def to_json_dict(self) -> dict[str, Any]:
        names = [member.learner.name for member in self.members]
        return {
            "name": self.name,
            "uses": self.uses,
            "weights": {n: round(w, 6) for n, w in zip(names, self.weights, strict=True)},
            "log_loss": _mean_with_interval(self.losses),
            "accuracy": _mean_with_interval(self.hits, high=1.0),
        }


@dataclass(frozen=True)
class Selection:
    """The selected committee, the committees it was compared with, and the reason.

    Attributes:
        selected: Committee that becomes the classifier.
        labels_only: Committee of the labels-only learners.
        ablation: Committees by the rows that they may use, see ``ABLATION``. The committee ``all``
            is selected unless its gain over labels alone is uncertain.
        candidates: Every learner as a committee of one, lowest log loss first.
        n_splits: Number of fits of each learner.
        gain_probability: Probability that the committee ``all`` has a lower log loss than the
            labels-only committee.
        reason: Reason of the decision, one sentence.
        left_out: Names of the learners that the time budget left out. The result is then not
            reproducible on another machine, which ``reason`` says.

    Examples:
        >>> import numpy as np
        >>> from semigen.classifiers.learners import Learner
        >>> y = np.array([0, 1] * 20)
        >>> def candidate(name, uses, p):
        ...     probabilities = np.where(y[:, None] == [0, 1], p, 1 - p)[None]
        ...     return Candidate(Learner(name, uses, "encoded", None), 1.0, probabilities)
        >>> candidates = (candidate("mlp", (), 0.6), candidate("graph", ("unlabeled",), 0.9))
        >>> selection = select(Evidence(candidates, y, n_splits=8), TrainParams())
        >>> selection.is_fallback, selection.gain_probability
        (False, 1.0)
    """

    selected: Committee
    labels_only: Committee
    ablation: dict[str, Committee]
    candidates: tuple[Committee, ...]
    n_splits: int
    gain_probability: float
    reason: str
    left_out: tuple[str, ...] = ()

    @property
    def is_fallback(self) -> bool:
        """Whether the labels-only committee was selected."""
        return self.selected is self.labels_only

    @property
    def committees(self) -> dict[str, Committee]:
        """All committees by name."""
        return {"selected": self.selected, "labels_only": self.labels_only, **self.ablation}

    def to_json_dict(self) -> dict[str, Any]:
        return {
            "selected": self.selected.name,
            "labels_only": self.labels_only.name,
            "is_fallback": self.is_fallback,
            "gain_probability": round(self.gain_probability, 4),
            "n_splits": self.n_splits,
            "reason": self.reason,
            "left_out": list(self.left_out),
            "candidates": [candidate.to_json_dict() for candidate in self.candidates],
            "committees": {name: c.to_json_dict() for name, c in self.committees.items()},
        }


def select(evidence: Evidence, params: TrainParams, seed: int = 0) -> Selection:
    """Weigh the learners, and decide whether unlabeled rows help.

    The committee of all learners is compared with the committee of the labels-only ones. The
    probability that it is better is the fraction of Bayesian bootstrap draws (Rubin 1981) in which
    its log loss is lower. If this probability is below ``params.min_gain_probability``, the
    labels-only committee is selected. Otherwise the two committees are averaged, with the
    probability as the weight of the first.

    The default of 0.95 and the constants of the weights were chosen on 147 problems (17 tables; 20,
    100 and 500 labels; three draws) and confirmed on 159 problems of 18 other tables. *Worse*
    counts the problems where the selected committee is significantly worse than labels alone on the
    test rows (one-sided exact McNemar test, Holm, 5 %), *gain* is in points of accuracy over labels
    alone, *largest loss* is that of the worst problem:

    ========================================= ===== ===== ============ ======== ========
    rule                                      worse gain  largest loss log loss fallback
    ========================================= ===== ===== ============ ======== ========
    0.5, graphs evaluated by themselves       4     +1.32 13.5         0.580    21 %
    0.5, graphs evaluated by their forests    2     +1.36 11.8         0.580    15 %
    0.95, graphs evaluated by their forests   0     +1.38 1.4          0.581    47 %
    the same with the current weights         0     +1.47 1.3          0.575    40 %
    confirmation: the first rule              3     +2.85 6.7          0.378    16 %
    confirmation: the last rule               0     +2.94 1.7          0.368    37 %
    ========================================= ===== ===== ============ ======== ========

    Thresholds of 0.9 (1 worse, +1.45) and 0.975 (0 worse, +1.42) were tried with the current
    weights as well. The choice was made on the test rows of the first 17 tables, five of which are
    among the benchmark's ten; the other 18 tables were evaluated for a handful of rules and did not
    influence the choice.

    Args:
        evidence: Out-of-fold predictions of the learners, at least one of them labels-only.
        params: Minimum probability of a gain.
        seed: Seed of the bootstrap.
    """
    y = evidence.truth
    single = [Committee.weighted([candidate], [1.0], y) for candidate in evidence.candidates]
    ranked = tuple(sorted(single, key=lambda committee: float(committee.losses.mean())))
    labels_only = _weigh(evidence, frozenset(), "labels-only committee")
    ablation = {
        name: _weigh(evidence, uses, f"committee of {LEARNS_FROM[name]}")
        for name, uses in ABLATION.items()
        if _allowed(evidence, uses) != _allowed(evidence, frozenset())
    }
    everything = ablation.get("all", labels_only)
    probability, gain, error = _gain(labels_only.losses, everything.losses, seed)
    is_compared = everything is not labels_only
    is_gain = is_compared and probability >= params.min_gain_probability
    selected = _blend(everything, labels_only, probability, y) if is_gain else labels_only
    if is_compared:
        reason = _why_selected(evidence, params, (probability, gain, error), is_gain=is_gain)
    else:
        reason = _why_not_compared(evidence, params)
    return Selection(
        selected,
        labels_only,
        ablation,
        ranked,
        evidence.n_splits,
        probability,
        reason,
        evidence.left_out,
    )


def _why_selected(
    evidence: Evidence, params: TrainParams, gain: tuple[float, float, float], *, is_gain: bool
) -> str:
    """Return why the committee was selected.

    Args:
        evidence: What was evaluated.
        params: The limits of the selection.
        gain: Probability, mean and standard error of the gain in log loss (``_gain``).
        is_gain: Whether the committee of all learners was selected.
    """
    probability, mean, error = gain
    reason = (
        f"with all learners the log loss is {mean:.3f} +- {error:.3f} (standard error) below "
        f"that of labels alone; it is less with probability {probability:.3f}"
    )
    if not is_gain:
        reason = (
            "fallback to labels alone, since it is uncertain that unlabeled rows help: "
            f"{reason}, where train.min_gain_probability is {params.min_gain_probability:g}"
        )
    if evidence.left_out:
        reason += (
            f"; {NOT_REPRODUCIBLE}, because train.time_budget_s ({params.time_budget_s:g} s of CPU "
            f"time) left out {', '.join(evidence.left_out)}"
        )
    return reason


def _why_not_compared(evidence: Evidence, params: TrainParams) -> str:
    """Return why no learner of unlabeled rows was evaluated."""
    if not evidence.left_out:
        return "labels alone, because there are no unlabeled rows"
    return (
        f"labels alone, because train.time_budget_s ({params.time_budget_s:g} s of CPU time) ended "
        f"before any of the {len(evidence.left_out)} learners of unlabeled rows was evaluated; "
        f"{NOT_REPRODUCIBLE}"
    )


def _allowed(evidence: Evidence, uses: frozenset[str]) -> list[Candidate]:
    """Return the candidates that depend on no rows other than labeled ones and ``uses``.

    A learner of synthetic rows counts as one of ``{"synthetic"}``, although the generator was
    trained on unlabeled rows.
    """

    def kind(candidate: Candidate) -> str | None:
        used = candidate.learner.uses
        return "synthetic" if "synthetic" in used else "unlabeled" if used else None

    return [c for c in evidence.candidates if kind(c) is None or kind(c) in uses]


def _weigh(evidence: Evidence, uses: frozenset[str], name: str) -> Committee:
    candidates, y = _allowed(evidence, uses), evidence.truth
    rows = np.arange(len(y))
    likelihoods = np.stack([c.probabilities[:, rows, y] for c in candidates], axis=-1)
    return Committee.weighted(candidates, committee_weights(likelihoods).tolist(), y, name)


def _blend(first: Committee, second: Committee, weight: float, y: np.ndarray) -> Committee:
    """Return the average of two committees; ``weight`` is that of the first."""
    members = {m.learner.name: m for m in (*first.members, *second.members)}
    weights = dict.fromkeys(members, 0.0)
    for committee, factor in ((first, weight), (second, 1 - weight)):
        for member, member_weight in zip(committee.members, committee.weights, strict=True):
            weights[member.learner.name] += factor * member_weight
    kept = np.array([w if w >= MIN_WEIGHT else 0.0 for w in weights.values()])
    normalized = (kept / kept.sum()).tolist()
    return Committee.weighted(list(members.values()), normalized, y, "selected committee")


def _gain(baseline: np.ndarray, other: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Return the probability that the log loss falls, the mean reduction and its standard error.

    Args:
        baseline: Log loss of each row under the baseline, shape ``(n_rows,)``.
        other: Log loss of each row under the other committee, shape ``(n_rows,)``.
        seed: Seed of the bootstrap.
    """
    differences = baseline - other
    draws = np.random.default_rng(seed).dirichlet(np.ones(len(differences)), N_BOOTSTRAP)
    probability = float((draws @ differences > 0).mean())
    error = float(differences.std(ddof=1) / np.sqrt(len(differences)))
    return probability, float(differences.mean()), error


def _mean_with_interval(values: np.ndarray, high: float = np.inf) -> dict[str, float]:
    mean = float(values.mean())
    if high == 1.0 and mean in (0.0, 1.0):  # a standard error of 0
        exact: dict[str, float] = to_json(proportion_from_error(mean, 0.0, len(values)))
        return exact
    margin = Z_95 * float(values.std(ddof=1)) / np.sqrt(len(values))
    return {
        "value": round(mean, 6),
        "low": round(max(0.0, mean - margin), 6),
        "high": round(min(high, mean + margin), 6),
    }
