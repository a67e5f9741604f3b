from __future__ import annotations

from dataclasses import replace

import numpy as np
import optuna
import pandas as pd
import pytest

from semigen.classifiers.cross_validation import cross_validate
from semigen.classifiers.learners import make_learners
from semigen.classifiers.search import KINDS, N_KEPT, _folds, _objective, learner_of, search
from semigen.params.config import SearchParams, TrainParams


def params(trials: int) -> TrainParams:
    return TrainParams(folds=3, repeats=1, search=SearchParams(trials=trials))


def test_no_search_by_default(problem):
    found = search(problem[2], TrainParams())
    assert found.learners == () and found.trials.empty
    assert list(found.trials) == ["trial", "kind", "state", "log_loss", "best"]


def test_best_learners_of_different_kinds_join_the_candidates(problem):
    _, _, rows = problem
    lines = []
    found = search(rows, params(12), on_trial=lines.append)
    assert len(found.trials) == len(lines) == 12
    names = [learner.name for learner in found.learners]
    assert 1 <= len(names) == len(set(names)) <= N_KEPT
    assert found.trials["best"].is_monotonic_decreasing
    winner = found.trials.loc[found.trials["log_loss"].idxmin(), "kind"]
    assert names[0] == f"tuned_{winner}"
    candidates = (*make_learners(params(0))[:1], *found.learners)
    evidence = cross_validate(candidates, rows, params(0))
    assert {c.learner.name for c in evidence.candidates} == {c.name for c in candidates}


def test_search_that_was_killed_goes_on(problem, tmp_path):
    _, _, rows = problem
    journal = tmp_path / "search.log"
    first = search(rows, params(3), journal).trials
    lines = []
    second = search(rows, params(5), journal, on_trial=lines.append).trials
    assert len(lines) == 2
    pd.testing.assert_frame_equal(second.head(3), first)
    other = replace(rows, y=1 - rows.y)  # trials of other rows are no trials of these
    assert len(search(other, params(2), journal).trials) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_a_learner(problem, kind):
    _, _, rows = problem
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(0)).ask(
        {"kind": optuna.distributions.CategoricalDistribution([kind])}
    )
    learner = learner_of(trial, kind)
    model = learner.fit(rows)
    x = rows.unlabeled(learner.space)
    np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), 1.0)


def test_folds_of_the_search_hide_their_labels(problem):
    _, _, rows = problem
    for part, held_out in _folds(rows, params(1)):
        assert len(part.y) + len(held_out) == len(rows.y)
        _, y = part.everything("encoded")
        assert (y[held_out] == -1).all()


def test_hopeless_trial_is_pruned(problem):
    _, _, rows = problem

    class Never(optuna.pruners.BasePruner):
        def prune(self, study, trial):  # noqa: ARG002
            return True

    study = optuna.create_study(pruner=Never())
    study.optimize(lambda trial: _objective(rows, _folds(rows, params(1)), trial), n_trials=1)
    assert study.trials[0].state == optuna.trial.TrialState.PRUNED
