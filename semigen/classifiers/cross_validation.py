"""Cross-validation of the learners on the labeled rows."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import RepeatedStratifiedKFold

from semigen.classifiers.calibration import align, calibrate, fit_temperature
from semigen.classifiers.callbacks import FitCallbacks
from semigen.classifiers.learners import Learner
from semigen.classifiers.problem import LearningProblem
from semigen.errors import UserError
from semigen.methods.temperature_scaling import log_loss
from semigen.params.config import TrainParams
from semigen.training.compute import cpu_seconds, one_thread


@dataclass(frozen=True)
class Candidate:
    """A learner and its out-of-fold predictions.

    Attributes:
        learner: The learner.
        temperature: Temperature fitted to the out-of-fold predictions.
        probabilities: Calibrated out-of-fold probabilities of every row in every repeat, shape
            ``(n_repeats, n_rows, n_classes)``.

    Examples:
        >>> import numpy as np
        >>> probabilities = np.array([[[0.8, 0.2], [0.5, 0.5]]])
        >>> round(Candidate(None, 1.0, probabilities).log_loss(np.array([0, 1])), 3)
        0.458
    """

    learner: Learner
    temperature: float
    probabilities: np.ndarray

    def log_loss(self, y: np.ndarray) -> float:
        """Return the mean log loss in nats, given the true columns ``y``, shape ``(n_rows,)``."""
        return log_loss(self.probabilities, y)


@dataclass(frozen=True)
class Evidence:
    """Out-of-fold predictions of all learners.

    Attributes:
        candidates: Learners that were evaluated.
        truth: Column of the true class of each row that was held out, shape ``(n_rows,)``. The only
            row of a class is never held out.
        n_splits: Number of fits of each learner.
        left_out: Names of the learners that the time budget left out.

    Examples:
        >>> import numpy as np
        >>> Evidence((), np.array([0, 1]), n_splits=8, left_out=("mlp_synthetic",)).left_out
        ('mlp_synthetic',)
    """

    candidates: tuple[Candidate, ...]
    truth: np.ndarray
    n_splits: int
    left_out: tuple[str, ...] = ()


def cross_validate(
    learners: Sequence[Learner],
    problem: LearningProblem,
    params: TrainParams,
    callbacks: FitCallbacks | None = None,
) -> Evidence:
    """Evaluate learners by repeated stratified cross-validation on the labeled rows.

    Learners see neither the labels of the held-out rows nor anything that was learned from these
    labels, such as synthetic rows or class-conditional codes. The held-out rows are among the
    unlabeled rows. All folds share the weights of a generator that was trained without labels; a
    generator that classifies is trained anew for every fold.

    Args:
        learners: Learners, labels-only ones first. Labels-only learners are always evaluated, the
            others until ``params.time_budget_s``, which counts CPU seconds, is used up.
        problem: Labeled and unlabeled rows; at least one class needs two labeled rows.
        params: Number of folds and repeats, and the time budget.
        callbacks: Called before and after each learner.

    Raises:
        UserError: If no class has two labeled rows.
    """
    callbacks = callbacks or FitCallbacks()
    started = cpu_seconds()
    splits = split(problem, params.folds, params.repeats, problem.seed)
    parts = [problem.subset(train) for train, _ in splits]
    held_out = [rows for _, rows in splits]
    truth = np.searchsorted(np.unique(problem.y), problem.y)[np.unique(np.concatenate(held_out))]
    candidates, left_out = [], []
    for learner in learners:
        if learner.uses and cpu_seconds() - started > params.time_budget_s:
            left_out.append(learner.name)
            continue
        callbacks.on_learner_start(learner.name)
        candidates.append(_evaluate(learner, problem, parts, held_out))
        callbacks.on_learner_end(learner.name, candidates[-1].log_loss(truth))
    return Evidence(tuple(candidates), truth, len(splits), tuple(left_out))


def _evaluate(
    learner: Learner,
    problem: LearningProblem,
    parts: Sequence[LearningProblem],
    held_out: Sequence[np.ndarray],
) -> Candidate:
    classes = np.unique(problem.y)
    probabilities = np.concatenate(
        [
            predict_fold(learner, part, rows, classes)
            for part, rows in zip(parts, held_out, strict=True)
        ]
    )
    index = np.concatenate(held_out)
    temperature = fit_temperature(probabilities, np.searchsorted(classes, problem.y[index]))
    # Every row that is held out is held out exactly once per repeat.
    n_rows = len(np.unique(index))
    repeats = np.stack(np.split(np.argsort(index, kind="stable"), n_rows), axis=1)
    return Candidate(learner, temperature, calibrate(probabilities, temperature)[repeats])


def predict_fold(
    learner: Learner, problem: LearningProblem, rows: np.ndarray, classes: np.ndarray
) -> np.ndarray:
    """Fit a learner on a fold's problem and predict the held-out rows.

    Args:
        learner: The learner.
        problem: Problem of the fold.
        rows: Indices of the held-out rows among the labeled rows of the whole problem.
        classes: All classes, sorted, shape ``(n_classes,)``.

    Returns:
        Uncalibrated class probabilities, shape ``(len(rows), n_classes)``.
    """
    with ignore_convergence_warnings(), one_thread():
        probabilities, known = learner.predict_held_out(problem, rows)
    return align(probabilities, known, classes)


def split(
    problem: LearningProblem, n_folds: int, n_repeats: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the labeled rows that each fold trains on and holds out.

    The only row of a class is always a training row, so that every fold knows every class.

    Raises:
        UserError: If no class has two labeled rows.
    """
    _, codes, counts = np.unique(problem.y, return_inverse=True, return_counts=True)
    repeated, single = (np.flatnonzero(mask) for mask in (counts[codes] > 1, counts[codes] == 1))
    if not len(repeated):
        raise UserError("every class has only one labeled row; at least one class needs two")
    folds = RepeatedStratifiedKFold(
        n_splits=min(n_folds, int(counts[counts > 1].min())),
        n_repeats=n_repeats,
        random_state=seed,
    )
    return [
        (np.sort(np.concatenate([repeated[train], single])), repeated[held_out])
        for train, held_out in folds.split(repeated, codes[repeated])
    ]


def fit_learner(learner: Learner, problem: LearningProblem) -> Any:
    """Fit a learner on one thread, without convergence warnings."""
    with ignore_convergence_warnings(), one_thread():
        return learner.fit(problem)


def ignore_convergence_warnings() -> warnings.catch_warnings[None]:
    """Return a context that ignores the warnings of networks with a fixed number of epochs."""
    return warnings.catch_warnings(action="ignore", category=ConvergenceWarning)
