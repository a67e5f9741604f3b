"""Which learner to trust, by cross-validation on the labeled rows, with labels-only as fallback."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from scipy.optimize import minimize_scalar
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import RepeatedStratifiedKFold
from threadpoolctl import threadpool_limits

from semigen.classifiers.learners import Learner
from semigen.classifiers.rows import TrainingRows
from semigen.config import TrainParams

Z_95 = 1.96
MIN_STANDARD_ERRORS = 1.0
"""By how many standard errors of the paired difference a learner must beat the best labels-only one
(the one-standard-error rule of Breiman et al. 1984, turned into a safeguard)."""
SMOOTHING = 0.01
"""Weight of the uniform distribution in every prediction, so that a forest's zero is not final."""


@dataclass(frozen=True)
class Candidate:
    """A learner's out-of-fold evidence.

    Attributes:
        learner: The learner.
        temperature: What its log-probabilities are divided by (Guo et al. 2017), fitted on its
            out-of-fold predictions.
        losses: Calibrated out-of-fold log loss of every labeled row, mean over repeats, shape
            ``(n_labeled,)``, in nats.
        hits: Share of repeats in which each labeled row was classified right.
    """

    learner: Learner
    temperature: float
    losses: np.ndarray
    hits: np.ndarray

    def to_json_dict(self) -> dict[str, Any]:
        return {
            "name": self.learner.name,
            "uses": list(self.learner.uses),
            "log_loss": _mean_with_interval(self.losses),
            "accuracy": _mean_with_interval(self.hits, high=1.0),
        }


@dataclass(frozen=True)
class Selection:
    """The learner selected, the best labels-only one, and why.

    Attributes:
        selected: What the run's classifier will be.
        labels_only: Best learner that uses labeled rows alone.
        candidates: All of them, best first.
        n_splits: Fits of each learner.
        reason: One sentence.
    """

    selected: Candidate
    labels_only: Candidate
    candidates: tuple[Candidate, ...]
    n_splits: int
    reason: str

    def to_json_dict(self) -> dict[str, Any]:
        return {
            "selected": self.selected.learner.name,
            "labels_only": self.labels_only.learner.name,
            "n_splits": self.n_splits,
            "reason": self.reason,
            "candidates": [candidate.to_json_dict() for candidate in self.candidates],
        }


def select(
    learners: Sequence[Learner],
    rows: TrainingRows,
    params: TrainParams,
    n_threads: int = 1,
    on_learner: Callable[[str], None] = lambda _name: None,
) -> Selection:
    """Compare learners by repeated stratified cross-validation on the labeled rows.

    A fold's learners see neither its labels nor, through synthetic rows or class-conditional
    codes, anything learned from them. The generator's weights are shared by all folds: they were
    trained without labels.

    Args:
        learners: Candidates; at least one must use nothing but labeled rows.
        rows: Labeled rows with at least two of each class, and unlabeled ones.
        params: Folds and repeats.
        n_threads: Folds that are fitted at the same time; the result does not depend on it.
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
        candidates.append(_evaluate(learner, rows, parts, held_out, n_threads))
    candidates.sort(key=lambda candidate: float(candidate.losses.mean()))
    return _choose(tuple(candidates), len(splits))


def calibrate(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return smoothed, temperature-scaled probabilities, shape ``(n, n_classes)``."""
    n_classes = probabilities.shape[1]
    smoothed = (1 - SMOOTHING) * probabilities + SMOOTHING / n_classes
    powers = smoothed ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


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
    n_threads: int,
) -> Candidate:
    classes, x = np.unique(rows.y), rows.labeled(learner.space)
    if "synthetic" in learner.uses:
        for part in parts:  # drawn here, since torch's generator is shared by all threads
            _ = part.synthetic

    def predict(part: TrainingRows, fold: np.ndarray) -> np.ndarray:
        model = fit_quietly(learner, part)
        return align(model.predict_proba(x[fold]), model.classes_, classes)

    jobs = (delayed(predict)(part, fold) for part, fold in zip(parts, held_out, strict=True))
    with threadpool_limits(1):  # folds share the cores already
        predicted = Parallel(n_jobs=n_threads, prefer="threads")(jobs)
    probabilities, index = np.concatenate(predicted), np.concatenate(held_out)
    truth = np.searchsorted(classes, rows.y[index])
    temperature = fit_temperature(probabilities, truth)
    calibrated = calibrate(probabilities, temperature)
    losses = -np.log(calibrated[np.arange(len(truth)), truth])
    hits = (probabilities.argmax(axis=1) == truth).astype(float)
    n_repeats = len(index) // len(rows.y)
    return Candidate(
        learner,
        temperature,
        np.bincount(index, losses) / n_repeats,
        np.bincount(index, hits) / n_repeats,
    )


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


def _choose(candidates: tuple[Candidate, ...], n_splits: int) -> Selection:
    best = candidates[0]
    labels_only = next(c for c in candidates if not c.learner.uses)
    if best is labels_only:
        reason = f"{best.learner.name} uses labeled rows alone and has the least log loss"
        return Selection(best, best, candidates, n_splits, reason)
    differences = labels_only.losses - best.losses
    gain = float(differences.mean())
    error = float(differences.std(ddof=1) / np.sqrt(len(differences)))
    comparison = (
        f"{best.learner.name} has a log loss {gain:.3f} +- {error:.3f} (standard error) lower than "
        f"{labels_only.learner.name}, the best labels-only learner"
    )
    if gain > MIN_STANDARD_ERRORS * error:
        return Selection(best, labels_only, candidates, n_splits, comparison)
    reason = f"fallback to labels alone: {comparison}, which is too little to trust"
    return Selection(labels_only, labels_only, candidates, n_splits, reason)


def _mean_with_interval(values: np.ndarray, high: float = np.inf) -> dict[str, float]:
    mean = float(values.mean())
    margin = Z_95 * float(values.std(ddof=1)) / np.sqrt(len(values))
    return {
        "value": round(mean, 6),
        "low": round(max(0.0, mean - margin), 6),
        "high": round(min(high, mean + margin), 6),
    }
