"""Oracles: a copy, disjoint and half replaced tables, and pandas' correlations."""

import json
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from semigen.evaluation.fidelity import column_distance, correlation_difference, fidelity
from semigen.tables.columns import ColumnSchema
from semigen.tables.schema import TableSchema


def mixed_table(n_rows=400, seed=0):
    rng = np.random.default_rng(seed)
    income = rng.lognormal(8, 0.5, n_rows).round(2)
    city = np.where(income > np.median(income), "Berlin", rng.choice(["Rome", "Oslo"], n_rows))
    frame = pd.DataFrame(
        {
            "income": income,
            "age": rng.integers(18, 90, n_rows).astype(float),
            "city": city.astype(object),
            "member": rng.choice(["no", "yes"], n_rows).astype(object),
            "label": rng.choice(["a", "b"], n_rows),
        }
    )
    frame.loc[rng.random(n_rows) < 0.2, "age"] = np.nan
    frame.loc[rng.random(n_rows) < 0.1, "city"] = None
    return frame


def schema_of(frame, target="label"):
    return TableSchema.infer(frame, frame.drop(columns=target), target)


def test_copy_has_distance_zero():
    real = mixed_table()
    found = fidelity(real, real.sample(frac=1, random_state=1), schema_of(real))
    assert found["mean_distance"] == found["max_distance"] == 0
    assert found["correlation_difference"] == 0
    assert [(c["column"], c["kind"]) for c in found["columns"]] == [
        ("income", "numeric"), ("age", "numeric"), ("city", "category"), ("member", "boolean"),
    ]  # fmt: skip
    assert (found["n_real"], found["n_synthetic"]) == (400, 400)


def test_disjoint_tables_have_distance_one():
    real = mixed_table().dropna()
    real = real[real["member"] == "no"]
    other = real.assign(income=-1.0, age=200.0, city="Lima", member="yes")
    found = fidelity(real, other, schema_of(mixed_table()))
    assert [column["distance"] for column in found["columns"]] == [1, 1, 1, 1]
    assert found["mean_distance"] == found["max_distance"] == 1


def test_half_replaced_table_has_distance_one_half():
    real = mixed_table().dropna().query("member == 'no'")
    real = real.iloc[: len(real) // 2 * 2]
    other = real.assign(income=-1.0, age=200.0, city="Lima", member="yes")
    half = pd.concat([real, other], ignore_index=True)
    found = fidelity(real, half, schema_of(mixed_table()))
    assert [column["distance"] for column in found["columns"]] == [0.5] * 4


@pytest.mark.parametrize(
    ("kind", "present", "absent"), [("numeric", 3.0, np.nan), ("category", "a", None)]
)
def test_missing_cells_are_compared(kind, present, absent):
    real = pd.Series([present] * 10)
    synthetic = pd.Series([present] * 7 + [absent] * 3)
    column = ColumnSchema(name="x", kind=kind)
    assert column_distance(real, synthetic, column) == pytest.approx(0.3)
    assert column_distance(synthetic, synthetic, column) == 0


def test_correlation_difference_matches_pandas():
    rng = np.random.default_rng(3)
    real = pd.DataFrame(rng.normal(size=(300, 4)), columns=list("abcd")).assign(label="x")
    real["b"] += 2 * real["a"]
    synthetic = pd.DataFrame(rng.normal(size=(200, 4)), columns=list("abcd"))
    gap = (real[list("abcd")].corr() - synthetic.corr()).abs().to_numpy()
    expected = gap[np.triu_indices(4, k=1)].mean()
    found = fidelity(real, synthetic, schema_of(real))["correlation_difference"]
    assert found == pytest.approx(expected, abs=1e-6)


def test_shuffled_columns_differ_in_correlations_only():
    real = mixed_table(2000)
    rng = np.random.default_rng(4)
    shuffled = real.apply(lambda values: rng.permutation(values.to_numpy(object))).astype(
        {"income": float, "age": float}
    )
    found = fidelity(real, shuffled, schema_of(real))
    assert found["max_distance"] == 0
    # City depends on income; the other columns are independent.
    assert found["correlation_difference"] > 0.05


def test_flipped_sign_of_one_pair_differs_by_two():
    x = np.arange(50.0)
    real = pd.DataFrame({"a": x, "b": x})
    synthetic = pd.DataFrame({"a": x, "b": -x})
    schema = TableSchema(
        columns=(ColumnSchema(name="a", kind="numeric"), ColumnSchema(name="b", kind="numeric")),
        target="y",
        classes=("0", "1"),
    )
    assert correlation_difference(real, synthetic, schema) == pytest.approx(2)


def test_constant_synthetic_column_gives_no_nan():
    real = mixed_table()
    constant = real.assign(income=0.1 + 0.2, city="Rome", age=np.nan)
    found = fidelity(real, constant, schema_of(real))
    json.dumps(found, allow_nan=False)
    assert found["correlation_difference"] > 0


def test_values_read_from_csv_are_typed_by_the_schema(tmp_path):
    rng = np.random.default_rng(5)
    real = pd.DataFrame(
        {"zip": rng.choice(["10", "20"], 60), "x": rng.normal(size=60), "label": "a"}
    )
    schema = TableSchema.infer(real, real.drop(columns="label"), "label", {"zip": "category"})
    real.to_csv(tmp_path / "synthetic.csv", index=False)
    synthetic = pd.read_csv(tmp_path / "synthetic.csv")
    assert synthetic["zip"].dtype == np.int64
    assert fidelity(real, synthetic, schema)["max_distance"] == 0


def test_time_is_bounded_with_thousands_of_categories():
    rng = np.random.default_rng(6)
    real = pd.DataFrame(
        {"code": rng.integers(3000, size=8000).astype(str), "x": rng.normal(size=8000), "label": 1}
    )
    schema = TableSchema.infer(real, real.drop(columns="label"), "label", {"code": "category"})
    assert len(schema.columns[0].categories) > 2500
    assert fidelity(real, real, schema)["correlation_difference"] == 0
    halves = fidelity(real[:4000], real[4000:], schema)
    # In independent halves of n rows, correlations near 0 differ by sqrt(2 / n) * 0.8 = 0.018.
    assert 0.01 < halves["correlation_difference"] < 0.03


def test_figures_are_none_without_synthetic_rows():
    real = mixed_table()
    found = fidelity(real, real.head(0), schema_of(real))
    assert found["n_synthetic"] == 0
    assert found["columns"] == []
    assert found["mean_distance"] is found["correlation_difference"] is None


def test_correlations_need_a_fraction_of_the_memory_of_the_matrix_of_indicators(monkeypatch):
    rng = np.random.default_rng(0)
    n_rows, n_columns, n_categories = 8_000, 8, 40
    codes = rng.integers(0, n_categories, (n_rows, n_columns))
    table = pd.DataFrame(codes, columns=[f"c{i}" for i in range(n_columns)]).astype(str) + "x"
    schema = TableSchema.infer(table.assign(label="a"), table, "label")
    typed = schema.coerce(table)
    whole = correlation_difference(typed, typed.head(50), schema)
    monkeypatch.setattr("semigen.evaluation.fidelity.CHUNK_ROWS", 256)
    tracemalloc.start()
    try:
        chunked = correlation_difference(typed, typed.head(50), schema)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert chunked == pytest.approx(whole, rel=1e-9)
    assert peak < 0.3 * n_rows * n_columns * n_categories * 8
