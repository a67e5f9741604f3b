from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier

from semigen.classifiers.cross_validation import fit_quietly, quiet
from semigen.classifiers.learners import N_TREES, make_learners
from semigen.classifiers.problem import in_space
from semigen.params.config import AugmentParams, TrainParams

LEARNERS = make_learners(TrainParams(learning_rate=0.01))
BY_NAME = {learner.name: learner for learner in LEARNERS}
each_learner = pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: learner.name)


@each_learner
def test_fitted_learner_gives_probabilities_that_beat_chance(learner, problem):
    _, _, rows = problem
    model = fit_quietly(learner, rows)
    probabilities = model.predict_proba(rows.labeled(learner.space))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    hits = (model.classes_[probabilities.argmax(axis=1)] == rows.y).sum()
    assert hits >= 20  # of 24 rows it has seen; a coin gets there with probability 0.0008


@each_learner
def test_same_seed_same_model(learner, problem):
    _, _, rows = problem
    one, two = (
        fit_quietly(learner, replace(rows)).predict_proba(rows.unlabeled(learner.space))
        for _ in range(2)
    )
    np.testing.assert_array_equal(one, two)


@each_learner
def test_labels_only_learners_are_blind_to_unlabeled_rows(learner, problem):
    _, _, rows = problem
    changed = replace(
        rows, x_unlabeled=rows.x_unlabeled[:50] * 2, z_unlabeled=rows.z_unlabeled[:50] * 2
    )
    x = rows.unlabeled(learner.space)
    before = fit_quietly(learner, rows).predict_proba(x)
    after = fit_quietly(learner, changed).predict_proba(x)
    reads_generative_features = learner.space == "both"  # of labeled rows alone
    is_blind = not learner.uses or reads_generative_features
    assert np.array_equal(before, after) == is_blind


def test_no_synthetic_rows_is_the_labels_only_learner(problem):
    _, _, rows = problem
    none = replace(rows, augment=AugmentParams(ratio=0))
    x = rows.x_unlabeled
    with_none = fit_quietly(BY_NAME["extra_trees_synthetic"], none).predict_proba(x)
    alone = fit_quietly(BY_NAME["extra_trees"], rows).predict_proba(x)
    reference = ExtraTreesClassifier(N_TREES, random_state=rows.seed).fit(rows.x, rows.y)
    np.testing.assert_array_equal(with_none, alone)
    np.testing.assert_array_equal(alone, reference.predict_proba(x))


def test_synthetic_rows_of_a_subset_know_its_labels_only(problem):
    """Flip the labels of the rows that a fold holds out: its synthetic rows must not change."""
    _, _, rows = problem
    kept = np.arange(16)
    flipped = replace(rows, y=np.where(np.arange(24) < 16, rows.y, 1 - rows.y))
    one, two = rows.subset(kept).synthetic, flipped.subset(kept).synthetic
    np.testing.assert_array_equal(one.x, two.x)
    np.testing.assert_array_equal(one.y, two.y)
    assert not np.array_equal(rows.synthetic.x, one.x)


def test_held_out_labels_are_hidden_from_all_that_a_fold_knows(problem):
    """Flip the labels of the rows that a fold holds out: no answer about them must change."""
    _, _, rows = problem
    kept, held_out = np.arange(16), np.arange(16, 24)
    flipped = replace(rows, y=np.where(np.arange(24) < 16, rows.y, 1 - rows.y))
    for learner in LEARNERS:
        one, two = (
            answer_quietly(learner, whole.subset(kept), held_out) for whole in (rows, flipped)
        )
        np.testing.assert_array_equal(one, two, err_msg=learner.name)


def test_graph_learner_is_judged_as_for_new_rows(problem):
    """What is said of a row held out comes from the other rows' spread labels alone."""
    _, _, rows = problem
    kept, held_out = np.arange(16), np.arange(16, 24)
    part = rows.subset(kept)
    learner = next(learner for learner in LEARNERS if learner.name == "label_diffusion")
    x, y = part.everything("encoded")
    model = learner.make(part.seed, 0)
    shares = model.spread(x, y, part.graph("encoded", model.n_neighbors))
    others = np.setdiff1d(np.flatnonzero(shares.max(axis=1) > 0), held_out)
    forest = ExtraTreesClassifier(model.n_trees, random_state=part.seed).fit(
        x[others], shares[others].argmax(axis=1), shares[others].max(axis=1)
    )
    np.testing.assert_array_equal(
        answer_quietly(learner, part, held_out), forest.predict_proba(x[held_out])
    )


def answer_quietly(learner, part, held_out):
    with quiet():
        return learner.answer(part, held_out)[0]


def test_folds_share_one_graph(problem):
    _, _, rows = problem
    one, two = (rows.subset(np.arange(n, 24)).graph("encoded", 5) for n in (0, 4))
    assert one is two is rows.graph("encoded", 5)
    x, y = rows.subset(np.arange(4, 24)).everything("encoded")
    assert one.shape == (len(x), len(x))
    np.testing.assert_array_equal(y[:4], -1)
    np.testing.assert_array_equal(y[4:24], rows.y[4:])
    assert (y[24:] == -1).all()


def test_rows_of_everything_are_bounded(problem):
    _, _, rows = problem
    few = replace(rows, max_rows=50)
    x, y = few.everything("both")
    assert x.shape == (74, rows.x.shape[1] + rows.z.shape[1]) and len(y) == 74


def test_boosting_waits_for_enough_rows():
    few, enough = (make_learners(TrainParams(), n_rows_per_class=n) for n in (4, 5))
    assert {learner.name for learner in enough} - {learner.name for learner in few} == {
        "boosted_trees"
    }


def test_spaces_are_columns_features_or_both():
    x, z = np.zeros((2, 3)), np.ones((2, 1))
    assert [in_space(s, x, z).shape[1] for s in ("encoded", "latent", "both")] == [3, 1, 4]
