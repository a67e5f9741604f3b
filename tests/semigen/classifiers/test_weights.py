from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from semigen.classifiers.weights import (
    EVIDENCE_PER_NAT,
    MIN_WEIGHT,
    PRIOR_ROWS,
    committee_weights,
    evidence_weights,
    mixture_weights,
)


def likelihoods(seed: int = 0, n_repeats: int = 2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.beta([3, 2, 1], [1, 1, 1], (n_repeats, 30, 3))


def test_evidence_weights_are_tempered_likelihood_ratios():
    p = likelihoods(n_repeats=1)
    weights = evidence_weights(p)
    nats = np.log(p[0, :, 0] / p[0, :, 1]).sum()
    assert weights[0] / weights[1] == pytest.approx(np.exp(EVIDENCE_PER_NAT * nats))
    assert weights.sum() == pytest.approx(1.0)


def test_mixture_weights_maximize_the_posterior():
    p = likelihoods()

    def loss(logits):
        w = np.exp(logits) / np.exp(logits).sum()
        return -np.log(p @ w).mean(axis=0).sum() - PRIOR_ROWS / 3 * np.log(w).sum()

    best = minimize(loss, np.zeros(3), tol=1e-12).x
    np.testing.assert_allclose(mixture_weights(p), np.exp(best) / np.exp(best).sum(), atol=1e-4)


def test_repeats_do_not_count_as_further_rows():
    p = likelihoods(n_repeats=1)
    np.testing.assert_allclose(committee_weights(np.repeat(p, 5, axis=0)), committee_weights(p))


def test_equal_learners_have_equal_weights_and_a_poor_one_has_none():
    p = np.full((1, 200, 3), 0.8)
    p[:, :, 2] = 1e-3
    weights = committee_weights(p)
    assert weights[0] == weights[1] > 0.45
    p = np.concatenate([p[:, :, :2], np.full((1, 2000, 2), 0.8)], axis=1)[:, :200]
    np.testing.assert_allclose(committee_weights(p), [0.5, 0.5])


def test_small_weights_are_dropped_unless_all_are_small():
    many = np.random.default_rng(0).uniform(0.4, 0.6, (1, 20, 300))
    assert committee_weights(many).sum() == pytest.approx(1.0)
    few = committee_weights(likelihoods())
    assert ((few == 0) | (few >= MIN_WEIGHT)).all()
