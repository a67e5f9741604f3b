"""Oracles: no difference, differences put in by hand, and a Holm correction by hand."""

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


def test_rows_of_the_same_distribution_have_not_drifted(reference, schema):
    found = drift(reference, people(300, seed=1), schema)
    assert not found.has_drifted
    assert found.drifted == ()
    assert found.auc.low < 0.5 < found.auc.high
    assert found.sentence == "no drift in 5 columns of 300 rows"


@pytest.mark.slow
def test_false_alarms_are_no_more_frequent_than_stated(schema):
    """Over 1000 looks the standard error of a rate of 0.05 is 0.007; 3 of them are allowed."""
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
    assert np.mean(alarms) > 0.01, "far below what was asked for: power is given away"


@pytest.mark.slow
def test_the_interval_of_the_auc_holds_one_half_where_nothing_differs():
    """Over 200 looks the standard error of a rate of 0.05 is 0.015; 3 of them are allowed."""
    outside = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        auc = domain_auc(rng.normal(size=(60, 6)), rng.normal(size=(90, 6)), seed)
        outside.append(not auc.low <= 0.5 <= auc.high)
    assert np.mean(outside) <= 0.05 + 3 * 0.015


def test_a_shifted_mean_is_found(reference, schema):
    current = people(300, seed=2)
    found = drift(reference, current.assign(income=current["income"] + 10), schema)
    assert found.drifted == ("income",)
    assert found.columns[1].distance == pytest.approx(2 * 0.1915 * 0.95, abs=0.1)  # Phi(1/2) - 1/2
    assert found.auc.low > 0.6
    assert found.sentence.startswith("drift in income (distance 0.")


def test_a_difference_that_chance_explains_or_that_is_small_is_no_drift(reference, schema):
    current = people(2000, seed=3)
    shifted = current.assign(income=current["income"] + 4)
    column = drift(reference, shifted, schema).columns[1]
    assert (column.p_value < 1e-4, column.distance < 0.2, column.has_drifted) == (True, True, False)
    few = shifted.assign(income=shifted["income"] + 6).head(5)
    column = drift(reference, few, schema).columns[1]
    assert (column.p_value < 0.01, column.distance > 0.2, column.has_drifted) == (
        False, True, False,
    )  # fmt: skip


def test_a_new_category_is_named_and_found_where_it_is_frequent(reference, schema):
    current = people(300, seed=4)
    some = current.assign(city=current["city"].where(np.arange(300) % 100 > 0, "Rome"))
    found = drift(reference, some, schema)
    assert found.columns[3].new_categories == ("Rome",)
    assert not found.has_drifted
    many = current.assign(city=current["city"].where(np.arange(300) % 2 > 0, "Rome"))
    assert drift(reference, many, schema).drifted == ("city",)


def test_a_third_value_of_a_boolean_column_is_named_and_counts_as_missing(reference, schema):
    current = people(300, seed=5)
    third = current.assign(member=current["member"].where(np.arange(300) % 2 > 0, "maybe"))
    found = drift(reference, third, schema)
    assert found.columns[4].new_categories == ("maybe",)
    assert found.columns[4].missing[1] > 0.5
    assert found.drifted == ("member",)


@pytest.mark.parametrize("name", ["age", "city"])
def test_missing_cells_are_found(reference, schema, name):
    current = people(300, seed=6)
    found = drift(reference, current.assign(**{name: current[name].where(np.arange(300) % 2 > 0)}),
                  schema)  # fmt: skip
    assert found.drifted == (name,)
    column = next(column for column in found.columns if column.column == name)
    assert column.missing == pytest.approx((0.05, 0.525), abs=0.05)


def test_a_change_in_the_dependence_of_two_columns_alone_is_found(reference, schema):
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


def test_an_absent_column_is_a_finding_that_names_it(reference, schema):
    found = drift(reference, people(300, seed=8).drop(columns="city"), schema)
    assert found.drifted == ("city",)
    assert "city (column is missing)" in found.sentence


def test_text_among_numbers_is_a_finding_that_names_row_and_value(reference, schema):
    current = people(300, seed=9)
    current["age"] = current["age"].astype(object)
    current.loc[6, "age"] = "n/a!"
    found = drift(reference, current, schema)
    assert found.drifted == ("age",)
    assert "age (1 of 300 values are not numbers, first 'n/a!' in row 7)" in found.sentence


def test_without_any_column_nothing_is_said_about_all_together(reference, schema):
    found = drift(reference, pd.DataFrame({"other": range(20)}), schema)
    assert len(found.drifted) == 5
    assert (found.auc.low, found.auc.high) == (0, 1)


def test_a_column_that_was_always_missing_is_compared(reference, schema):
    found = drift(reference.assign(wealth=np.nan), people(300, seed=10), schema)
    assert found.drifted == ("wealth",)


@pytest.mark.parametrize("n_rows", [1, 2, 9, 11])
def test_few_rows_do_not_raise(reference, schema, n_rows):
    few = people(n_rows, seed=11)
    for sides in ((reference, few), (few, reference), (few, few)):
        found = drift(*sides, schema)
        assert 0 <= found.auc.low <= found.auc.value <= found.auc.high <= 1
        assert (found.auc.low, found.auc.high) == (0, 1) or n_rows == 11


def test_no_rows_are_refused(reference, schema):
    with pytest.raises(ValueError, match="500 and 0"):
        drift(reference, reference.head(0), schema)


def test_a_reference_that_lacks_a_column_is_the_callers_mistake(reference, schema):
    with pytest.raises(UserError, match=r"reference rows: missing column.*'city'"):
        drift(reference.drop(columns="city"), reference, schema)


def test_nothing_shared_is_told_with_certainty():
    auc = domain_auc(np.zeros((200, 2)), np.ones((300, 2)), seed=0)
    assert (auc.value, auc.high) == (1, 1)
    assert auc.low > 0.95


def test_a_batch_of_the_same_rows_is_not_told_apart(reference, schema):
    assert not drift(reference, reference.sample(frac=1, random_state=0), schema).has_drifted


def test_equal_seeds_give_equal_figures_and_json_has_all(reference, schema):
    current = people(100, seed=12)
    found = drift(reference, current, schema)
    assert drift(reference, current, schema) == found
    told = json.loads(json.dumps(found.to_json_dict(), allow_nan=False))
    assert told["n_reference"] == 500
    assert [column["column"] for column in told["columns"]] == list(people(1, 0))
