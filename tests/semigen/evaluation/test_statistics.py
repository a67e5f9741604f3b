"""Oracles: formulas written out, published examples, and coverage over repeated samples."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import beta, norm
from sklearn.metrics import roc_auc_score

from semigen.evaluation.statistics import holm, proportion, proportion_from_error, roc_auc


def normal(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=n)


@pytest.mark.parametrize(("k", "n"), [(0, 3), (3, 3), (17, 40), (999, 1000)])
def test_wilson_interval_solves_the_score_equation(k, n):
    """The limits are the rates whose score test has exactly the observed |z| (Wilson 1927)."""
    found = proportion(k, n, 0.9)
    z = norm.ppf(0.95)
    for limit in (found.low, found.high):
        distance = abs(k / n - limit)
        assert distance == pytest.approx(z * np.sqrt(limit * (1 - limit) / n), abs=1e-9) or (
            limit in (0, 1) and distance == 0
        )
    assert found.value == k / n


def test_exact_interval_is_that_of_clopper_and_pearson():
    """30 of 30 has the limit 0.025 ** (1 / 30); others are quantiles of the beta distribution."""
    assert proportion(30, 30, method="exact").low == pytest.approx(0.025 ** (1 / 30))
    assert proportion(0, 30, method="exact").high == pytest.approx(1 - 0.025 ** (1 / 30))
    found = proportion(7, 21, method="exact")
    expected = beta.ppf(0.025, 7, 15), beta.ppf(0.975, 8, 14)
    assert (found.low, found.high) == pytest.approx(expected)


def test_normal_interval_is_clipped_and_exact_at_the_ends():
    assert astuple(proportion_from_error(0.5, 0.1, 30)) == pytest.approx(
        (0.5, 0.304, 0.696), abs=1e-3
    )
    assert proportion_from_error(0.95, 0.1, 30).high == 1
    assert proportion_from_error(1.0, 0.0, 30) == proportion(30, 30, method="exact")
    assert proportion_from_error(0.0, 0.0, 30) == proportion(0, 30, method="exact")


@pytest.mark.parametrize("decimals", [10, 0], ids=["no ties", "ties"])
def test_area_counts_ordered_pairs(decimals):
    positive, negative = normal(40, 11) + 0.5, normal(55, 12)
    positive, negative = positive.round(decimals), negative.round(decimals)
    expected = roc_auc_score(np.repeat([1, 0], [40, 55]), np.concatenate([positive, negative]))
    assert roc_auc(positive, negative).value == pytest.approx(expected, rel=1e-12)
    assert roc_auc(negative, positive).value == pytest.approx(1 - expected, rel=1e-12)


def test_interval_is_delongs():
    """The variance over all pairs as in DeLong et al. (1988), eq. 2 to 5."""
    positive, negative = normal(30, 13) + 1, normal(20, 14)
    ordered = (positive[:, None] > negative).astype(float)
    variance = ordered.mean(1).var(ddof=1) / 30 + ordered.mean(0).var(ddof=1) / 20
    margin = norm.ppf(0.95) * np.sqrt(variance)
    found = roc_auc(positive, negative, confidence=0.9)
    assert_allclose(
        astuple(found), [ordered.mean(), ordered.mean() - margin, ordered.mean() + margin]
    )


def test_interval_covers_the_true_area():
    """Normal scores one standard deviation apart have area Phi(1 / sqrt(2)); 500 trials."""
    truth, n_covered = norm.cdf(1 / np.sqrt(2)), 0
    for trial in range(500):
        rng = np.random.default_rng(trial)
        found = roc_auc(rng.normal(size=80) + 1, rng.normal(size=60))
        n_covered += found.low <= truth <= found.high
    assert abs(n_covered / 500 - 0.95) < 3.5 * 0.0097


def test_perfect_ranking_has_the_exact_binomial_interval():
    found = roc_auc(np.arange(30.0) + 100, np.arange(50.0))
    # Clopper & Pearson: 30 of 30 has the lower limit 0.025 ** (1 / 30) = 0.8843.
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(0.8843, abs=5e-5)
    assert roc_auc(np.arange(50.0), np.arange(30.0) + 100).high == pytest.approx(
        1 - 0.8843, abs=5e-5
    )


def test_holm_adjusts_as_in_the_textbook():
    """Holm (1979) on 0.01, 0.04, 0.03, 0.005: 4 * 0.005, 3 * 0.01, 2 * 0.03, and no less after."""
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1, 1])
    p_values = np.array([0.01, 0.02])
    assert (holm(p_values) >= p_values).all()
