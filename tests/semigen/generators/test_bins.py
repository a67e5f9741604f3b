from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semigen.generators.bins import MIN_ROWS, NumericBins, RowBins
from semigen.generators.code_logits import padding_bias, sample_codes
from semigen.tables.encoding import Span
from semigen.training.compute import seeded
from tests.semigen.example_tables import encoder_of, mixed_table

ONE = [Span("x", 0, 1, "numeric")]


def spiked(n: int, seed: int = 0) -> np.ndarray:
    """Return a column of which half is 0, a tenth is 7, and the rest log-normal."""
    rng = np.random.default_rng(seed)
    kind = rng.random(n)
    smooth = rng.lognormal(0, 1, n)
    return np.where(kind < 0.5, 0.0, np.where(kind < 0.6, 7.0, smooth)).astype(np.float32)


def resampled(values: np.ndarray, max_bins: int = 20) -> np.ndarray:
    """Return new values, sampled from the bins of the values."""
    bins = RowBins.fit(values[:, None], ONE, max_bins)
    codes = torch.from_numpy(bins.encode(values[:, None]))
    with seeded(0):
        return bins.decode(list(codes.T))[:, 0].numpy()


def test_sampled_values_have_the_distribution_of_the_column():
    values = spiked(20_000)
    again = resampled(values)
    for atom in (0.0, 7.0):
        assert (again == atom).sum() == (values == atom).sum()
    # Every value stays in its bin; a bin has up to 2 % of the rows.
    points = np.quantile(values, np.linspace(0.01, 0.99, 50))
    shares = [np.searchsorted(np.sort(v), points, side="right") / len(v) for v in (values, again)]
    assert np.abs(shares[0] - shares[1]).max() < 0.02


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 400), st.integers(2, 40), st.integers(0, 1000))
def test_decoded_rows_have_the_same_codes(n_rows, max_bins, seed):
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(size=n_rows), int(rng.integers(0, 4))).astype(np.float32)
    bins = RowBins.fit(values[:, None], ONE, max_bins)
    codes = bins.encode(values[:, None])
    assert codes.max() < bins.n_codes[0] <= max(2, max_bins)
    x = bins.decode(list(torch.from_numpy(codes).T)).numpy()
    np.testing.assert_array_equal(bins.encode(x), codes)
    assert values.min() <= x.min()
    assert x.max() <= values.max()


def test_decoded_rows_of_a_mixed_table_differ_only_within_bins():
    encoder = encoder_of(mixed_table(300, missing=0.1))
    x = encoder.transform(mixed_table(300, missing=0.1))
    bins = RowBins.fit(x, encoder.spans_, 50)
    again = bins.decode(list(torch.from_numpy(bins.encode(x)).T)).numpy()
    other = [i for s in encoder.spans_ if s.kind != "numeric" for i in range(s.start, s.stop)]
    np.testing.assert_array_equal(again[:, other], x[:, other])
    numeric = [s.start for s in encoder.spans_ if s.kind == "numeric"]
    assert np.median(np.abs(again[:, numeric] - x[:, numeric])) < 0.05


def test_values_of_few_rows_are_not_reproduced():
    rng = np.random.default_rng(0)
    values = rng.normal(size=1000).astype(np.float32)
    values[: MIN_ROWS - 1] = 0.123
    bins = NumericBins.fit(values, 50)
    inside = (bins.low > values.min()) & (bins.low < values.max())
    assert not np.isin(bins.low[inside], values).any()
    assert not np.isin(resampled(values), values).any()
    values[:MIN_ROWS] = 0.123
    assert np.float32(0.123) in NumericBins.fit(values, 50).low


def test_density_integrates_to_the_mass_of_the_intervals():
    values = spiked(5000)
    bins = NumericBins.fit(values, 20)
    shares = np.bincount(bins.bin_of, bins.share)
    edges = np.linspace(values.min(), values.max(), 2_000_001)
    grid = (0.5 * (edges[1:] + edges[:-1])).astype(np.float32)
    cells = bins.cells(grid)
    density = np.exp(bins.log_density(grid, cells)) * shares[bins.bin_of[cells]]
    mass = density.sum() * (edges[1] - edges[0])
    smooth = ((values != 0) & (values != 7)).mean()
    assert mass == pytest.approx(smooth, abs=2e-3)


def test_density_falls_outside_the_range_of_the_training_rows():
    values = spiked(1000)
    bins = RowBins.fit(values[:, None], ONE, 20)
    far = (values.max() + np.arange(4, dtype=np.float32))[:, None]
    assert (np.diff(bins.log_density(far)) < -0.5).all()


def test_frequent_values_have_their_own_bin():
    bins = NumericBins.fit(spiked(5000), 10)
    for atom in (0.0, 7.0):
        (cell,) = np.flatnonzero((bins.low == atom) & (bins.high == atom))
        assert (bins.bin_of == bins.bin_of[cell]).sum() == 1
    assert bins.n_bins == 10


def test_constant_column_has_one_bin():
    values = np.full(30, 2.5, np.float32)
    assert NumericBins.fit(values, 10).n_bins == 1
    np.testing.assert_array_equal(resampled(values), values)


def test_saved_bins_are_equal():
    values = spiked(500)[:, None]
    bins = RowBins.fit(values, ONE, 20)
    again = RowBins.from_arrays(bins.arrays(), ONE)
    np.testing.assert_array_equal(again.encode(values), bins.encode(values))
    np.testing.assert_array_equal(again.log_density(values), bins.log_density(values))


def test_sampled_codes_have_the_probabilities_of_their_logits():
    shares, n = torch.tensor([0.5, 0.0, 0.3, 0.2]), 40_000
    with seeded(0):
        codes = sample_codes(shares.log().expand(n, 4))
    found = torch.bincount(codes, minlength=4) / n
    errors = (shares * (1 - shares) / n).sqrt()
    assert ((found - shares).abs() <= 4 * errors).all()


def test_padding_has_no_probability():
    assert (padding_bias([5, 8], 8).softmax(1) > 0).sum(1).tolist() == [5, 8]
