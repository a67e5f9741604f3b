"""Oracles: equal distributions and known differences."""

import json

import numpy as np
import pandas as pd
import pytest

from semigen.errors import UserError
from semigen.evaluation.drift import compare_columns, domain_auc, measure_drift
from semigen.tables.schema import TableSchema

LIMITS = {"max_distance": 0.2, "significance": 0.01}
TARGET = "label"


def people(n_rows, seed):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 90, n_rows).astype(float),
            "income": rng.normal(50, 10, n_rows),
            "wealth": rng.normal(0, 1, n_rows),
            "city": rng.choice(["Bonn", "Cork", "Lyon"], n_rows).astype(object),
            "member": rng.choice(["no", "yes"], n_rows).astype(object),
        }
    )
    return frame.mask(rng.random(frame.shape) < 0.05)


@pytest.fixture(scope="module")
def reference():
    return people(500, seed=0)


@pytest.fixture(scope="module")
def schema(reference):
    return TableSchema.infer(reference.assign(**{TARGET: "a"}), reference, TARGET)


def drift(reference, current, schema, **limits):
    return measure_drift(reference, current, schema, seed=0, **{**LIMITS, **limits})


def test_no_drift_in_rows_of_the_same_distribution(reference, schema):
    found = drift(reference, people(300, seed=1), schema)
    assert not found.has_drifted
    assert found.drifted == ()
    assert found.auc.low < 0.5 < found.auc.high
    assert found.sentence == "no drift in 5 columns of 300 rows"


@pytest.mark.slow
def test_false_alarm_rate_is_at_most_the_significance(schema):
    """With 1000 trials, the standard error of a rate of 0.05 is 0.007; tolerance 3 errors."""
    alarms = [
        any(
            c.has_drifted
            for c in compare_columns(
                people(100, 2 * i), people(100, 2 * i + 1), schema,
                max_distance=0.0, significance=0.05,
            )
        )
        for i in range(1000)
    ]  # fmt: skip
    assert np.mean(alarms) <= 0.05 + 3 * 0.007
    assert np.mean(alarms) > 0.01, "far below the significance: the test has too little power"


@pytest.mark.slow
def test_auc_interval_covers_one_half_without_drift():
    """With 200 trials, the standard error of a rate of 0.05 is 0.015; tolerance 3 errors."""
    outside = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        auc = domain_auc(rng.normal(size=(60, 6)), rng.normal(size=(90, 6)), seed)
        outside.append(not auc.low <= 0.5 <= auc.high)
    assert np.mean(outside) <= 0.05 + 3 * 0.015


def test_detects_a_shifted_mean(reference, schema):
    current = people(300, seed=2)
    found = drift(reference, current.assign(income=current["income"] + 10), schema)
    assert found.drifted == ("income",)
    assert found.columns[1].distance == pytest.approx(2 * 0.1915 * 0.95, abs=0.1)  # Phi(1/2) - 1/2
    assert found.auc.low > 0.6
    assert found.sentence.startswith("drift in income (distance 0.")


def test_insignificant_or_small_difference_is_no_drift(reference, schema):
    current = people(2000, seed=3)
    shifted = current.assign(income=current["income"] + 4)
    column = drift(reference, shifted, schema).columns[1]
    assert (column.p_value < 1e-4, column.distance < 0.2, column.has_drifted) == (True, True, False)
    few = shifted.assign(income=shifted["income"] + 6).head(5)
    column = drift(reference, few, schema).columns[1]
    assert (column.p_value < 0.01, column.distance > 0.2, column.has_drifted) == (
        False, True, False,
    )  # fmt: skip


def test_lists_new_categories_and_detects_frequent_ones(reference, schema):
    current = people(300, seed=4)
    some = current.assign(city=current["city"].where(np.arange(300) % 100 > 0, "Rome"))
    found = drift(reference, some, schema)
    assert found.columns[3].new_categories == ("Rome",)
    assert not found.has_drifted
    many = current.assign(city=current["city"].where(np.arange(300) % 2 > 0, "Rome"))
    assert drift(reference, many, schema).drifted == ("city",)


def test_third_value_of_a_boolean_column_is_listed_and_counts_as_missing(reference, schema):
    current = people(300, seed=5)
    third = current.assign(member=current["member"].where(np.arange(300) % 2 > 0, "maybe"))
    found = drift(reference, third, schema)
    assert found.columns[4].new_categories == ("maybe",)
    assert found.columns[4].missing[1] > 0.5
    assert found.drifted == ("member",)


@pytest.mark.parametrize("name", ["age", "city"])
def test_detects_missing_cells(reference, schema, name):
    current = people(300, seed=6)
    found = drift(reference, current.assign(**{name: current[name].where(np.arange(300) % 2 > 0)}),
                  schema)  # fmt: skip
    assert found.drifted == (name,)
    column = next(column for column in found.columns if column.column == name)
    assert column.missing == pytest.approx((0.05, 0.525), abs=0.05)


def test_detects_a_change_in_the_dependence_of_two_columns(reference, schema):
    current = people(600, seed=7)
    rank = current["income"].rank(pct=True)
    order = current["wealth"].sort_values().to_numpy()
    n_present = current["wealth"].notna().sum()
    place = (rank.fillna(0.5) * (n_present - 1)).astype(int)
    dependent = current.assign(wealth=order[place])
    found = drift(reference, dependent, schema)
    assert found.drifted == ()
    assert found.auc.low > 0.6
    assert found.has_drifted
    assert found.sentence.startswith("drift in the dependence between 5 columns of 600 rows")


def test_missing_column_is_drift(reference, schema):
    found = drift(reference, people(300, seed=8).drop(columns="city"), schema)
    assert found.drifted == ("city",)
    assert "city (column is missing)" in found.sentence


def test_text_among_numbers_is_drift(reference, schema):
    current = people(300, seed=9)
    current["age"] = current["age"].astype(object)
    current.loc[6, "age"] = "n/a!"
    found = drift(reference, current, schema)
    assert found.drifted == ("age",)
    assert "age (1 of 300 values are not numbers, first in row 7)" in found.sentence


def test_auc_is_unknown_without_columns(reference, schema):
    found = drift(reference, pd.DataFrame({"other": range(20)}), schema)
    assert len(found.drifted) == 5
    assert (found.auc.low, found.auc.high) == (0, 1)


def test_compares_a_column_without_old_values(reference, schema):
    found = drift(reference.assign(wealth=np.nan), people(300, seed=10), schema)
    assert found.drifted == ("wealth",)


@pytest.mark.parametrize("n_rows", [1, 2, 9, 11])
def test_few_rows_do_not_raise(reference, schema, n_rows):
    few = people(n_rows, seed=11)
    for sides in ((reference, few), (few, reference), (few, few)):
        found = drift(*sides, schema)
        assert 0 <= found.auc.low <= found.auc.value <= found.auc.high <= 1
        assert (found.auc.low, found.auc.high) == (0, 1) or n_rows == 11


def test_rejects_empty_tables(reference, schema):
    with pytest.raises(ValueError, match="500 and 0"):
        drift(reference, reference.head(0), schema)


def test_rejects_a_reference_without_a_feature(reference, schema):
    with pytest.raises(UserError, match=r"reference rows: missing column.*'city'"):
        drift(reference.drop(columns="city"), reference, schema)


def test_disjoint_tables_have_auc_one():
    auc = domain_auc(np.zeros((200, 2)), np.ones((300, 2)), seed=0)
    assert (auc.value, auc.high) == (1, 1)
    assert auc.low > 0.95


def test_same_rows_are_not_separated(reference, schema):
    assert not drift(reference, reference.sample(frac=1, random_state=0), schema).has_drifted


def test_equal_seeds_give_equal_results_and_json_is_complete(reference, schema):
    current = people(100, seed=12)
    found = drift(reference, current, schema)
    assert drift(reference, current, schema) == found
    content = json.loads(json.dumps(found.to_json_dict(), allow_nan=False))
    assert content["n_reference"] == 500
    assert [column["column"] for column in content["columns"]] == list(people(1, 0))


def test_rare_categories_of_the_old_rows_are_neither_drift_nor_new():
    towns = pd.DataFrame({"town": [f"t{i % 50}" for i in range(150)] + ["north"] * 350})
    schema = TableSchema.infer(towns.assign(**{TARGET: "a"}), towns[:0], TARGET, min_rows=5)
    (column,) = measure_drift(
        towns, towns[::-1], schema, max_distance=0.1, significance=0.01, seed=0
    ).columns
    assert (column.distance, column.new_categories, column.has_drifted) == (0, (), False)
