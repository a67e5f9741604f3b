"""Summary of a selection: what a saved estimator keeps of the evidence of its learners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import pandas as pd

from semigen.classifiers.selection import Committee, Selection

EVIDENCE = {
    "name": "learner",
    "uses": "uses",
    "accuracy": "accuracy",
    "log_loss": "log_loss",
    "weight": "weight",
}
"""Columns of the leaderboard that are columns of the evidence, with their names there."""


@dataclass(frozen=True)
class SelectionSummary:
    """The selection without its out-of-fold predictions, which describe single training rows.

    Attributes:
        leaderboard: A row per learner and committee, lowest log loss first.
        n_splits: Number of fits of each learner.
        is_fallback: Whether the labels-only committee was selected.
        gain_probability: Probability that the committee of all learners has a lower log loss than
            the labels-only committee.
        reason: Reason of the decision, one sentence.
        left_out: Names of the learners that the time budget left out.

    Examples:
        >>> import numpy as np
        >>> from semigen.classifiers.cross_validation import Candidate, Evidence
        >>> from semigen.classifiers.learners import Learner
        >>> from semigen.classifiers.selection import select
        >>> from semigen.params.config import TrainParams
        >>> y = np.array([0, 1] * 20)
        >>> def candidate(name, p):
        ...     probabilities = np.where(y[:, None] == [0, 1], p, 1 - p)[None]
        ...     return Candidate(Learner(name, (), "encoded", None), 1.0, probabilities)
        >>> evidence = Evidence((candidate("mlp", 0.6), candidate("trees", 0.9)), y, n_splits=8)
        >>> summary = SelectionSummary.of(select(evidence, TrainParams()))
        >>> summary.evidence()["learner"].tolist()
        ['trees', 'mlp']
        >>> SelectionSummary.from_json_dict(summary.to_json_dict()).reason == summary.reason
        True
    """

    leaderboard: pd.DataFrame
    n_splits: int
    is_fallback: bool
    gain_probability: float
    reason: str
    left_out: tuple[str, ...]

    @classmethod
    def of(cls, selection: Selection) -> Self:
        """Return the summary of a selection."""
        members = zip(selection.selected.members, selection.selected.weights, strict=True)
        weights = {member.learner.name: weight for member, weight in members}
        rows = [
            _row("learner", candidate.name, candidate, weights.get(candidate.name, 0.0))
            for candidate in selection.candidates
        ]
        rows += [
            _row("committee", name, committee, float("nan"))
            for name, committee in selection.committees.items()
        ]
        return cls(
            pd.DataFrame(rows).sort_values("log_loss", kind="stable", ignore_index=True),
            selection.n_splits,
            selection.is_fallback,
            selection.gain_probability,
            selection.reason,
            selection.left_out,
        )

    def evidence(self) -> pd.DataFrame:
        """Return a row per learner: rows used, out-of-fold accuracy and log loss, and weight."""
        learners = self.leaderboard[self.leaderboard["kind"] == "learner"]
        return learners[list(EVIDENCE)].rename(columns=EVIDENCE).reset_index(drop=True)

    def to_json_dict(self) -> dict[str, Any]:
        board = self.leaderboard.astype(object).where(self.leaderboard.notna(), None)
        return {
            "n_splits": self.n_splits,
            "is_fallback": self.is_fallback,
            "gain_probability": self.gain_probability,
            "reason": self.reason,
            "left_out": list(self.left_out),
            "leaderboard": board.to_dict("records"),
        }

    @classmethod
    def from_json_dict(cls, content: dict[str, Any]) -> Self:
        """Return the summary that ``to_json_dict`` described."""
        board = pd.DataFrame(content["leaderboard"]).astype({"weight": float})
        return cls(**content | {"leaderboard": board, "left_out": tuple(content["left_out"])})


def _row(kind: str, name: str, committee: Committee, weight: float) -> dict[str, Any]:
    described = committee.to_json_dict()
    return {
        "name": name,
        "kind": kind,
        "uses": ", ".join(committee.uses) or "labels only",
        "weight": weight,
        "accuracy": float(committee.hits.mean()),
        "accuracy_low": described["accuracy"]["low"],
        "accuracy_high": described["accuracy"]["high"],
        "log_loss": float(committee.losses.mean()),
        "log_loss_low": described["log_loss"]["low"],
        "log_loss_high": described["log_loss"]["high"],
    }
