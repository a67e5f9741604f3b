from __future__ import annotations

import numpy as np
import pytest

from semigen.classifiers.callbacks import FitCallbacks
from semigen.classifiers.fitting import fit_committee
from semigen.classifiers.learner_table import make_learners
from semigen.classifiers.problem import LearningProblem
from semigen.params.config import SearchParams, TrainParams
from semigen.tables.encoding import Encoded, encode_rows
from tests.semigen.example_tables import mixed_table

PARAMS = TrainParams(
    epochs=3, folds=2, repeats=1, min_gain_probability=0, search=SearchParams(trials=2)
)


class Recorder(FitCallbacks):
    """Records the calls."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.trials: list[str] = []
        self.calls: list[tuple[str, str]] = []

    def on_trial(self, summary):
        assert not self.names
        self.trials.append(summary)

    def on_learners(self, names):
        self.names = list(names)

    def on_learner_start(self, name):
        self.calls.append(("start", name))

    def on_learner_end(self, name, log_loss):
        assert log_loss > 0
        self.calls.append(("end", name))


@pytest.fixture(scope="module")
def recorder():
    return Recorder()


@pytest.fixture(scope="module")
def committee(problem, recorder):
    return fit_committee(
        problem, PARAMS, callbacks=recorder, with_ablation=True, also_fit=("mlp_synthetic",)
    )


def names_of(*committees):
    return {member.learner.name for part in committees for member in part.members}


def test_callbacks_see_every_trial_and_learner_in_order(committee, recorder):
    assert len(recorder.trials) == len(committee.trials) == 2
    assert any(name.startswith("tuned_") for name in recorder.names)
    expected = [(step, name) for name in recorder.names for step in ("start", "end")]
    assert recorder.calls == expected
    assert {c.name for c in committee.selection.candidates} == set(recorder.names)


def test_fits_the_members_of_all_committees_and_no_others(committee):
    expected = names_of(*committee.selection.committees.values()) | {"mlp_synthetic"}
    assert set(committee.estimators) == expected
    assert committee.estimators["mlp_synthetic"].loss_curve_


def test_without_ablation_fits_the_selected_and_labels_only_members(problem):
    params = PARAMS.model_copy(update={"search": SearchParams()})
    found = fit_committee(problem, params)
    assert set(found.estimators) == names_of(found.selection.selected, found.selection.labels_only)
    assert found.trials.empty and set(found.seconds) == {"compare", "fit"}


def test_classifier_has_members_and_weights_of_the_committee(committee, fitted_generator):
    encoder, generator, _ = fitted_generator
    selected = committee.selection.selected
    classifier = committee.classifier(selected, encoder, generator)
    assert [m.name for m in classifier.members] == [m.learner.name for m in selected.members]
    assert tuple(m.weight for m in classifier.members) == selected.weights
    assert [m.temperature for m in classifier.members] == [m.temperature for m in selected.members]
    table = mixed_table(200, seed=1)
    np.testing.assert_allclose(classifier.predict_proba(table).sum(axis=1), 1.0)
    assert (classifier.predict(table) == table["outcome"]).mean() > 0.85


def test_reason_says_that_the_budget_of_the_search_left_out_trials(problem, monkeypatch):
    two_learners = make_learners(TrainParams())[:2]
    monkeypatch.setattr("semigen.classifiers.fitting.make_learners", lambda *_, **__: two_learners)
    limits = SearchParams(trials=3, time_budget_s=1e-9)
    params = TrainParams(epochs=1, folds=2, repeats=1, time_budget_s=1e-9, search=limits)
    reason = fit_committee(problem, params).selection.reason
    assert reason.endswith(
        "not reproducible on another machine, because train.search.time_budget_s "
        "(1e-09 s of CPU time) left out 2 of 3 trials"
    )


def test_without_unlabeled_rows_only_labels_only_learners_are_compared(problem, fitted_generator):
    encoder, generator, _ = fitted_generator
    labeled = Encoded(problem.x, problem.y)
    none = encode_rows(encoder, mixed_table(20).iloc[:0])
    alone = LearningProblem.from_encoded(labeled, none, generator, problem.augment, seed=0)
    params = PARAMS.model_copy(update={"search": SearchParams()})
    selection = fit_committee(alone, params).selection
    assert selection.is_fallback
    assert selection.reason == "labels alone, because there are no unlabeled rows"
    assert all(candidate.uses == [] for candidate in selection.candidates)
    part = alone.subset(np.arange(len(labeled.y) - 2))
    assert part.z_unlabeled.shape == (0, alone.z.shape[1])
