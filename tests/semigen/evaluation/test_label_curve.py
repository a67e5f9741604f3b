"""Oracles: curves whose law is known, and intervals of a simulated mean."""

import numpy as np
import pytest

from semigen.evaluation.label_curve import (
    default_budgets,
    forecast,
    label_order,
    least_budget,
    mean_estimate,
)

Y = np.repeat([0, 1, 2], [40, 9, 1])


def test_budgets_are_quarters_with_two_labels_of_each_class_where_there_are():
    assert default_budgets(np.repeat([0, 1], 50)) == (25, 50, 75, 100)
    assert least_budget(Y) == 5
    assert default_budgets(np.repeat(np.arange(10), 5)) == (20, 25, 38, 50)
    assert default_budgets(np.array([0, 0, 1, 1])) == (4,)


def test_first_rows_hold_every_class_in_its_share():
    for seed in range(20):
        order = label_order(Y, seed)
        assert sorted(order) == list(range(50))
        assert np.bincount(Y[order[:5]]).tolist() == [2, 2, 1]
        assert abs(np.bincount(Y[order[:25]], minlength=3)[1] - 4.5) <= 1


def test_draws_differ_and_equal_seeds_do_not():
    assert (label_order(Y, 1) == label_order(Y, 1)).all()
    assert (label_order(Y, 1) != label_order(Y, 2)).any()


@pytest.mark.parametrize(("row_spread", "draw_spread"), [(0.3, 0.0), (0.3, 0.05), (0.0, 0.0)])
def test_intervals_hold_the_mean_as_often_as_they_say(row_spread, draw_spread):
    """Over 400 trials the standard error of a coverage of 0.95 is 0.011; 3 of them are allowed."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(400):
        rows = rng.uniform(-row_spread, row_spread, 150)
        draws = rng.uniform(-draw_spread, draw_spread, (3, 1))
        hits = rng.random((3, 150)) < 0.7 + rows + draws
        estimate = mean_estimate(hits.astype(float))
        covered.append(estimate.low <= 0.7 <= estimate.high)
    assert np.mean(covered) >= 0.95 - 3 * 0.011


def test_a_share_of_one_has_the_binomial_interval_and_a_difference_may_be_negative():
    estimate = mean_estimate(np.ones((3, 100)))
    assert (estimate.value, estimate.high) == (1, 1)
    assert estimate.low == pytest.approx(0.025**0.01)
    worse = mean_estimate(
        np.random.default_rng(0).choice([-1.0, 0.0, 1.0], (3, 50), p=[0.5, 0.4, 0.1])
    )
    assert -1 < worse.low < worse.value < worse.high < 0
    equal = mean_estimate(np.zeros((3, 50)))
    assert equal.low == equal.value == 0


def test_a_single_draw_has_the_interval_of_its_rows():
    hits = np.repeat([[1.0, 0.0]], [80, 20], axis=1)
    estimate = mean_estimate(hits)
    assert (estimate.high - estimate.low) / 2 == pytest.approx(1.984 * np.sqrt(0.16 / 99), rel=1e-3)


def hits_of(errors, n_draws=5, n_rows=2000, seed=0):
    rng = np.random.default_rng(seed)
    return {n: rng.random((n_draws, n_rows)) >= error for n, error in errors.items()}


@pytest.mark.parametrize(("floor", "slope"), [(0.0, 0.5), (0.05, 0.7), (0.0, 1.0)])
def test_forecast_holds_what_a_power_law_gives(floor, slope):
    def error(n):
        return floor + 1.5 * n**-slope

    found = forecast(hits_of({n: error(n) for n in (25, 50, 75, 100)}), n_more=100)
    truth = error(100) - error(200)
    assert found.gain.low <= truth <= found.gain.high
    assert 0 < found.gain.value < 2.5 * truth
    assert found.gain.high - found.gain.low < 0.1


def test_a_flat_curve_promises_nothing():
    found = forecast(hits_of(dict.fromkeys((25, 50, 75, 100), 0.2)), n_more=100)
    assert found.gain.low < 0 < found.gain.high
    assert abs(found.gain.value) < 0.02


def test_few_test_rows_make_the_forecast_vague():
    errors = {n: 1.5 * n**-0.5 for n in (25, 50, 75, 100)}
    few = forecast(hits_of(errors, n_draws=1, n_rows=40), n_more=100).gain
    many = forecast(hits_of(errors), n_more=100).gain
    assert few.high - few.low > 1.5 * (many.high - many.low)


def test_forecast_is_vaguer_where_draws_cannot_tell_which_labels_matter():
    rng = np.random.default_rng(0)
    by_draw = {25: [0.2] * 12, 50: [0.15, 0.2, 0.25] * 4, 100: [0.2] * 12}
    hits = {n: rng.random((12, 2000)) >= np.array(e)[:, None] for n, e in by_draw.items()}
    some, every = (forecast(hits, n_more=100, n_all=n).gain for n in (None, 100))
    assert every.high - every.low > 1.3 * (some.high - some.low)


def test_forecast_needs_two_numbers_of_labels_and_survives_perfect_ones():
    assert forecast(hits_of({50: 0.1}), n_more=50) is None
    found = forecast(hits_of({25: 0.0, 50: 0.0}, n_rows=30), n_more=50)
    assert found.gain.low == pytest.approx(0, abs=1e-9)
    assert str(forecast(hits_of({25: 0.3, 50: 0.2}), n_more=50)).startswith(
        "50 more labels would be worth +"
    )
