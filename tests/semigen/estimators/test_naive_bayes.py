from __future__ import annotations

import numpy as np
import pytest
from sklearn.naive_bayes import CategoricalNB
from sklearn.utils.estimator_checks import parametrize_with_checks

from semigen.estimators.graph import GraphClassifier
from semigen.estimators.naive_bayes import SemiSupervisedNaiveBayes

UNLABELED_IS_MINUS_ONE = "-1 marks unlabeled rows and is a class in this check"


def expected_failures(_estimator):
    return {"check_classifiers_classes": UNLABELED_IS_MINUS_ONE}


@parametrize_with_checks(
    [SemiSupervisedNaiveBayes(), GraphClassifier(n_trees=10)],
    expected_failed_checks=expected_failures,
)
def test_sklearn_compatible(estimator, check):
    check(estimator)


def binary_rows(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of 30 weak binary columns, independent given one of two classes."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return (rng.random((n, 30)) < np.where(y[:, None] == 1, 0.65, 0.35)).astype(float), y


def test_with_all_labels_equals_categorical_naive_bayes():
    x, y = binary_rows(400)
    ours = SemiSupervisedNaiveBayes(smoothing=1e-9).fit(x, y).predict_proba(x)
    reference = CategoricalNB(alpha=1e-9).fit(x.astype(int), y).predict_proba(x.astype(int))
    np.testing.assert_allclose(ours, reference, atol=1e-6)


def test_unlabeled_rows_help_if_the_model_is_correct():
    x, y = binary_rows(2000)
    y_masked = np.where(np.arange(2000) < 10, y, -1)
    test, truth = binary_rows(4000, seed=1)
    accuracies = [
        SemiSupervisedNaiveBayes(unlabeled_weight=w).fit(x, y_masked).score(test, truth)
        for w in (0.0, 0.1)
    ]
    bayes = SemiSupervisedNaiveBayes().fit(x, y).score(test, truth)
    assert accuracies[1] > accuracies[0] + 0.05
    assert accuracies[1] == pytest.approx(bayes, abs=0.02)  # standard error 0.004


def test_unseen_values_give_probabilities():
    x = np.array([[0.0], [0.0], [1.0], [1.0]])
    model = SemiSupervisedNaiveBayes().fit(x, np.array([0, 0, 1, 1]))
    found = model.predict_proba(np.array([[9.0], [-9.0]]))
    np.testing.assert_allclose(found.sum(axis=1), 1.0)


def test_bin_without_labeled_rows_gives_finite_probabilities():
    x = np.repeat(np.arange(6.0), 10)[:, None]
    y = np.where(np.arange(60) < 10, 0, np.where(np.arange(60) >= 50, 1, -1))
    model = SemiSupervisedNaiveBayes(unlabeled_weight=0.0).fit(x, y)
    assert np.isfinite(model.predict_proba(x)).all()


def test_tempering_shrinks_probabilities_towards_the_class_proportions():
    x, y = binary_rows(100)
    full, partial, none = (
        SemiSupervisedNaiveBayes(tempering=t).fit(x, y).predict_proba(x).max(axis=1).mean()
        for t in (1.0, 0.25, 0.0)
    )
    assert full > partial > none
    assert none == pytest.approx(max(y.mean(), 1 - y.mean()))
