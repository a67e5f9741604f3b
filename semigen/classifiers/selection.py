"""Which learners to trust, and whether unlabeled rows help at all; labels alone as fallback."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from semigen.ablation import ABLATION, LEARNS_FROM
from semigen.classifiers.cross_validation import Candidate, Evidence
from semigen.classifiers.weights import MIN_WEIGHT, committee_weights
from semigen.params.config import TrainParams

Z_95 = 1.96
N_BOOTSTRAP = 2000


@dataclass(frozen=True)
class Committee:
    """Learners whose probabilities are averaged with weights; one alone is a committee too.

    Attributes:
        name: What it is called in reports.
        members: Its learners.
        weights: How much each counts, adding up to 1.
        losses: Out-of-fold log loss of every labeled row, mean over repeats, shape
            ``(n_labeled,)``, in nats.
        hits: Share of repeats in which each labeled row was classified right.
    """

    name: str
    members: tuple[Candidate, ...]
    weights: tuple[float, ...]
    losses: np.ndarray
    hits: np.ndarray

    @classmethod
    def of(
        cls,
        members: Sequence[Candidate],
        weights: Sequence[float],
        truth: np.ndarray,
        name: str | None = None,
    ) -> Committee:
        """Average candidates, heaviest first; those without weight are left out.

        Args:
            members: Candidates.
            weights: Of each candidate.
            truth: Each labeled row's column, shape ``(n_labeled,)``.
            name: Of the committee, if it has more than one member.
        """
        heard = [(w, m) for w, m in zip(weights, members, strict=True) if w]
        heard.sort(key=lambda pair: -pair[0])
        shares, kept = zip(*heard, strict=True)
        probabilities = np.average([m.probabilities for m in kept], axis=0, weights=shares)
        right = probabilities[:, np.arange(len(truth)), truth]
        hits = (probabilities.argmax(axis=2) == truth).mean(axis=0)
        if len(kept) == 1 or name is None:
            name = kept[0].learner.name
        return cls(name, kept, shares, -np.log(right).mean(axis=0), hits)

    @property
    def uses(self) -> list[str]:
        """What the members learn from beside the labeled rows."""
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
    """The committee selected, the labels-only one, what lies between, and why.

    Attributes:
        selected: What the run's classifier will be.
        labels_only: The committee that labeled rows alone would have given.
        ablation: Committees between the two, by what they may use; see ``ABLATION``. That of
            ``all`` learners becomes the selected one, unless it is not sure to be better than
            labels alone.
        candidates: Every learner by itself, best first.
        n_splits: Fits of each learner.
        gain_probability: Of the committee of all learners having less log loss than the
            labels-only one.
        reason: One sentence.
        left_out: Learners for which no time was left.
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
        """Whether labels alone were selected."""
        return self.selected is self.labels_only

    @property
    def committees(self) -> dict[str, Committee]:
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

    The committee of all learners stands against that of the labels-only ones. How sure the rows are
    that it is better is the share of Bayesian bootstrap draws (Rubin 1981) in which its log loss is
    less. Below ``params.min_gain_probability`` labels alone are fallen back to. Above, the two are
    averaged with that share.

    The default of 0.95, and the weights' constants, were chosen on 147 problems (17 tables, 20, 100
    and 500 labels, three draws) and confirmed on 159 of 18 other tables. *Worse* are those where
    the selected committee is significantly below labels alone on the test rows (one-sided exact
    McNemar test, Holm, 5 %), *gain* is in points of accuracy over labels alone, *most lost* that of
    the worst problem:

    ====================================== ===== ===== ========= ======== ========
    rule                                   worse gain  most lost log loss fallback
    ====================================== ===== ===== ========= ======== ========
    0.5, graphs judged by themselves       4     +1.32 13.5      0.580    21 %
    0.5, graphs judged by their forests    2     +1.36 11.8      0.580    15 %
    0.95, graphs judged by their forests   0     +1.38 1.4       0.581    47 %
    the same with today's weights          0     +1.47 1.3       0.575    40 %
    confirmation: the first                3     +2.85 6.7       0.378    16 %
    confirmation: the last                 0     +2.94 1.7       0.368    37 %
    ====================================== ===== ===== ========= ======== ========

    Thresholds of 0.9 (1 worse, +1.45) and 0.975 (0 worse, +1.42) were tried with today's weights
    as well. The choice was made by test rows of the first 17 tables, five of the benchmark's ten
    among them; those of the other 18 were looked at for a handful of rules, and chose none.

    Args:
        evidence: Of learners, at least one of which uses labels alone.
        params: How sure a gain must be.
        seed: Of the bootstrap.
    """
    truth = evidence.truth
    alone = [Committee.of([candidate], [1.0], truth) for candidate in evidence.candidates]
    ranked = tuple(sorted(alone, key=lambda committee: float(committee.losses.mean())))
    labels_only = _weigh(evidence, frozenset(), "labels-only committee")
    ablation = {
        name: _weigh(evidence, uses, f"committee of {LEARNS_FROM[name]}")
        for name, uses in ABLATION.items()
        if _allowed(evidence, uses) != _allowed(evidence, frozenset())
    }
    everything = ablation.get("all", labels_only)
    probability, gain, error = _gain(labels_only.losses, everything.losses, seed)
    selected, reason = labels_only, "no learner uses unlabeled rows"
    if everything is not labels_only:
        reason = (
            f"with all learners the log loss is {gain:.3f} +- {error:.3f} (standard error) below "
            f"that of labels alone; it is less with probability {probability:.3f}"
        )
        if probability >= params.min_gain_probability:
            selected = _blend(everything, labels_only, probability, truth)
        else:
            reason = (
                f"fallback to labels alone, since it is not sure that unlabeled rows help: {reason}"
                f", where train.min_gain_probability is {params.min_gain_probability:g}"
            )
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


def _allowed(evidence: Evidence, uses: frozenset[str]) -> list[Candidate]:
    """Return the candidates that use no more than allowed beside labels.

    A learner of synthetic rows alone is one of ``{"synthetic"}``, though the generator saw
    unlabeled rows.
    """

    def means(candidate: Candidate) -> str | None:
        used = candidate.learner.uses
        return "synthetic" if "synthetic" in used else "unlabeled" if used else None

    return [c for c in evidence.candidates if means(c) is None or means(c) in uses]


def _weigh(evidence: Evidence, uses: frozenset[str], name: str) -> Committee:
    members, truth = _allowed(evidence, uses), evidence.truth
    rows = np.arange(len(truth))
    likelihoods = np.stack([m.probabilities[:, rows, truth] for m in members], axis=-1)
    return Committee.of(members, committee_weights(likelihoods).tolist(), truth, name)


def _blend(one: Committee, other: Committee, share: float, truth: np.ndarray) -> Committee:
    """Return the average of two committees, the first with weight ``share``."""
    members = {m.learner.name: m for m in (*one.members, *other.members)}
    weights = dict.fromkeys(members, 0.0)
    for committee, part in ((one, share), (other, 1 - share)):
        for member, weight in zip(committee.members, committee.weights, strict=True):
            weights[member.learner.name] += part * weight
    kept = np.array([w if w >= MIN_WEIGHT else 0.0 for w in weights.values()])
    shares = (kept / kept.sum()).tolist()
    return Committee.of(list(members.values()), shares, truth, "selected committee")


def _gain(worse: np.ndarray, better: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Return how sure it is that the log loss falls, by how much, and the standard error."""
    differences = worse - better
    draws = np.random.default_rng(seed).dirichlet(np.ones(len(differences)), N_BOOTSTRAP)
    probability = float((draws @ differences > 0).mean())
    error = float(differences.std(ddof=1) / np.sqrt(len(differences)))
    return probability, float(differences.mean()), error


def _mean_with_interval(values: np.ndarray, high: float = np.inf) -> dict[str, float]:
    mean = float(values.mean())
    margin = Z_95 * float(values.std(ddof=1)) / np.sqrt(len(values))
    return {
        "value": round(mean, 6),
        "low": round(max(0.0, mean - margin), 6),
        "high": round(min(high, mean + margin), 6),
    }
