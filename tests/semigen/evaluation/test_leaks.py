"""Oracles of the leak check: copies are found, independent rows are not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from semigen.evaluation.leaks import ROWS, check_leaks
from semigen.tables.columns import RARE


@pytest.fixture
def real():
    rng = np.random.default_rng(0)
    town = ["north"] * 300 + ["south"] * 280 + [f"t{i}" for i in range(20)]
    return pd.DataFrame({"town": town, "salary": rng.lognormal(8, 0.5, 600).round()})


def drawn(n_rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    town = rng.choice(["north", "south", RARE], n_rows)
    return pd.DataFrame({"town": town, "salary": rng.lognormal(8, 0.5, n_rows).round()})


def leaks(real, synthetic):
    return check_leaks(
        real,
        synthetic,
        min_rows=5,
        ordered=["salary"],
        held_out=np.arange(0, 600, 10),
        whole_rows=["town", "salary"],
    )


def test_copies_of_the_training_rows_leak(real):
    is_training = np.arange(600) % 10 > 0
    found = leaks(real, real[is_training])
    by_name = {column.column: column for column in found.columns}
    assert by_name["town"].found == pytest.approx(18 / 20) and by_name["town"].is_leak
    assert by_name["salary"].is_leak and by_name[ROWS].is_leak
    assert by_name["salary"].found_by_chance < 0.5 < by_name["salary"].found


@pytest.mark.parametrize("seed", range(5))
def test_independent_rows_do_not_leak_although_numbers_agree_by_chance(real, seed):
    found = leaks(real, drawn(5000, seed))
    by_name = {column.column: column for column in found.columns}
    assert found.passed and by_name["town"].n_found == 0
    assert by_name["salary"].n_found > 100


def test_one_rare_name_among_many_rows_is_found(real):
    synthetic = pd.concat([drawn(5000, 0), real.tail(1)])
    assert leaks(real, synthetic).problem == (
        "rare values of the real rows are in the synthetic rows: 1 of 20 in column 'town'"
    )


def test_results_hold_no_value(real):
    text = str(leaks(real, real).to_json_dict())
    assert not any(f"'{town}'" in text for town in real["town"])
