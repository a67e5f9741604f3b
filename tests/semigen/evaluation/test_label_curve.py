"""Oracles: curves whose law is known, and intervals of a simulated mean."""

import numpy as np
import pytest

from semigen.errors import UserError
from semigen.evaluation.label_curve import (
    Fit,
    check_budgets,
    default_budgets,
    forecast,
    label_order,
    mean_estimate,
    min_budget,
    summarize,
)

Y = np.repeat([0, 1, 2], [40, 9, 1])


def test_default_budgets_are_quarters_with_two_labels_of_each_class():
    assert default_budgets(np.repeat([0, 1], 50)) == (25, 50, 75, 100)
    assert min_budget(Y) == 5
    assert default_budgets(np.repeat(np.arange(10), 5)) == (20, 25, 38, 50)
    assert default_budgets(np.array([0, 0, 1, 1])) == (4,)


def test_every_prefix_of_the_order_is_stratified():
    for seed in range(20):
        order = label_order(Y, seed)
        assert sorted(order) == list(range(50))
        assert np.bincount(Y[order[:5]]).tolist() == [2, 2, 1]
        assert abs(np.bincount(Y[order[:25]], minlength=3)[1] - 4.5) <= 1


def test_order_depends_on_the_seed_only():
    assert (label_order(Y, 1) == label_order(Y, 1)).all()
    assert (label_order(Y, 1) != label_order(Y, 2)).any()


@pytest.mark.parametrize(("row_spread", "draw_spread"), [(0.3, 0.0), (0.3, 0.05), (0.0, 0.0)])
def test_interval_of_the_mean_has_its_coverage(row_spread, draw_spread):
    """The standard error of a coverage of 0.95 over 400 trials is 0.011; three are allowed."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(400):
        rows = rng.uniform(-row_spread, row_spread, 150)
        draws = rng.uniform(-draw_spread, draw_spread, (3, 1))
        hits = rng.random((3, 150)) < 0.7 + rows + draws
        estimate = mean_estimate(hits.astype(float))
        covered.append(estimate.low <= 0.7 <= estimate.high)
    assert np.mean(covered) >= 0.95 - 3 * 0.011


def test_proportion_of_one_has_the_exact_interval_and_differences_may_be_negative():
    estimate = mean_estimate(np.ones((3, 100)))
    assert (estimate.value, estimate.high) == (1, 1)
    assert estimate.low == pytest.approx(0.025**0.01)
    worse = mean_estimate(
        np.random.default_rng(0).choice([-1.0, 0.0, 1.0], (3, 50), p=[0.5, 0.4, 0.1])
    )
    assert -1 < worse.low < worse.value < worse.high < 0
    equal = mean_estimate(np.zeros((3, 50)))
    assert equal.low == equal.value == 0


def test_single_draw_has_the_interval_over_rows():
    hits = np.repeat([[1.0, 0.0]], [80, 20], axis=1)
    estimate = mean_estimate(hits)
    assert (estimate.high - estimate.low) / 2 == pytest.approx(1.984 * np.sqrt(0.16 / 99), rel=1e-3)


def hits_of(errors, n_draws=5, n_rows=2000, seed=0):
    rng = np.random.default_rng(seed)
    return {n: rng.random((n_draws, n_rows)) >= error for n, error in errors.items()}


@pytest.mark.parametrize(("floor", "slope"), [(0.0, 0.5), (0.05, 0.7), (0.0, 1.0)])
def test_forecast_covers_the_gain_of_a_power_law(floor, slope):
    def error(n):
        return floor + 1.5 * n**-slope

    found = forecast(hits_of({n: error(n) for n in (25, 50, 75, 100)}), n_more=100)
    truth = error(100) - error(200)
    assert found.gain.low <= truth <= found.gain.high
    assert 0 < found.gain.value < 2.5 * truth
    assert found.gain.high - found.gain.low < 0.1


def test_flat_curve_has_a_forecast_around_zero():
    found = forecast(hits_of(dict.fromkeys((25, 50, 75, 100), 0.2)), n_more=100)
    assert found.gain.low < 0 < found.gain.high
    assert abs(found.gain.value) < 0.02


def test_forecast_is_wider_with_few_test_rows():
    errors = {n: 1.5 * n**-0.5 for n in (25, 50, 75, 100)}
    few = forecast(hits_of(errors, n_draws=1, n_rows=40), n_more=100).gain
    many = forecast(hits_of(errors), n_more=100).gain
    assert few.high - few.low > 1.5 * (many.high - many.low)


def test_forecast_is_wider_if_draws_share_all_labels():
    rng = np.random.default_rng(0)
    by_draw = {25: [0.2] * 12, 50: [0.15, 0.2, 0.25] * 4, 100: [0.2] * 12}
    hits = {n: rng.random((12, 2000)) >= np.array(e)[:, None] for n, e in by_draw.items()}
    some, every = (forecast(hits, n_more=100, n_all=n).gain for n in (None, 100))
    assert every.high - every.low > 1.3 * (some.high - some.low)


def test_forecast_needs_two_budgets_and_accepts_errors_of_zero():
    assert forecast(hits_of({50: 0.1}), n_more=50) is None
    found = forecast(hits_of({25: 0.0, 50: 0.0}, n_rows=30), n_more=50)
    assert found.gain.low == pytest.approx(0, abs=1e-9)


def test_check_budgets_sorts_and_rejects_numbers_out_of_range():
    y = np.repeat([0, 1], 12)
    assert check_budgets([18, 6, 18], y) == (6, 18)
    assert check_budgets(None, y) == check_budgets([], y) == (6, 12, 18, 24)
    for n_labeled in (3, 25):
        with pytest.raises(UserError, match=rf"budgets: {n_labeled} is not between 4 .* and 24"):
            check_budgets([12, n_labeled], y)


def test_summary_of_unfinished_draws_uses_what_is_there():
    hits = np.array([[True, True, False], [True, False, False]])
    fits = [Fit(4, 1, 1.0, ~hits), Fit(4, 0, 1.0, hits), Fit(8, 0, 1.0, hits)]
    curve = summarize(fits, n_labels=8)
    assert [(p.learner, p.n_labeled, p.n_draws) for p in curve.points] == [
        ("semigen", 4, 2), ("semigen", 8, 1), ("labels only", 4, 2), ("labels only", 8, 1),
    ]  # fmt: skip
    assert [p.accuracy.value for p in curve.points] == pytest.approx([1 / 2, 2 / 3, 1 / 2, 1 / 3])
    assert [g.gain.value for g in curve.gains] == pytest.approx([0, 1 / 3])
    assert curve.forecast is None and curve.n_test == 3


def test_summary_of_unfinished_draws_forecasts_from_the_finished_ones():
    rng = np.random.default_rng(0)
    fits = [Fit(n, 0, 1.0, rng.random((2, 30)) < 0.8) for n in (10, 20, 30)]
    curve = summarize([Fit(10, 1, 1.0, fits[0].hits), *fits], n_labels=30)
    assert curve.forecast is not None and curve.forecast.n_more == 30
    assert summarize(fits[:2], n_labels=30).forecast is None
