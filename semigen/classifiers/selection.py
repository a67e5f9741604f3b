"""Which learner to trust, by cross-validation on the labeled rows, with labels-only as fallback."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import RepeatedStratifiedKFold

from semigen.classifiers.learners import Learner
from semigen.classifiers.rows import TrainingRows
from semigen.config import TrainParams

Z_95 = 1.96
MIN_STANDARD_ERRORS = 1.0
"""By how many standard errors of the paired difference a learner must beat the best labels-only one
(the one-standard-error rule of Breiman et al. 1984, turned into a safeguard)."""
SMOOTHING = 0.01
"""Weight of the uniform distribution in every prediction, so that a forest's zero is not final."""
TINY = 1e-30
"""Least probability whose logarithm is scaled."""


@dataclass(frozen=True)
class Candidate:
    """A learner's out-of-fold evidence.

    Attributes:
        learner: The learner.
        temperature: What its log-probabilities are divided by (Guo et al. 2017), fitted on its
            out-of-fold predictions.
        probabilities: Calibrated out-of-fold predictions of every labeled row in every repeat,
            shape ``(n_repeats, n_labeled, n_classes)``.
    """

    learner: Learner
    temperature: float
    probabilities: np.ndarray


@dataclass(frozen=True)
class Committee:
    """Learners whose probabilities are averaged; one alone is a committee too.

    Attributes:
        members: Its learners, best first.
        losses: Out-of-fold log loss of every labeled row, mean over repeats, shape
            ``(n_labeled,)``, in nats.
        hits: Share of repeats in which each labeled row was classified right.
    """

    members: tuple[Candidate, ...]
    losses: np.ndarray
    hits: np.ndarray

    @classmethod
    def of(cls, members: Sequence[Candidate], truth: np.ndarray) -> Committee:
        """Average candidates; ``truth`` is each labeled row's column, shape ``(n_labeled,)``."""
        probabilities = np.mean([member.probabilities for member in members], axis=0)
        right = probabilities[:, np.arange(len(truth)), truth]
        hits = probabilities.argmax(axis=2) == truth
        return cls(tuple(members), -np.log(right).mean(axis=0), hits.mean(axis=0))

    @property
    def name(self) -> str:
        return " + ".join(member.learner.name for member in self.members)

    @property
    def uses(self) -> list[str]:
        """What the members learn from beside the labeled rows."""
        return sorted({use for member in self.members for use in member.learner.uses}, reverse=True)

    def to_json_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "uses": self.uses,
            "log_loss": _mean_with_interval(self.losses),
            "accuracy": _mean_with_interval(self.hits, high=1.0),
        }


@dataclass(frozen=True)
class Selection:
    """The committee selected, the best labels-only one, and why.

    Attributes:
        selected: What the run's classifier will be.
        labels_only: The committee that labeled rows alone would have given.
        candidates: Every learner by itself, best first.
        n_splits: Fits of each learner.
        reason: One sentence.
    """

    selected: Committee
    labels_only: Committee
    candidates: tuple[Committee, ...]
    n_splits: int
    reason: str

    def to_json_dict(self) -> dict[str, Any]:
        return {
            "selected": self.selected.name,
            "members": [member.learner.name for member in self.selected.members],
            "labels_only": self.labels_only.name,
            "labels_only_members": [m.learner.name for m in self.labels_only.members],
            "n_splits": self.n_splits,
            "reason": self.reason,
            "candidates": [candidate.to_json_dict() for candidate in self.candidates],
            "committees": {
                "selected": self.selected.to_json_dict(),
                "labels_only": self.labels_only.to_json_dict(),
            },
        }


def select(
    learners: Sequence[Learner],
    rows: TrainingRows,
    params: TrainParams,
    on_learner: Callable[[str], None] = lambda _name: None,
) -> Selection:
    """Compare learners by repeated stratified cross-validation on the labeled rows.

    A fold's learners see neither its labels nor, through synthetic rows or class-conditional
    codes, anything learned from them. The generator's weights are shared by all folds if they were
    trained without labels; one that classifies is trained anew for every fold.

    Args:
        learners: Candidates; at least one must use nothing but labeled rows.
        rows: Labeled rows with at least two of each class, and unlabeled ones.
        params: Folds and repeats.
        on_learner: Called with each learner's name before it is tried.
    """
    smallest_class = int(np.unique(rows.y, return_counts=True)[1].min())
    folds = RepeatedStratifiedKFold(
        n_splits=min(params.folds, smallest_class), n_repeats=params.repeats, random_state=rows.seed
    )
    splits = list(folds.split(rows.x, rows.y))
    parts = [rows.subset(train) for train, _ in splits]
    held_out = [fold for _, fold in splits]
    candidates = []
    for learner in learners:
        on_learner(learner.name)
        candidates.append(_evaluate(learner, rows, parts, held_out))
    return _choose(candidates, np.searchsorted(np.unique(rows.y), rows.y), len(splits))


def calibrate(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return temperature-scaled, then smoothed probabilities, shape ``(n, n_classes)``."""
    log_powers = np.log(probabilities.clip(min=TINY)) / temperature
    powers = np.exp(log_powers - log_powers.max(axis=1, keepdims=True))
    scaled = powers / powers.sum(axis=1, keepdims=True)
    return (1 - SMOOTHING) * scaled + SMOOTHING / probabilities.shape[1]


def align(probabilities: np.ndarray, known: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Spread columns of the classes that a learner saw over all classes; others get 0."""
    aligned = np.zeros((len(probabilities), len(classes)))
    aligned[:, np.searchsorted(classes, known)] = probabilities
    return aligned


def _evaluate(
    learner: Learner,
    rows: TrainingRows,
    parts: Sequence[TrainingRows],
    held_out: Sequence[np.ndarray],
) -> Candidate:
    classes = np.unique(rows.y)
    predicted = []
    for part, fold in zip(parts, held_out, strict=True):
        model = fit_quietly(learner, part)
        x = part.held_out(learner.space, rows, fold)
        predicted.append(align(model.predict_proba(x), model.classes_, classes))
    probabilities, index = np.concatenate(predicted), np.concatenate(held_out)
    truth = np.searchsorted(classes, rows.y[index])
    temperature = fit_temperature(probabilities, truth)
    n_rows, n_repeats = len(rows.y), len(index) // len(rows.y)
    out_of_fold = np.empty((n_repeats, n_rows, len(classes)))
    out_of_fold[np.arange(len(index)) // n_rows, index] = calibrate(probabilities, temperature)
    return Candidate(learner, temperature, out_of_fold)


def fit_quietly(learner: Learner, rows: TrainingRows) -> Any:
    """Fit a learner; that a network stops after its set number of epochs is no warning here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return learner.fit(rows)


def fit_temperature(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Return the temperature in [0.1, 10] at which the log loss of predictions is least.

    Args:
        probabilities: Shape ``(n, n_classes)``.
        truth: Column of the right class, shape ``(n,)``.
    """
    picked = np.arange(len(truth))

    def log_loss(log_temperature: float) -> float:
        calibrated = calibrate(probabilities, float(np.exp(log_temperature)))
        return float(-np.log(calibrated[picked, truth]).mean())

    bounds = (np.log(0.1), np.log(10.0))
    return float(np.exp(minimize_scalar(log_loss, bounds=bounds, method="bounded").x))


def _choose(candidates: Sequence[Candidate], truth: np.ndarray, n_splits: int) -> Selection:
    alone = sorted(
        (Committee.of([candidate], truth) for candidate in candidates),
        key=lambda committee: float(committee.losses.mean()),
    )
    best = _average_near_best(alone, truth)
    labels_only = _average_near_best([c for c in alone if not c.uses], truth)
    if not best.uses:
        reason = f"{best.name} uses labeled rows alone and has the least log loss"
        return Selection(labels_only, labels_only, tuple(alone), n_splits, reason)
    gain, error = _paired_gain(labels_only, best)
    comparison = (
        f"the log loss of {best.name} is {gain:.3f} +- {error:.3f} (standard error) below that of "
        f"{labels_only.name}, the best from labels alone"
    )
    if gain > MIN_STANDARD_ERRORS * error:
        return Selection(best, labels_only, tuple(alone), n_splits, comparison)
    reason = f"fallback to labels alone, since the evidence is thin: {comparison}"
    return Selection(labels_only, labels_only, tuple(alone), n_splits, reason)


def _average_near_best(alone: Sequence[Committee], truth: np.ndarray) -> Committee:
    """Average the learners that the evidence cannot tell from the best one."""
    near = [alone[0]]
    for other in alone[1:]:
        gain, error = _paired_gain(other, alone[0])
        if gain <= MIN_STANDARD_ERRORS * error:
            near.append(other)
    return Committee.of([member for committee in near for member in committee.members], truth)


def _paired_gain(worse: Committee, better: Committee) -> tuple[float, float]:
    """Return by how much the log loss falls from one to the other, and the standard error."""
    differences = worse.losses - better.losses
    return float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(len(differences)))


def _mean_with_interval(values: np.ndarray, high: float = np.inf) -> dict[str, float]:
    mean = float(values.mean())
    margin = Z_95 * float(values.std(ddof=1)) / np.sqrt(len(values))
    return {
        "value": round(mean, 6),
        "low": round(max(0.0, mean - margin), 6),
        "high": round(min(high, mean + margin), 6),
    }
