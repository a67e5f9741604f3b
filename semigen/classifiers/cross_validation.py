"""What learners predict for labeled rows that they have not seen."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import RepeatedStratifiedKFold

from semigen.classifiers.calibration import align, calibrate, fit_temperature
from semigen.classifiers.learners import Learner
from semigen.classifiers.problem import TrainingRows
from semigen.errors import UserError
from semigen.params.config import TrainParams
from semigen.training.compute import one_thread


@dataclass(frozen=True)
class Candidate:
    """A learner's out-of-fold evidence.

    Attributes:
        learner: The learner.
        temperature: What its log-probabilities are divided by, fitted on its out-of-fold
            predictions.
        probabilities: Calibrated predictions of every row held out, in every repeat, shape
            ``(n_repeats, n_tried, n_classes)``.
    """

    learner: Learner
    temperature: float
    probabilities: np.ndarray

    def log_loss(self, truth: np.ndarray) -> float:
        """Return the mean log loss in nats; ``truth`` is that of ``Evidence``."""
        right = self.probabilities[:, np.arange(len(truth)), truth]
        return float(-np.log(right).mean())


@dataclass(frozen=True)
class Evidence:
    """Every learner's evidence.

    Attributes:
        candidates: Learners that were compared.
        truth: Column of the class of each labeled row that was held out, shape ``(n_tried,)``:
            all but those that are the only one of their class.
        n_splits: Fits of each learner.
        left_out: Names of the learners for which no time was left.
    """

    candidates: tuple[Candidate, ...]
    truth: np.ndarray
    n_splits: int
    left_out: tuple[str, ...] = ()


def cross_validate(
    learners: Sequence[Learner],
    rows: TrainingRows,
    params: TrainParams,
    on_learner: Callable[[str], None] = lambda _name: None,
    on_result: Callable[[str, float], None] = lambda _name, _log_loss: None,
) -> Evidence:
    """Compare learners by repeated stratified cross-validation on the labeled rows.

    A fold's learners see neither its labels nor, through synthetic rows or class-conditional
    codes, anything learned from them; its rows stand among the unlabeled ones, as they will when
    the classifier is trained. The generator's weights are shared by all folds if they were trained
    without labels; one that classifies is trained anew for every fold.

    Args:
        learners: Candidates, labels-only ones first: these are compared in any case, the others
            while ``params.time_budget_s`` lasts.
        rows: Labeled rows, two at least of some class, and unlabeled ones.
        params: Folds, repeats and time.
        on_learner: Called with each learner's name before it is tried.
        on_result: Called with its name and its log loss afterwards.
    """
    started = time.monotonic()
    splits = split(rows, params.folds, params.repeats, rows.seed)
    parts = [rows.subset(train) for train, _ in splits]
    held_out = [fold for _, fold in splits]
    truth = np.searchsorted(np.unique(rows.y), rows.y)[np.unique(np.concatenate(held_out))]
    candidates, left_out = [], []
    for learner in learners:
        if learner.uses and time.monotonic() - started > params.time_budget_s:
            left_out.append(learner.name)
            continue
        on_learner(learner.name)
        candidates.append(_evaluate(learner, rows, parts, held_out))
        on_result(learner.name, candidates[-1].log_loss(truth))
    return Evidence(tuple(candidates), truth, len(splits), tuple(left_out))


def _evaluate(
    learner: Learner,
    rows: TrainingRows,
    parts: Sequence[TrainingRows],
    held_out: Sequence[np.ndarray],
) -> Candidate:
    classes = np.unique(rows.y)
    predicted = []
    for part, fold in zip(parts, held_out, strict=True):
        with quiet(), one_thread():
            answer, known = learner.answer(part, fold)
        predicted.append(align(answer, known, classes))
    probabilities, index = np.concatenate(predicted), np.concatenate(held_out)
    temperature = fit_temperature(probabilities, np.searchsorted(classes, rows.y[index]))
    # Every row that is held out is so once in each repeat.
    n_tried = len(np.unique(index))
    repeats = np.stack(np.split(np.argsort(index, kind="stable"), n_tried), axis=1)
    return Candidate(learner, temperature, calibrate(probabilities, temperature)[repeats])


def split(
    rows: TrainingRows, n_folds: int, n_repeats: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return which labeled rows each fold keeps and holds out.

    The only row of a class is always kept: without it no learner would know the class.

    Raises:
        UserError: If no class has two rows.
    """
    _, codes, counts = np.unique(rows.y, return_inverse=True, return_counts=True)
    tried, single = (np.flatnonzero(mask) for mask in (counts[codes] > 1, counts[codes] == 1))
    if not len(tried):
        raise UserError("every class has a single labeled row; one at least must have two")
    folds = RepeatedStratifiedKFold(
        n_splits=min(n_folds, int(counts[counts > 1].min())),
        n_repeats=n_repeats,
        random_state=seed,
    )
    return [
        (np.sort(np.concatenate([tried[kept], single])), tried[held_out])
        for kept, held_out in folds.split(tried, codes[tried])
    ]


def fit_quietly(learner: Learner, rows: TrainingRows) -> Any:
    """Fit a learner; that a network stops after its set number of epochs is no warning here."""
    with quiet(), one_thread():
        return learner.fit(rows)


def quiet() -> warnings.catch_warnings[None]:
    """Return a context that hides warnings of fits that stop after a set number of steps."""
    return warnings.catch_warnings(action="ignore", category=ConvergenceWarning)
