"""Comparison with all distances, computed in float64."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import cdist

from semigen.methods import neighbors
from semigen.methods.neighbors import count_in_balls, nearest_neighbors


def normal(n_rows, n_features, seed, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=(n_rows, n_features)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("chunk_elements", [2**24, 700], ids=["one chunk", "many chunks"])
@pytest.mark.parametrize("k", [1, 3, 90])
def test_agrees_with_brute_force(monkeypatch, dtype, chunk_elements, k):
    monkeypatch.setattr(neighbors, "CHUNK_ELEMENTS", chunk_elements)
    queries, rows = normal(130, 12, 0, dtype), normal(90, 12, 1, dtype)
    distances = cdist(queries.astype(float), rows.astype(float))
    order = distances.argsort(1)[:, :k]
    found = nearest_neighbors(queries, rows, k)
    assert_array_equal(found.indices, order)
    assert_allclose(found.distances, np.take_along_axis(distances, order, 1), rtol=1e-14)


@pytest.mark.parametrize("chunk_elements", [2**24, 500])
def test_exclude_self_excludes_the_row_itself(monkeypatch, chunk_elements):
    monkeypatch.setattr(neighbors, "CHUNK_ELEMENTS", chunk_elements)
    rows = normal(60, 4, 2)
    distances = cdist(rows, rows)
    np.fill_diagonal(distances, np.inf)
    found = nearest_neighbors(rows, rows, 59, exclude_self=True)
    assert_array_equal(found.indices, distances.argsort(1)[:, :59])
    assert (found.indices != np.arange(60)[:, None]).all()


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_only_copies_have_distance_zero(offset):
    """Far from the origin, the products of two close rows are equal in all digits."""
    rows = normal(300, 30, 3) + offset
    queries = rows[::-1].copy()
    queries[:100, 7] += 1e-7
    found = nearest_neighbors(queries, rows)
    assert_array_equal(found.indices[:, 0], np.arange(300)[::-1])
    assert (found.distances[100:] == 0).all()
    assert_allclose(found.distances[:100, 0], 1e-7, rtol=1e-2)


def test_equally_distant_rows_are_sorted_by_index():
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0], [-1.0, 0.0]])
    found = nearest_neighbors(np.zeros((1, 2)), rows, 4)
    assert found.indices.tolist() == [[0, 1, 3, 2]]
    assert_allclose(found.distances[0], [1, 1, 1, np.sqrt(50)])


def test_constant_rows_have_distance_zero():
    rows = np.full((40, 3), 0.1)
    assert (nearest_neighbors(rows, rows, 7, exclude_self=True).distances == 0).all()
    assert (count_in_balls(rows, rows, np.zeros(40)) == 40).all()


@pytest.mark.parametrize("chunk_elements", [2**24, 300])
def test_counts_of_balls_agree_with_brute_force(monkeypatch, chunk_elements):
    monkeypatch.setattr(neighbors, "CHUNK_ELEMENTS", chunk_elements)
    queries, centers = normal(80, 3, 4) + 100, normal(70, 3, 5) + 100
    radii = np.random.default_rng(6).uniform(0, 2, 70)
    expected = (cdist(queries, centers) <= radii).sum(1)
    assert_array_equal(count_in_balls(queries, centers, radii), expected)


def test_row_on_the_surface_is_inside_the_ball():
    """With integers, many distances are equal to each other and to a radius."""
    rows = np.random.default_rng(7).integers(0, 3, size=(50, 6)).astype(float)
    squares = ((rows[:, None] - rows[None]) ** 2).sum(2)
    radii = np.sqrt(np.sort(squares, axis=1)[:, 5])
    expected = (squares <= np.round(radii**2)[None, :]).sum(1)
    assert_array_equal(count_in_balls(rows, rows, radii), expected)


def test_no_queries_give_an_empty_result():
    found = nearest_neighbors(np.empty((0, 3)), normal(5, 3, 0), 2)
    assert found.distances.shape == found.indices.shape == (0, 2)
    assert count_in_balls(np.empty((0, 3)), normal(5, 3, 0), np.ones(5)).shape == (0,)


@pytest.mark.parametrize(
    ("queries", "rows", "options", "message"),
    [
        (np.ones((2, 3)), np.ones((4, 3)), {"k": 5}, "k=5 neighbors of 4"),
        (
            np.ones((4, 3)),
            np.ones((4, 3)),
            {"k": 4, "exclude_self": True},
            "k=4 neighbors of 3",
        ),
        (np.ones((2, 3)), np.ones((4, 3)), {"exclude_self": True}, "2 queries are not the 4 rows"),
        (np.ones((2, 3)), np.ones((4, 2)), {}, r"queries.shape=\(2, 3\)"),
        (np.ones((2, 3)), np.empty((0, 3)), {}, "at least one of rows"),
        (np.array([[0.0], [np.nan]]), np.ones((4, 1)), {}, "queries: row 1 is not finite"),
        (np.ones((4, 1)), np.array([[np.inf]]), {}, "rows: row 0 is not finite"),
    ],
)
def test_rejects_invalid_arguments(queries, rows, options, message):
    with pytest.raises(ValueError, match=message):
        nearest_neighbors(queries, rows, **options)


def test_rejects_balls_without_a_radius():
    with pytest.raises(ValueError, match="radius for each of 4 balls"):
        count_in_balls(np.ones((2, 3)), np.ones((4, 3)), np.ones(3))
