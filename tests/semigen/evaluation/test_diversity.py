"""Oracles: brute force, copies, expected values for independent samples, missing modes."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from semigen.evaluation.diversity import diversity


def normal(n_rows, seed, shift=0.0, n_features=5):
    return np.random.default_rng(seed).normal(size=(n_rows, n_features)) + shift


def brute_force(synthetic, real, k):
    """Compute the definitions over all pairs."""
    between, within, own = cdist(synthetic, real), cdist(real, real), cdist(synthetic, synthetic)
    radii, synthetic_radii = np.sort(within, 1)[:, k], np.sort(own, 1)[:, k]
    is_inside = between <= radii
    return (
        is_inside.any(1).mean(),
        (synthetic_radii >= between.T).any(1).mean(),
        is_inside.sum() / (k * len(synthetic)),
        is_inside.any(0).mean(),
    )


@pytest.mark.parametrize("k", [1, 5])
def test_matches_the_definitions(k):
    synthetic, real = normal(120, 0, shift=0.7), normal(150, 1)
    found = diversity(synthetic, real, k=k)
    figures = (found.precision, found.recall, found.density, found.coverage)
    assert figures == pytest.approx(brute_force(synthetic, real, k), rel=1e-12)


def test_copies_have_perfect_scores():
    real = normal(200, 2)
    found = diversity(real[::-1], real, k=4)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    assert found.density == pytest.approx(5 / 4)


def test_independent_samples_have_the_expected_density_and_coverage():
    """Means over 40 pairs of samples; the tolerance is 3.5 standard errors."""
    found = [diversity(normal(250, 2 * i), normal(250, 2 * i + 1), k=5) for i in range(40)]
    for figures, expected in (
        ([f.density for f in found], 1.0),
        ([f.coverage for f in found], 1 - 2**-5),
    ):
        error = np.std(figures, ddof=1) / np.sqrt(len(figures))
        # With 250 rows, the coverage differs from its limit by less than 1 / 250.
        assert abs(np.mean(figures) - expected) < 3.5 * error + 1 / 250


def test_disjoint_samples_score_zero():
    found = diversity(normal(50, 3, shift=100.0), normal(60, 4))
    assert (found.precision, found.recall, found.density, found.coverage) == (0, 0, 0, 0)


def test_missing_mode_lowers_recall_and_coverage_only():
    real = np.concatenate([normal(100, 5), normal(100, 6, shift=50.0)])
    found = diversity(real[:100], real)
    assert found.precision == 1
    assert found.recall == found.coverage == 0.5


def test_invented_mode_lowers_precision_only():
    real = normal(100, 7)
    found = diversity(np.concatenate([real, normal(100, 8, shift=50.0)]), real)
    assert found.precision == 0.5
    assert found.recall == found.coverage == 1


def test_constant_columns_and_constant_rows():
    with_constant = np.column_stack([normal(60, 9), np.full(60, 3.0)])
    assert diversity(with_constant, with_constant).coverage == 1
    constant = np.full((30, 4), 0.1)
    found = diversity(constant, constant)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)


def test_small_samples_use_fewer_neighbors():
    real, synthetic = normal(40, 10), normal(3, 11)
    found = diversity(synthetic, real)
    assert (found.k, found.n_synthetic, found.n_real) == (2, 3, 40)
    assert found.coverage == pytest.approx(brute_force(synthetic, real, 2)[3])


@pytest.mark.parametrize(("n_synthetic", "n_real"), [(0, 10), (1, 10), (10, 1)])
def test_rejects_a_single_row(n_synthetic, n_real):
    with pytest.raises(ValueError, match=f"got {n_synthetic} synthetic, {n_real} real"):
        diversity(normal(n_synthetic, 0), normal(n_real, 1))
