"""Copies and independent rows are the oracles of what the stage says of synthetic rows."""

import json

import numpy as np
import pytest

from tasks.augment import MAX_ROWS_COMPARED, compare
from tests.semigen.example_tables import TARGET, encoder_of, mixed_table

N_HELD_OUT = 60


@pytest.fixture(scope="module")
def real():
    """A table, its encoder, and the places of the rows that no generator learned from."""
    table = mixed_table(600, seed=0, missing=0.05)
    held_out = np.sort(np.random.default_rng(1).choice(600, N_HELD_OUT, replace=False))
    return table.drop(columns=TARGET), encoder_of(table), held_out


def features(n_rows, seed):
    return mixed_table(n_rows, seed, missing=0.05).drop(columns=TARGET)


def test_copies_of_training_rows_are_called_a_leak(real):
    table, encoder, held_out = real
    copies = table.drop(index=held_out)
    found = compare(encoder, copies, encoder.transform(table), held_out, seed=0)
    assert found["privacy"]["closest_record"]["copies_share"] == 1
    assert all(attack["low"] > 0.5 for attack in found["privacy"]["attacks"].values())
    assert found["diversity"]["precision"] > 0.99
    assert (found["privacy"]["n_members"], found["privacy"]["n_held_out"]) == (540, N_HELD_OUT)


def test_new_rows_of_the_same_source_are_none(real):
    table, encoder, held_out = real
    found = compare(encoder, features(500, 2), encoder.transform(table), held_out, seed=0)
    for attack in found["privacy"]["attacks"].values():
        assert attack["low"] <= 0.5 <= attack["high"]
    # Expected is 1 - 2 ** -5 = 0.969; of 500 rows its standard error is below 0.01.
    assert 0.93 < found["diversity"]["coverage"] <= 1
    assert found["diversity"]["n_real"] == found["diversity"]["n_synthetic"] == 500


def test_equal_inputs_give_equal_bytes(real):
    table, encoder, held_out = real
    given = (encoder, features(100, 3), encoder.transform(table), held_out)
    first, second = (json.dumps(compare(*given, seed=4), allow_nan=False) for _ in range(2))
    assert first == second


def test_large_tables_are_thinned(real, monkeypatch):
    table, encoder, held_out = real
    assert MAX_ROWS_COMPARED >= 1000
    monkeypatch.setattr("tasks.augment.MAX_ROWS_COMPARED", 50)
    found = compare(encoder, features(200, 5), encoder.transform(table), held_out, seed=0)
    assert found["diversity"]["n_real"] == found["diversity"]["n_synthetic"] == 50
    assert [found["privacy"][n] for n in ("n_synthetic", "n_members", "n_held_out")] == [50] * 3


@pytest.mark.parametrize(
    ("n_synthetic", "n_held_out", "measured"),
    [(0, 60, []), (1, 60, ["privacy"]), (30, 3, ["diversity"]), (30, 0, ["diversity"])],
)
def test_what_too_few_rows_cannot_show_is_left_open(real, n_synthetic, n_held_out, measured):
    table, encoder, held_out = real
    synthetic = features(40, 6).head(n_synthetic)
    found = compare(encoder, synthetic, encoder.transform(table), held_out[:n_held_out], seed=0)
    assert [name for name, figures in found.items() if figures] == measured
