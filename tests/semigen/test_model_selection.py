from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate
from sklearn.semi_supervised import SelfTrainingClassifier

from semigen.model_selection import LabeledKFold, labeled_scorer
from tests.semigen.classifiers.quick_estimator import quick_estimator


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 90)
    return rng.normal(truth[:, None], 0.2, (90, 3)), np.where(np.arange(90) % 3, -1, truth)


def self_training():
    return SelfTrainingClassifier(LogisticRegression())


def test_unlabeled_rows_are_in_every_training_part_and_never_held_out(rows):
    X, y = rows
    held_out = []
    for train, test in LabeledKFold(3).split(X, y):
        assert set(np.flatnonzero(y == -1)) <= set(train)
        assert not set(train) & set(test) and len(train) + len(test) == len(y)
        assert set(y[test]) == {0, 1}
        held_out += test.tolist()
    assert sorted(held_out) == np.flatnonzero(y != -1).tolist()


def test_only_row_of_a_class_is_never_held_out():
    y = ["a"] * 4 + ["b"] * 4 + ["c"] + [None] * 5
    parts = list(LabeledKFold(2).split(None, y))
    assert all(8 in train and 8 not in test for train, test in parts)


def test_folds_depend_on_the_seed_alone(rows):
    X, y = rows
    one, again, other = (
        [test.tolist() for _, test in LabeledKFold(3, random_state=seed).split(X, y)]
        for seed in (0, 0, 1)
    )
    assert one == again != other


@pytest.mark.parametrize(("n_splits", "words"), [(1, "at least 2"), (40, "use fewer folds")])
def test_rejects_impossible_numbers_of_folds(rows, n_splits, words):
    with pytest.raises(ValueError, match=words):
        next(LabeledKFold(n_splits).split(*rows))


def test_usual_folds_count_unlabeled_rows_as_errors_and_labeled_ones_do_not(rows):
    X, y = rows
    usual = cross_val_score(self_training(), X, y, cv=KFold(3))
    assert usual.max() < 0.5
    assert cross_val_score(self_training(), X, y, cv=LabeledKFold(3)).min() > 0.9
    scorer = labeled_scorer("neg_log_loss")
    scores = cross_validate(
        self_training(), X, y, cv=KFold(3), scoring=scorer, return_train_score=True
    )
    assert scores["test_score"].min() > -0.3 and scores["train_score"].min() > -0.3


def test_scorer_takes_frames_text_labels_and_missing_ones(rows):
    X, y = rows
    names = np.array([None, "ill", "well"], dtype=object)[y + 1]
    model = LogisticRegression().fit(X[y >= 0], names[y >= 0].astype(str))
    frame = pd.DataFrame(X)
    assert labeled_scorer("accuracy")(model, frame.to_numpy(), names) > 0.9
    assert labeled_scorer()(model, X.tolist(), names.tolist()) > 0.9
    with pytest.raises(ValueError, match="no row has a label"):
        labeled_scorer()(model, X, np.full(90, -1))


@pytest.mark.slow
def test_grid_search_sets_nested_parameters(rows):
    X, y = rows
    search = GridSearchCV(
        quick_estimator(),
        {"train__epochs": [1, 2], "pretrain__vae__latent_dim": [2]},
        cv=LabeledKFold(2),
        scoring=labeled_scorer("neg_log_loss"),
    ).fit(X, y)
    assert search.best_estimator_.train.epochs in (1, 2)
    assert search.best_estimator_.train.folds == 2
    assert search.best_score_ > -0.5
    assert clone(search.best_estimator_).get_params()["train__folds"] == 2
