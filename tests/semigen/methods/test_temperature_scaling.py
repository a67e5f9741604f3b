from __future__ import annotations

import numpy as np
import pytest

from semigen.methods.temperature_scaling import log_loss, scale_temperature

P = np.random.default_rng(0).dirichlet([0.5, 1.0, 2.0], 50)


def test_temperature_one_changes_nothing_and_powers_are_normalized():
    np.testing.assert_allclose(scale_temperature(P, 1.0, 1e-30), P)
    for temperature in (0.2, 3.0):
        powers = P ** (1 / temperature)
        expected = powers / powers.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(scale_temperature(P, temperature, 1e-30), expected)


def test_zero_is_raised_to_the_minimum():
    scaled = scale_temperature(np.array([[1.0, 0.0]]), 1.0, 1e-4)
    assert scaled[0, 1] == pytest.approx(1e-4 / (1 + 1e-4))


def test_log_loss_of_repeats_is_their_mean():
    y = np.arange(50) % 3
    flipped = P[:, ::-1]
    both = log_loss(np.stack([P, flipped]), y)
    assert both == pytest.approx((log_loss(P, y) + log_loss(flipped, y)) / 2)
    assert log_loss(P, y) == pytest.approx(-np.log(P[np.arange(50), y]).mean())
