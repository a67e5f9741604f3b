from __future__ import annotations

import numpy as np
import pytest

from semigen.methods.label_spreading import guess_labels, neighbor_graph, spread_labels


def blobs(n_each: int, n_classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return well separated Gaussian clouds, one a class, rows in random order."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(n_classes), n_each))
    centers = 10.0 * np.eye(n_classes, 4)
    return centers[y] + rng.normal(size=(len(y), 4)), y


def with_labels(y: np.ndarray, n_each: int) -> np.ndarray:
    hidden = np.full_like(y, -1)
    for one in np.unique(y):
        hidden[np.flatnonzero(y == one)[:n_each]] = one
    return hidden


@pytest.mark.parametrize("n_each", [1, 5])
def test_separate_clouds_take_the_label_of_their_one_labeled_row(n_each):
    features, y = blobs(80)
    shares = spread_labels(features, with_labels(y, n_each), n_neighbors=8)
    np.testing.assert_array_equal(shares.argmax(axis=1), y)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)


def test_a_crescent_is_followed_around_its_bend():
    angle = np.linspace(0.0, np.pi, 150)
    upper = np.column_stack([np.cos(angle), np.sin(angle)])
    lower = np.column_stack([1 - np.cos(angle), 0.35 - np.sin(angle)])
    y = np.repeat([0, 1], 150)
    hidden = np.full(300, -1)
    hidden[[0, 150]] = 0, 1
    shares = spread_labels(np.concatenate([upper, lower]), hidden, n_neighbors=5)
    np.testing.assert_array_equal(shares.argmax(axis=1), y)


def test_labeled_rows_keep_their_label_even_among_strangers():
    features, y = blobs(60)
    hidden = with_labels(y, 3)
    odd = np.flatnonzero((y == 0) & (hidden < 0))[0]
    hidden[odd] = 2
    assert spread_labels(features, hidden).argmax(axis=1)[odd] == 2


def test_rows_beyond_the_graphs_size_are_left_out(monkeypatch):
    monkeypatch.setattr("semigen.methods.label_spreading.MAX_GRAPH_ROWS", 50)
    features, y = blobs(80)
    hidden = with_labels(y, 2)
    shares = spread_labels(features, hidden, n_neighbors=5)
    known = shares.sum(axis=1) > 0
    assert known[hidden >= 0].all()
    assert 6 < known.sum() <= 6 + 50
    np.testing.assert_array_equal(shares[known].argmax(axis=1), y[known])


def test_graph_is_symmetric_and_local():
    features, y = blobs(40)
    graph = neighbor_graph(features, 6)
    assert abs(graph - graph.T).max() == 0
    rows, columns = graph.nonzero()
    assert (y[rows] == y[columns]).all()
    assert (graph.diagonal() == 0).all()


def test_the_surest_unlabeled_rows_get_a_guess():
    features, y = blobs(80)
    hidden = with_labels(y, 5)
    guess = guess_labels(features, hidden, n_neighbors=8, confident_share=0.5)
    assert (guess[hidden >= 0] == -1).all()
    is_guessed = guess >= 0
    assert is_guessed[hidden < 0].mean() >= 0.5
    np.testing.assert_array_equal(guess[is_guessed], y[is_guessed])
    assert (guess_labels(features, y, n_neighbors=8, confident_share=0.5) == -1).all()
