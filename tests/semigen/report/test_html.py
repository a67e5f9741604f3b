import pandas as pd

from semigen.params.config import Params, TrainParams
from semigen.report.html import example_rows, list_parameters
from semigen.tables.columns import ColumnSchema
from semigen.tables.schema import TableSchema


def schema_of(n_columns):
    columns = tuple(ColumnSchema(name=f"c{i}", kind="numeric") for i in range(n_columns))
    return TableSchema(columns=columns, target="y", classes=("a", "b"))


def test_examples_alternate_between_classes():
    table = pd.DataFrame(
        {"c0": [1.23456, 2, 3, None, 5], "y": ["a", "a", "a", "b", "b"], "source": "vae"}
    )
    found = example_rows(table, schema_of(1))
    assert found.columns == ["y", "source", "c0"]
    assert [row[0] for row in found.rows] == ["a", "b", "a", "b", "a"]
    assert found.rows[0] == ["a", "vae", "1.235"]
    assert found.rows[1][2] == "missing"


def test_examples_of_wide_tables_show_evenly_spaced_columns():
    table = pd.DataFrame({f"c{i}": range(30) for i in range(100)}).assign(y="a", source="vae")
    found = example_rows(table, schema_of(100))
    assert len(found.columns) == 12
    assert found.columns[:3] == ["y", "source", "c0"]
    assert found.columns[-1] == "c99"
    assert len(set(found.columns)) == 12
    assert len(found.rows) == 12
    assert (found.n_rows, found.n_columns) == (30, 102)


def test_parameters_are_listed_once_with_meaning_and_changes():
    listed = list_parameters(Params(seed=7, train=TrainParams(hidden_dims=(64, 32))))
    names = [parameter.name for parameter in listed]
    assert len(names) == len(set(names))
    assert names[0] == "seed"
    assert {"validate.max_missing_share", "data.kinds", "compute.device"} <= set(names)
    assert [p.name for p in listed if not p.is_default] == ["seed", "train.hidden_dims"]
    assert next(p.value for p in listed if p.name == "train.hidden_dims") == "64, 32"
    assert all(parameter.meaning for parameter in listed)
