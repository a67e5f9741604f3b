from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest

from semigen.classifiers.cross_validation import cross_validate
from semigen.classifiers.factories import N_FOURIER_FEATURES
from semigen.classifiers.learner_table import make_learners
from semigen.classifiers.optuna_search import (
    KINDS,
    N_BEST_KINDS,
    SPECS,
    _trials_table,
    objective,
    search_folds,
    suggest_learner,
)
from semigen.classifiers.search import Search, search
from semigen.errors import UserError
from semigen.params.config import SearchParams, TrainParams


def params(trials: int) -> TrainParams:
    return TrainParams(folds=3, repeats=1, search=SearchParams(trials=trials))


def test_no_search_by_default(problem):
    found = search(problem, TrainParams())
    assert found.learners == () and found.trials.empty
    assert list(found.trials) == ["trial", "kind", "state", "log_loss", "best"]


def test_best_learners_of_different_kinds_join_the_candidates(problem):
    lines = []
    found = search(problem, params(12), on_trial=lines.append)
    assert len(found.trials) == len(lines) == 12
    names = [learner.name for learner in found.learners]
    assert 1 <= len(names) == len(set(names)) <= N_BEST_KINDS
    assert found.trials["best"].is_monotonic_decreasing
    winner = found.trials.loc[found.trials["log_loss"].idxmin(), "kind"]
    assert names[0] == f"tuned_{winner}"
    candidates = (*make_learners(params(0))[:1], *found.learners)
    evidence = cross_validate(candidates, problem, params(0))
    assert {c.learner.name for c in evidence.candidates} == {c.name for c in candidates}


def test_interrupted_search_resumes_from_its_journal(problem, tmp_path):
    journal = tmp_path / "search.log"
    first = search(problem, params(3), journal).trials
    lines = []
    second = search(problem, params(5), journal, on_trial=lines.append).trials
    assert len(lines) == 2
    pd.testing.assert_frame_equal(second.head(3), first)
    other = replace(problem, y=1 - problem.y)  # trials of other rows do not count
    assert len(search(other, params(2), journal).trials) == 2


def test_trials_of_other_code_do_not_count(problem, tmp_path, monkeypatch):
    journal, lines = tmp_path / "search.log", []
    monkeypatch.setattr("semigen.classifiers.optuna_search.SEARCH_CODE", "the code before")
    search(problem, params(1), journal)
    monkeypatch.undo()
    assert len(search(problem, params(1), journal, on_trial=lines.append).trials) == 1
    assert lines[0] == "earlier trials of other code, rows or folds do not count"
    assert len(lines) == 2


def test_pruned_trial_has_no_log_loss_and_is_never_the_best():
    """Its value is that of its first folds, which may be easier than all folds."""
    kind = optuna.distributions.CategoricalDistribution(KINDS)
    study = optuna.create_study()
    for value, state in ((0.80, "COMPLETE"), (0.36, "PRUNED"), (0.75, "COMPLETE")):
        trial = optuna.trial.create_trial(
            state=optuna.trial.TrialState[state],
            value=value,
            params={"kind": "mlp"},
            distributions={"kind": kind},
            intermediate_values={0: value},
        )
        study.add_trial(trial)
    table = _trials_table(study.get_trials())
    assert table["state"].tolist() == ["complete", "pruned", "complete"]
    np.testing.assert_array_equal(table["log_loss"], [0.80, np.nan, 0.75])
    assert table["best"].tolist() == [0.80, 0.80, 0.75]


def test_summary_of_a_pruned_trial_shows_no_log_loss(problem, monkeypatch):
    class PruneLater(optuna.pruners.BasePruner):
        def prune(self, study, trial):  # noqa: ARG002
            return trial.number > 0

    monkeypatch.setattr("optuna.pruners.MedianPruner", lambda **_: PruneLater())
    lines: list[str] = []
    found = search(problem, params(2), on_trial=lines.append)
    assert lines[1].endswith(": pruned") and not lines[0].endswith(": pruned")
    assert found.trials["log_loss"].isna().tolist() == [False, True]


def test_search_uses_as_many_fourier_features_as_the_learner_of_the_table(problem):
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(0)).ask(
        {"kind": optuna.distributions.CategoricalDistribution(["kernel_machine"])}
    )
    estimator = suggest_learner(trial, "kernel_machine", params(1)).make(0, 20)
    assert estimator["rbfsampler"].n_components == N_FOURIER_FEATURES


def test_time_budget_counts_cpu_seconds_and_says_how_many_trials_it_left_out(problem):
    def cut(seconds: float) -> Search:
        limits = SearchParams(trials=3, time_budget_s=seconds)
        wait = 0.6 if seconds > 0.1 else 0.0
        return search(
            problem,
            params(3).model_copy(update={"search": limits}),
            on_trial=lambda _: time.sleep(wait),
        )

    found = cut(1e-9)
    assert (len(found.trials), found.n_left_out) == (1, 2)
    assert len(found.learners) == 1
    # Three trials that wait for 1.8 s.
    found = cut(1.5)
    assert (len(found.trials), found.n_left_out) == (3, 0)


def test_kinds_are_those_of_the_table():
    assert set(KINDS) == set(SPECS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_a_learner(problem, kind):
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(0)).ask(
        {"kind": optuna.distributions.CategoricalDistribution([kind])}
    )
    learner = suggest_learner(trial, kind, params(1))
    model = learner.fit(problem)
    x = problem.unlabeled(learner.space)
    np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), 1.0)
    assert bool(learner.uses) == (learner.space != "encoded" or bool(SPECS[kind].uses))


def test_folds_of_the_search_mask_held_out_labels(problem):
    for part, held_out in search_folds(problem, params(1)):
        assert len(part.y) + len(held_out) == len(problem.y)
        _, y = part.all_rows("encoded")
        assert (y[held_out] == -1).all()


def test_unpromising_trial_is_pruned(problem):
    class PruneAlways(optuna.pruners.BasePruner):
        def prune(self, study, trial):  # noqa: ARG002
            return True

    study = optuna.create_study(pruner=PruneAlways())
    folds = search_folds(problem, params(1))
    study.optimize(lambda trial: objective(problem, folds, params(1), trial), n_trials=1)
    assert study.trials[0].state == optuna.trial.TrialState.PRUNED


def test_search_without_optuna_names_the_extra(problem, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, "semigen.classifiers.optuna_search")
    with pytest.raises(UserError, match=r"pip install semigen\[pipeline\]"):
        search(problem, params(1))
    assert search(problem, params(0)).learners == ()


def test_journal_folder_is_created(problem, tmp_path: Path):
    journal = tmp_path / "new" / "search.log"
    search(problem, params(1), journal)
    assert journal.exists()
