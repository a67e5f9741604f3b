"""A search for learners that beat those with default settings, by Optuna."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.kernel_approximation import RBFSampler
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from semigen.classifiers.calibration import align, calibrate, fit_temperature
from semigen.classifiers.cross_validation import quiet, split
from semigen.classifiers.learners import GraphLearner, Learner, SemiSupervisedLearner
from semigen.classifiers.problem import Space, TrainingRows
from semigen.estimators.graph import GraphClassifier
from semigen.estimators.naive_bayes import SemiSupervisedNaiveBayes
from semigen.params.config import TrainParams
from semigen.training.compute import one_thread

N_KEPT = 3
"""Learners that the search adds to the committee's candidates, each of another kind: more of one
kind would be alike, and the more are chosen by luck the more the evidence flatters them."""
SEED_OF_FOLDS = 1_000_003
"""Added to the seed: the folds that choose settings are not those that weigh the learners."""
N_STARTUP = 8
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


@dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes:
        learners: The best learner of each of the best kinds, best first.
        trials: A row a trial: number, kind, state, out-of-fold log loss and the best until then.
    """

    learners: tuple[Learner, ...]
    trials: pd.DataFrame


def search(
    rows: TrainingRows,
    params: TrainParams,
    journal: Path | None = None,
    on_trial: Callable[[str], None] = lambda _line: None,
) -> Search:
    """Try settings of the learners on folds of the labeled rows.

    A trial whose folds so far are worse than the median of earlier trials is given up (pruned).

    Args:
        rows: Labeled and unlabeled rows; no test row is looked at.
        params: Trials, time and folds.
        journal: File that keeps finished trials: a search that was killed goes on after them.
        on_trial: Called with a line about each trial.
    """
    if params.search.trials == 0:
        return Search((), _table([]))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        storage=_storage(journal),
        study_name=_fingerprint(rows, params),
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=rows.seed, n_startup_trials=N_STARTUP),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=N_STARTUP),
    )

    def tell(_study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        value = f"{trial.value:.3f}" if trial.value is not None else "pruned"
        on_trial(f"trial {trial.number + 1} of {params.search.trials}: {trial.params}: {value}")

    n_left = params.search.trials - len(study.get_trials(states=FINISHED))
    if n_left > 0:
        objective = partial(_objective, rows, _folds(rows, params))
        study.optimize(
            objective, n_trials=n_left, timeout=params.search.time_budget_s, callbacks=[tell]
        )
    return Search(_best_learners(study), _table(study.get_trials()))


def learner_of(trial: optuna.trial.BaseTrial, kind: str) -> Learner:
    """Return the learner of a trial's settings; asked for again, the same."""
    settings = _suggest(trial, kind)
    name = f"tuned_{kind}"
    if kind == "label_diffusion":
        return GraphLearner(name, ("unlabeled",), settings.pop("space"), partial(_graph, settings))
    if kind == "naive_bayes":
        return SemiSupervisedLearner(
            name, ("unlabeled",), "encoded", partial(_naive_bayes, settings)
        )
    space: Space = settings.pop("space")
    make = {
        "extra_trees": _extra_trees,
        "boosted_trees": _boosted_trees,
        "logistic_regression": _logistic,
        "kernel_machine": _kernel_machine,
        "mlp": _mlp,
    }[kind]
    return Learner(
        name, () if space == "encoded" else ("unlabeled",), space, partial(make, settings)
    )


def _suggest(trial: optuna.trial.BaseTrial, kind: str) -> dict[str, Any]:
    def number(name: str, low: float, high: float) -> float:
        return trial.suggest_float(f"{kind}.{name}", low, high, log=True)

    def whole(name: str, low: int, high: int) -> int:
        return trial.suggest_int(f"{kind}.{name}", low, high, log=True)

    def choice(name: str, *options: Any) -> Any:
        return trial.suggest_categorical(f"{kind}.{name}", options)

    if kind == "label_diffusion":
        return {
            "space": choice("space", "encoded", "latent"),
            "n_neighbors": whole("n_neighbors", 3, 30),
            "n_diffusions": choice("n_diffusions", 0, 5, 20),
        }
    if kind == "naive_bayes":
        return {
            "n_bins": whole("n_bins", 2, 16),
            "unlabeled_weight": number("unlabeled_weight", 1e-3, 1.0),
            "tempering": number("tempering", 0.1, 1.0),
        }
    settings: dict[str, Any] = {"space": choice("space", "encoded", "both")}
    if kind == "extra_trees":
        settings["max_features"] = number("max_features", 0.05, 1.0)
        settings["min_samples_leaf"] = whole("min_samples_leaf", 1, 5)
    elif kind == "boosted_trees":
        settings["learning_rate"] = number("learning_rate", 0.02, 0.3)
        settings["min_samples_leaf"] = whole("min_samples_leaf", 2, 20)
    elif kind == "mlp":
        settings["width"] = whole("width", 16, 256)
        settings["alpha"] = number("alpha", 1e-5, 1.0)
    else:
        settings["C"] = number("C", 0.01, 100.0)
    return settings


def _extra_trees(settings: dict[str, Any], seed: int, _n_rows: int) -> ExtraTreesClassifier:
    return ExtraTreesClassifier(100, random_state=seed, **settings)


def _boosted_trees(
    settings: dict[str, Any], seed: int, _n_rows: int
) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(max_iter=60, random_state=seed, **settings)


def _logistic(settings: dict[str, Any], seed: int, _n_rows: int) -> Any:
    return make_pipeline(
        StandardScaler(), LogisticRegression(max_iter=3000, random_state=seed, **settings)
    )


def _kernel_machine(settings: dict[str, Any], seed: int, _n_rows: int) -> Any:
    return make_pipeline(
        StandardScaler(),
        RBFSampler(gamma="scale", n_components=500, random_state=seed),
        LogisticRegression(max_iter=1000, random_state=seed, **settings),
    )


def _mlp(settings: dict[str, Any], seed: int, n_rows: int) -> MLPClassifier:
    return MLPClassifier(
        (settings["width"],),
        alpha=settings["alpha"],
        batch_size=min(32, n_rows),
        max_iter=60,
        random_state=seed,
    )


def _graph(settings: dict[str, Any], seed: int, _n_rows: int) -> GraphClassifier:
    return GraphClassifier(random_state=seed, **settings)


def _naive_bayes(settings: dict[str, Any], _seed: int, _n_rows: int) -> SemiSupervisedNaiveBayes:
    return SemiSupervisedNaiveBayes(**settings)


def _storage(journal: Path | None) -> BaseStorage:
    if journal is None:
        return InMemoryStorage()
    journal.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(journal)))


def _folds(rows: TrainingRows, params: TrainParams) -> list[tuple[TrainingRows, np.ndarray]]:
    splits = split(rows, params.folds, 1, rows.seed + SEED_OF_FOLDS)
    return [(rows.subset(kept), held_out) for kept, held_out in splits]


def _fingerprint(rows: TrainingRows, params: TrainParams) -> str:
    """Return what a journal's trials belong to: they say nothing about other rows or folds."""
    digest = hashlib.sha256(f"{rows.seed} {params.folds}".encode())
    for array in (rows.x, rows.y, rows.x_unlabeled, rows.z):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _objective(
    rows: TrainingRows, folds: list[tuple[TrainingRows, np.ndarray]], trial: optuna.Trial
) -> float:
    """Return the log loss of rows held out, calibrated as the committee's members are."""
    learner = learner_of(trial, trial.suggest_categorical("kind", KINDS))
    classes = np.unique(rows.y)
    predicted, truth = [], []
    for step, (part, held_out) in enumerate(folds):
        with quiet(), one_thread():
            answer, known = learner.answer(part, held_out)
        predicted.append(align(answer, known, classes))
        truth.append(np.searchsorted(classes, rows.y[held_out]))
        trial.report(_log_loss(np.concatenate(predicted), np.concatenate(truth), 1.0), step)
        if trial.should_prune():
            raise optuna.TrialPruned
    probabilities, right = np.concatenate(predicted), np.concatenate(truth)
    return _log_loss(probabilities, right, fit_temperature(probabilities, right))


def _log_loss(probabilities: np.ndarray, truth: np.ndarray, temperature: float) -> float:
    calibrated = calibrate(probabilities, temperature)
    return float(-np.log(calibrated[np.arange(len(truth)), truth]).mean())


def _best_learners(study: optuna.Study) -> tuple[Learner, ...]:
    complete = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    best: dict[str, optuna.trial.FrozenTrial] = {}
    for trial in sorted(complete, key=lambda trial: trial.value or 0.0):
        best.setdefault(trial.params["kind"], trial)
    return tuple(learner_of(trial, kind) for kind, trial in list(best.items())[:N_KEPT])


def _table(trials: list[optuna.trial.FrozenTrial]) -> pd.DataFrame:
    losses = [trial.value if trial.value is not None else np.nan for trial in trials]
    table = {
        "trial": [trial.number + 1 for trial in trials],
        "kind": [trial.params.get("kind") for trial in trials],
        "state": [trial.state.name.lower() for trial in trials],
        "log_loss": np.round(losses, 6),
        "best": np.round(pd.Series(losses, dtype=float).cummin().ffill(), 6),
    }
    return pd.DataFrame(table)
