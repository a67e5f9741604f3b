from __future__ import annotations

import numpy as np
import pytest

from semigen.methods.label_spreading import guess_labels, neighbor_graph, spread_labels


def blobs(n_each: int, n_classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return well-separated Gaussian clusters, one for each class, in random order."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(n_classes), n_each))
    centers = 10.0 * np.eye(n_classes, 4)
    return centers[y] + rng.normal(size=(len(y), 4)), y


def mask_labels(y: np.ndarray, n_each: int) -> np.ndarray:
    y_masked = np.full_like(y, -1)
    for one in np.unique(y):
        y_masked[np.flatnonzero(y == one)[:n_each]] = one
    return y_masked


@pytest.mark.parametrize("n_each", [1, 5])
def test_separated_clusters_take_the_label_of_their_labeled_rows(n_each):
    features, y = blobs(80)
    probabilities = spread_labels(features, mask_labels(y, n_each), n_neighbors=8)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), y)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)


def test_labels_follow_crescents():
    angle = np.linspace(0.0, np.pi, 150)
    upper = np.column_stack([np.cos(angle), np.sin(angle)])
    lower = np.column_stack([1 - np.cos(angle), 0.35 - np.sin(angle)])
    y = np.repeat([0, 1], 150)
    y_masked = np.full(300, -1)
    y_masked[[0, 150]] = 0, 1
    probabilities = spread_labels(np.concatenate([upper, lower]), y_masked, n_neighbors=5)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), y)


def test_labeled_row_keeps_its_label_among_rows_of_another_class():
    features, y = blobs(60)
    y_masked = mask_labels(y, 3)
    odd = np.flatnonzero((y == 0) & (y_masked < 0))[0]
    y_masked[odd] = 2
    assert spread_labels(features, y_masked).argmax(axis=1)[odd] == 2


def test_graph_has_at_most_max_graph_rows_unlabeled_rows(monkeypatch):
    monkeypatch.setattr("semigen.methods.label_spreading.MAX_GRAPH_ROWS", 50)
    features, y = blobs(80)
    y_masked = mask_labels(y, 2)
    probabilities = spread_labels(features, y_masked, n_neighbors=5)
    is_in_graph = probabilities.sum(axis=1) > 0
    assert is_in_graph[y_masked >= 0].all()
    assert 6 < is_in_graph.sum() <= 6 + 50
    np.testing.assert_array_equal(probabilities[is_in_graph].argmax(axis=1), y[is_in_graph])


def test_graph_is_symmetric_and_connects_rows_of_a_cluster():
    features, y = blobs(40)
    graph = neighbor_graph(features, 6)
    assert abs(graph - graph.T).max() == 0
    rows, columns = graph.nonzero()
    assert (y[rows] == y[columns]).all()
    assert (graph.diagonal() == 0).all()


def test_most_confident_unlabeled_rows_get_a_label():
    features, y = blobs(80)
    y_masked = mask_labels(y, 5)
    guess = guess_labels(features, y_masked, n_neighbors=8, confident_share=0.5)
    assert (guess[y_masked >= 0] == -1).all()
    is_guessed = guess >= 0
    assert is_guessed[y_masked < 0].mean() >= 0.5
    np.testing.assert_array_equal(guess[is_guessed], y[is_guessed])
    assert (guess_labels(features, y, n_neighbors=8, confident_share=0.5) == -1).all()
