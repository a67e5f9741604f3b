from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import make_moons
from sklearn.linear_model import LogisticRegression
from sklearn.semi_supervised import LabelSpreading

from semigen.estimators.graph import GraphClassifier
from semigen.methods.label_spreading import neighbor_graph, spread_on_graph


@pytest.fixture(scope="module")
def moons():
    x, y = make_moons(600, noise=0.07, random_state=0)
    y_masked = np.full(600, -1)
    for c in (0, 1):
        y_masked[np.flatnonzero(y == c)[:3]] = c
    return x, y, y_masked


@pytest.mark.parametrize("n_diffusions", [0, 20])
def test_labels_follow_the_shape_of_the_data(moons, n_diffusions):
    x, y, y_masked = moons
    new, truth = make_moons(600, noise=0.07, random_state=1)
    model = GraphClassifier(n_diffusions=n_diffusions).fit(x, y_masked)
    straight = LogisticRegression().fit(x[y_masked >= 0], y[y_masked >= 0])
    assert straight.score(new, truth) < 0.92
    assert model.score(new, truth) > 0.97
    np.testing.assert_allclose(model.predict_proba(new).sum(axis=1), 1.0)


def test_spreading_agrees_with_scikit_learn_on_confident_rows(moons):
    x, _, y_masked = moons
    reference = LabelSpreading(kernel="knn", n_neighbors=7, max_iter=200).fit(x, y_masked)
    ours = GraphClassifier(n_neighbors=7, n_diffusions=0).spread(x, y_masked)
    confident = reference.label_distributions_.max(axis=1) > 0.9
    assert confident.sum() > 200
    assert (ours[confident].argmax(axis=1) == reference.transduction_[confident]).mean() > 0.98


def test_precomputed_graph_gives_the_same_model(moons):
    x, _, y_masked = moons
    graph = neighbor_graph(x, 10)
    one, two = (GraphClassifier().fit(x, y_masked, graph=g).predict_proba(x) for g in (None, graph))
    np.testing.assert_array_equal(one, two)


def test_excluded_rows_do_not_influence_the_forest(moons):
    """Moving rows, but not in the graph, changes the forest only if they are training rows."""
    x, _, y_masked = moons
    graph, new = neighbor_graph(x, 10), make_moons(200, noise=0.07, random_state=1)[0]
    held_out = np.flatnonzero(y_masked < 0)[:300]
    moved = x.copy()
    moved[held_out] += 5.0
    for excluded in (held_out, None):
        here, there = (
            GraphClassifier().fit(rows, y_masked, graph, excluded).predict_proba(new)
            for rows in (x, moved)
        )
        assert np.array_equal(here, there) is (excluded is not None)


def test_spread_labels_keep_the_class_proportions():
    """Two clusters of 300 and 100 rows, whose labels have the same proportions."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, (300, 2)), rng.normal(2.2, 1, (100, 2))])
    y = np.full(400, -1)
    y[:6], y[300:302] = 0, 1
    probabilities = spread_on_graph(neighbor_graph(x, 8), y)
    assert probabilities.argmax(axis=1).mean() == pytest.approx(0.25, abs=0.03)


def test_predicts_labels_other_than_0_and_1(moons):
    x, _, y_masked = moons
    labels = np.where(y_masked < 0, -1, y_masked + 5)
    model = GraphClassifier().fit(x, labels)
    np.testing.assert_array_equal(model.classes_, [5, 6])
    assert set(model.predict(x)) == {5, 6}
