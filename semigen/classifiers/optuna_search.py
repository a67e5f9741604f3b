"""Trials of the search, run by Optuna. Import this module only if Optuna is installed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import sklearn
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

from semigen.classifiers.calibration import calibrate, fit_temperature
from semigen.classifiers.cross_validation import predict_fold, split
from semigen.classifiers.learner_table import LEARNERS
from semigen.classifiers.learners import Learner
from semigen.classifiers.problem import LearningProblem
from semigen.classifiers.search_space import Choice, LogFloat, LogInt, SearchSpace
from semigen.methods.temperature_scaling import log_loss
from semigen.params.config import TrainParams
from semigen.training.code_digest import SEARCH_CODE
from semigen.training.compute import cpu_seconds

N_BEST_KINDS = 3
"""Number of learners that the search adds to the candidates, each of another kind. Learners of one
kind would be alike, and choosing more of them by their loss would bias that loss further."""
FOLD_SEED_OFFSET = 1_000_003
"""Added to the seed, so that the folds of the search differ from those that weigh the learners."""
N_STARTUP_TRIALS = 8
FINISHED = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
KINDS = (
    "extra_trees",
    "boosted_trees",
    "logistic_regression",
    "kernel_machine",
    "mlp",
    "label_diffusion",
    "naive_bayes",
)
"""Kinds of learners with a search space. Optuna samples a kind by its position here and journals
record the positions, so the order must not follow that of the table."""
UNUSED = {"search", "repeats", "time_budget_s", "min_gain_probability", "extra_learners"}
"""Parameters of ``train`` on which no trial depends."""
SPECS = {spec.search_space.kind: spec for spec in LEARNERS if spec.search_space}


def run_trials(
    problem: LearningProblem,
    params: TrainParams,
    journal: Path | None,
    on_trial: Callable[[str], None],
) -> tuple[tuple[Learner, ...], pd.DataFrame, int]:
    """Run the trials; see ``semigen.classifiers.search.search`` for the arguments.

    Returns:
        Best learners, table of the trials, and number of finished trials.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage, name = _storage(journal), _fingerprint(problem, params)
    others = {study.study_name for study in storage.get_all_studies()} - {name}
    if others:
        on_trial("earlier trials of other code, rows or folds do not count")
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=problem.seed, n_startup_trials=N_STARTUP_TRIALS),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=N_STARTUP_TRIALS),
    )

    started = cpu_seconds()

    def report(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        loss = _log_loss(trial)
        value = "pruned" if np.isnan(loss) else f"{loss:.3f}"
        on_trial(f"trial {trial.number + 1} of {params.search.trials}: {trial.params}: {value}")
        if cpu_seconds() - started > params.search.time_budget_s:
            study.stop()

    n_left = params.search.trials - len(study.get_trials(states=FINISHED))
    if n_left > 0:
        study.optimize(
            partial(objective, problem, search_folds(problem, params), params),
            n_trials=n_left,
            callbacks=[report],
        )
    n_finished = len(study.get_trials(states=FINISHED))
    return _best_learners(study, params), _trials_table(study.get_trials()), n_finished


def suggest_learner(trial: optuna.trial.BaseTrial, kind: str, params: TrainParams) -> Learner:
    """Return the learner with a trial's settings; a finished trial returns the same learner."""
    spec = SPECS[kind]
    assert spec.search_space is not None
    settings = _suggest_settings(trial, spec.search_space)
    return spec.build(params, name=f"tuned_{kind}", **settings)


def search_folds(
    problem: LearningProblem, params: TrainParams
) -> list[tuple[LearningProblem, np.ndarray]]:
    """Return the problem of each fold, and the indices of its held-out rows."""
    splits = split(problem, params.folds, 1, problem.seed + FOLD_SEED_OFFSET)
    return [(problem.subset(train), held_out) for train, held_out in splits]


def objective(
    problem: LearningProblem,
    folds: Sequence[tuple[LearningProblem, np.ndarray]],
    params: TrainParams,
    trial: optuna.Trial,
) -> float:
    """Return the log loss of the held-out rows after temperature scaling, in nats."""
    kind = trial.suggest_categorical("kind", KINDS)
    learner = suggest_learner(trial, kind, params)
    classes = np.unique(problem.y)
    probabilities = np.empty((0, len(classes)))
    y = np.empty(0, dtype=np.int64)
    for step, (part, held_out) in enumerate(folds):
        predicted = predict_fold(learner, part, held_out, classes)
        probabilities = np.concatenate([probabilities, predicted])
        y = np.concatenate([y, np.searchsorted(classes, problem.y[held_out])])
        trial.report(log_loss(calibrate(probabilities, 1.0), y), step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return log_loss(calibrate(probabilities, fit_temperature(probabilities, y)), y)


def _suggest_settings(trial: optuna.trial.BaseTrial, space: SearchSpace) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for setting, value in space.settings.items():
        name = f"{space.kind}.{setting}"
        match value:
            case LogFloat(low, high):
                settings[setting] = trial.suggest_float(name, low, high, log=True)
            case LogInt(low, high):
                settings[setting] = trial.suggest_int(name, low, high, log=True)
            case Choice(options):
                settings[setting] = trial.suggest_categorical(name, options)
            case _:
                settings[setting] = value
    return settings


def _storage(journal: Path | None) -> BaseStorage:
    if journal is None:
        return InMemoryStorage()
    journal.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(journal)))


def _fingerprint(problem: LearningProblem, params: TrainParams) -> str:
    """Return a hash of rows, seed, folds, fixed settings and code, which trials depend on."""
    fixed = params.model_dump_json(exclude=UNUSED)
    versions = f"scikit-learn {sklearn.__version__}, {SEARCH_CODE}"
    digest = hashlib.sha256(f"{problem.seed} {fixed} {versions}".encode())
    for array in (problem.x, problem.y, problem.x_unlabeled, problem.z):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _best_learners(study: optuna.Study, params: TrainParams) -> tuple[Learner, ...]:
    complete = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    best: dict[str, optuna.trial.FrozenTrial] = {}
    for trial in sorted(complete, key=lambda trial: trial.value or 0.0):
        best.setdefault(trial.params["kind"], trial)
    chosen = list(best.items())[:N_BEST_KINDS]
    return tuple(suggest_learner(trial, kind, params) for kind, trial in chosen)


def _log_loss(trial: optuna.trial.FrozenTrial) -> float:
    """Return the log loss over all folds; NaN unless the trial completed all of them.

    The value of a pruned trial is that of its first folds.
    """
    if trial.state != optuna.trial.TrialState.COMPLETE or trial.value is None:
        return float("nan")
    return float(trial.value)


def _trials_table(trials: Sequence[optuna.trial.FrozenTrial]) -> pd.DataFrame:
    losses = [_log_loss(trial) for trial in trials]
    return pd.DataFrame(
        {
            "trial": [trial.number + 1 for trial in trials],
            "kind": [trial.params.get("kind") for trial in trials],
            "state": [trial.state.name.lower() for trial in trials],
            "log_loss": np.round(losses, 6),
            "best": np.round(pd.Series(losses, dtype=float).cummin().ffill(), 6),
        }
    )
