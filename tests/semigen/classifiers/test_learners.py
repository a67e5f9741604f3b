from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier

from semigen.classifiers.cross_validation import fit_learner, ignore_convergence_warnings
from semigen.classifiers.factories import N_TREES
from semigen.classifiers.learner_table import EXTRA_LEARNERS, LEARNERS, make_learners
from semigen.classifiers.problem import in_space
from semigen.params.config import AugmentParams, TrainParams
from semigen.storage.estimator_files import load_estimator, save_estimator

DEFAULT_LEARNERS = make_learners(TrainParams(learning_rate=0.01))
BY_NAME = {learner.name: learner for learner in DEFAULT_LEARNERS}
each_learner = pytest.mark.parametrize(
    "learner", DEFAULT_LEARNERS, ids=lambda learner: learner.name
)


@each_learner
def test_fitted_learner_is_better_than_chance(learner, problem):
    model = fit_learner(learner, problem)
    probabilities = model.predict_proba(problem.labeled(learner.space))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    hits = (model.classes_[probabilities.argmax(axis=1)] == problem.y).sum()
    assert hits >= 20  # of 24 training rows; guessing succeeds with probability 0.0008


@each_learner
def test_equal_seeds_give_equal_models(learner, problem):
    one, two = (
        fit_learner(learner, replace(problem)).predict_proba(problem.unlabeled(learner.space))
        for _ in range(2)
    )
    np.testing.assert_array_equal(one, two)


@each_learner
def test_labels_only_learners_ignore_unlabeled_rows(learner, problem):
    changed = replace(
        problem, x_unlabeled=problem.x_unlabeled[:50] * 2, z_unlabeled=problem.z_unlabeled[:50] * 2
    )
    x = problem.unlabeled(learner.space)
    before = fit_learner(learner, problem).predict_proba(x)
    after = fit_learner(learner, changed).predict_proba(x)
    reads_generative_features = learner.space == "both"  # of labeled rows alone
    ignores_unlabeled = not learner.uses or reads_generative_features
    assert np.array_equal(before, after) == ignores_unlabeled


@each_learner
def test_loaded_model_predicts_what_the_saved_one_does(learner, problem, tmp_path):
    model, x = fit_learner(learner, problem), problem.unlabeled(learner.space)
    save_estimator(model, tmp_path / "model.skops")
    loaded = load_estimator(tmp_path / "model.skops")
    np.testing.assert_array_equal(loaded.predict_proba(x), model.predict_proba(x))


def test_without_synthetic_rows_equals_labels_only_learner(problem):
    none = replace(problem, augment=AugmentParams(ratio=0))
    x = problem.x_unlabeled
    with_none = fit_learner(BY_NAME["extra_trees_synthetic"], none).predict_proba(x)
    alone = fit_learner(BY_NAME["extra_trees"], problem).predict_proba(x)
    reference = ExtraTreesClassifier(N_TREES, random_state=problem.seed).fit(problem.x, problem.y)
    np.testing.assert_array_equal(with_none, alone)
    np.testing.assert_array_equal(alone, reference.predict_proba(x))


def test_synthetic_rows_of_a_subset_depend_on_its_labels_only(problem):
    """Flipping the labels of a fold's held-out rows must not change its synthetic rows."""
    kept = np.arange(16)
    flipped = replace(problem, y=np.where(np.arange(24) < 16, problem.y, 1 - problem.y))
    one, two = problem.subset(kept).synthetic, flipped.subset(kept).synthetic
    np.testing.assert_array_equal(one.x, two.x)
    np.testing.assert_array_equal(one.y, two.y)
    assert not np.array_equal(problem.synthetic.x, one.x)


def test_held_out_predictions_do_not_depend_on_held_out_labels(problem):
    """Flipping the labels of a fold's held-out rows must not change their predictions."""
    kept, held_out = np.arange(16), np.arange(16, 24)
    flipped = replace(problem, y=np.where(np.arange(24) < 16, problem.y, 1 - problem.y))
    for learner in DEFAULT_LEARNERS:
        one, two = (
            predict_held_out(learner, whole.subset(kept), held_out) for whole in (problem, flipped)
        )
        np.testing.assert_array_equal(one, two, err_msg=learner.name)


def test_graph_learner_predicts_held_out_rows_like_new_rows(problem):
    """The forest is trained on the spread labels of the other rows only."""
    kept, held_out = np.arange(16), np.arange(16, 24)
    part = problem.subset(kept)
    learner = BY_NAME["label_diffusion"]
    x, y = part.all_rows("encoded")
    model = learner.make(part.seed, 0)
    spread = model.spread(x, y, part.graph("encoded", model.n_neighbors))
    others = np.setdiff1d(np.flatnonzero(spread.max(axis=1) > 0), held_out)
    forest = ExtraTreesClassifier(model.n_trees, random_state=part.seed).fit(
        x[others], spread[others].argmax(axis=1), spread[others].max(axis=1)
    )
    np.testing.assert_array_equal(
        predict_held_out(learner, part, held_out), forest.predict_proba(x[held_out])
    )


def predict_held_out(learner, part, held_out):
    with ignore_convergence_warnings():
        return learner.predict_held_out(part, held_out)[0]


def test_folds_share_one_graph(problem):
    one, two = (problem.subset(np.arange(n, 24)).graph("encoded", 5) for n in (0, 4))
    assert one is two is problem.graph("encoded", 5)
    x, y = problem.subset(np.arange(4, 24)).all_rows("encoded")
    assert one.shape == (len(x), len(x))
    np.testing.assert_array_equal(y[:4], -1)
    np.testing.assert_array_equal(y[4:24], problem.y[4:])
    assert (y[24:] == -1).all()


def test_all_rows_limits_the_unlabeled_rows(problem):
    small = replace(problem, max_rows=50)
    x, y = small.all_rows("both")
    assert x.shape == (74, problem.x.shape[1] + problem.z.shape[1]) and len(y) == 74


def test_boosted_trees_need_enough_rows_per_class():
    few, enough = (make_learners(TrainParams(), n_rows_per_class=n) for n in (4, 5))
    assert {learner.name for learner in enough} - {learner.name for learner in few} == {
        "boosted_trees"
    }


def test_spaces_are_columns_features_or_both():
    x, z = np.zeros((2, 3)), np.ones((2, 1))
    assert [in_space(s, x, z).shape[1] for s in ("encoded", "latent", "both")] == [3, 1, 4]


def test_extra_learners_take_part_only_if_named():
    names = {learner.name for learner in DEFAULT_LEARNERS}
    assert not names & EXTRA_LEARNERS
    more = make_learners(TrainParams(extra_learners=("adversarial", "consistency")))
    assert {learner.name for learner in more} - names == EXTRA_LEARNERS


def test_table_lists_labels_only_learners_first_with_unique_names():
    names = [spec.name for spec in LEARNERS]
    assert len(names) == len(set(names))
    needs_unlabeled = [bool(spec.uses) for spec in LEARNERS]
    assert needs_unlabeled == sorted(needs_unlabeled)
