"""Evaluation of copies of real rows, and of independent rows, by the stage ``augment``."""

import json

import numpy as np
import pytest

from tasks.augment import MAX_ROWS_COMPARED, evaluate_distances
from tests.semigen.example_tables import TARGET, encoder_of, mixed_table

N_HELD_OUT = 60


@pytest.fixture(scope="module")
def real():
    """Return a table, its encoder, and the indices of the held-out rows."""
    table = mixed_table(600, seed=0, missing=0.05)
    held_out = np.sort(np.random.default_rng(1).choice(600, N_HELD_OUT, replace=False))
    return table.drop(columns=TARGET), encoder_of(table), held_out


def features(n_rows, seed):
    return mixed_table(n_rows, seed, missing=0.05).drop(columns=TARGET)


def evaluate(real, synthetic, n_held_out=N_HELD_OUT, seed=0):
    table, encoder, held_out = real
    x = encoder.transform(table)
    return evaluate_distances(encoder, synthetic, x, held_out[:n_held_out], seed)


def test_copies_of_training_rows_are_a_leak(real):
    table, _, held_out = real
    found = evaluate(real, table.drop(index=held_out))
    assert found["privacy"]["closest_record"]["copies_share"] == 1
    assert all(attack["low"] > 0.5 for attack in found["privacy"]["attacks"].values())
    assert found["diversity"]["precision"] > 0.99
    assert (found["privacy"]["n_members"], found["privacy"]["n_held_out"]) == (540, N_HELD_OUT)


def test_new_rows_of_the_same_distribution_are_no_leak(real):
    found = evaluate(real, features(500, 2))
    for attack in found["privacy"]["attacks"].values():
        assert attack["low"] <= 0.5 <= attack["high"]
    # The expectation is 1 - 2 ** -5 = 0.969; its standard error with 500 rows is below 0.01.
    assert 0.93 < found["diversity"]["coverage"] <= 1
    assert found["diversity"]["n_real"] == found["diversity"]["n_synthetic"] == 500


def test_same_seed_gives_the_same_json(real):
    results = (evaluate(real, features(100, 3), seed=4) for _ in range(2))
    first, second = (json.dumps(result, allow_nan=False) for result in results)
    assert first == second


def test_at_most_max_rows_compared_rows_are_compared(real, monkeypatch):
    assert MAX_ROWS_COMPARED >= 1000
    monkeypatch.setattr("tasks.augment.MAX_ROWS_COMPARED", 50)
    found = evaluate(real, features(200, 5))
    assert found["diversity"]["n_real"] == found["diversity"]["n_synthetic"] == 50
    assert [found["privacy"][n] for n in ("n_synthetic", "n_members", "n_held_out")] == [50] * 3


@pytest.mark.parametrize(
    ("n_synthetic", "n_held_out", "measured"),
    [(0, 60, []), (1, 60, ["privacy"]), (30, 3, ["diversity"]), (30, 0, ["diversity"])],
)
def test_figures_are_none_if_there_are_too_few_rows(real, n_synthetic, n_held_out, measured):
    found = evaluate(real, features(40, 6).head(n_synthetic), n_held_out)
    assert [name for name, figures in found.items() if figures] == measured
