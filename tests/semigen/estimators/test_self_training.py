from __future__ import annotations

import numpy as np
from sklearn.datasets import make_moons
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from semigen.estimators.consistency import ConsistencyNetwork
from semigen.estimators.self_training import BalancedSelfTraining, _most_confident

UNLABELED_IS_MINUS_ONE = "-1 marks unlabeled rows and is a class in this check"


@parametrize_with_checks(
    [BalancedSelfTraining(), ConsistencyNetwork(n_steps=60, hidden_dims=(16,))],
    expected_failed_checks=lambda _: {"check_classifiers_classes": UNLABELED_IS_MINUS_ONE},
)
def test_sklearn_compatible(estimator, check):
    check(estimator)


def unbalanced(n: int = 500, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of two overlapping classes, 80 % of them of the first."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.2).astype(int)
    return rng.normal(size=(n, 5)) + 0.8 * y[:, None], y


def test_with_all_labels_equals_the_base_classifier():
    x, y = unbalanced()
    ours = BalancedSelfTraining().fit(x, y).predict_proba(x)
    reference = LogisticRegression(max_iter=1000).fit(x, y).predict_proba(x)
    np.testing.assert_array_equal(ours, reference)


def test_pseudo_labels_keep_the_class_proportions():
    x, y = unbalanced()
    y_masked = np.where(np.arange(500) < 40, y, -1)
    model = BalancedSelfTraining(max_share=0.5).fit(x, y_masked)
    counts = np.bincount(model.pseudo_labels_[40:][model.pseudo_labels_[40:] >= 0])
    proportions = np.bincount(y[:40]) / 40
    assert (counts <= np.round(0.5 * 460 * proportions)).all() and counts[1] > 0
    assert (model.pseudo_labels_[:40] == y[:40]).all()


def test_chooses_the_most_confident_rows_of_each_class():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.3, 0.7]])
    rows, codes = _most_confident(probabilities, np.array([0.5, 0.25]))
    np.testing.assert_array_equal(rows, [0, 2, 3])
    np.testing.assert_array_equal(codes, [0, 0, 1])


def moons(n_labeled: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = make_moons(600, noise=0.07, random_state=0)
    y_masked = np.full(600, -1)
    for c in (0, 1):
        y_masked[np.flatnonzero(y == c)[: n_labeled // 2]] = c
    return x, y_masked


def test_adversarial_network_follows_the_shape_of_the_data():
    x, y_masked = moons(16)
    new, truth = make_moons(2000, noise=0.07, random_state=1)
    plain = ConsistencyNetwork(consistency=0.0).fit(x, y_masked)
    smooth = ConsistencyNetwork(smoothness=1.0, information=0.3, radius=1.0).fit(x, y_masked)
    assert plain.score(new, truth) < 0.97 < 0.99 < smooth.score(new, truth)


def test_mixing_is_accurate():
    x, y_masked = moons(300)
    new, truth = make_moons(500, noise=0.07, random_state=1)
    assert ConsistencyNetwork(mixing=True).fit(x, y_masked).score(new, truth) > 0.85


def test_equal_seeds_give_equal_networks_without_touching_the_global_generator():
    import torch

    x, y = unbalanced(100)
    state = torch.get_rng_state()
    one, two = (ConsistencyNetwork(n_steps=20).fit(x, y).predict_proba(x) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert torch.equal(state, torch.get_rng_state())
