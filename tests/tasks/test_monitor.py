"""The monitor task on tables with known drift."""

import json

import numpy as np
import pandas as pd
import pytest

from semigen.artifacts import Layout
from semigen.errors import UserError
from semigen.params.config import DataParams, MonitorParams, Params
from semigen.params.reading import ReadParams
from semigen.report.drift import HEADER, column_rows, drift_markdown
from semigen.tables.schema import TableSchema
from tasks.monitor import monitor
from tests.semigen.example_tables import people

PARAMS = Params(monitor=MonitorParams(input="data/new.csv"))


@pytest.fixture
def layout(tmp_path):
    """A project trained on 400 rows; ``data/new.csv`` has rows of the same distribution."""
    layout = Layout(tmp_path)
    learned = people(400, seed=0).assign(zip=lambda t: (t["age"] % 7 + 10115).astype(str))
    schema = TableSchema.infer(learned.assign(label="a"), learned, "label", {"zip": "category"})
    layout.schema.parent.mkdir()
    schema.save(layout.schema)
    layout.prepared("unlabeled").parent.mkdir()
    schema.coerce(learned).to_parquet(layout.prepared("unlabeled"))
    write(layout, people(300, seed=1))
    return layout


def write(layout, table, name="data/new.csv"):
    with_zip = table.assign(zip=lambda t: pd.to_numeric(t["age"], errors="coerce") % 7 + 10115)
    with_zip.to_csv(layout.root / name, index=False)


def test_csv_columns_are_typed_by_the_schema(layout):
    """``zip`` is read as numbers, but is a category in the schema."""
    found = monitor(PARAMS, layout)
    assert found["sentence"] == "no drift in 5 columns of 300 rows"
    assert found["input"] == "data/new.csv"
    assert found["n_reference"] == 400
    assert all(column["new_categories"] == [] for column in found["columns"])
    assert json.loads(layout.drift_json.read_text()) == found
    assert layout.drift_markdown.read_text() == drift_markdown(found)


def test_argument_overrides_the_table_and_parameters_set_the_limits(layout):
    table = people(300, seed=2)
    write(layout, table.assign(income=table["income"] + 4), "data/other.csv")
    found = monitor(PARAMS, layout, "data/other.csv")
    assert (found["input"], found["drifted"]) == ("data/other.csv", [])
    strict = Params(monitor=MonitorParams(input="data/new.csv", max_distance=0.05))
    assert monitor(strict, layout, "data/other.csv")["drifted"] == ["income"]
    assert monitor(strict, layout)["input"] == "data/new.csv"


def test_reads_text_files_as_the_parameters_say(layout):
    path = layout.root / "data" / "new.csv"
    path.write_text("a,b,c\n" + path.read_text() + "! checked\n")
    data = DataParams(read=ReadParams(header=2, comment="!"))
    found = monitor(Params(monitor=PARAMS.monitor, data=data), layout)
    assert found["sentence"] == "no drift in 5 columns of 300 rows"


def test_missing_columns_and_text_among_numbers_are_drift(layout):
    broken = people(300, seed=3).drop(columns="city").astype({"income": object})
    broken.loc[4, "income"] = "a lot"
    write(layout, broken.assign(extra=1))
    found = monitor(PARAMS, layout)
    assert found["drifted"] == ["income", "city"]
    assert "first in row 5" in found["sentence"]
    page = layout.drift_markdown.read_text()
    assert "| city | drift | 1.000 | < 0.0001 | 0.0% | 100.0% |  |" in page
    assert "city (column is missing)" in page


def test_drifted_columns_come_first_in_the_table(layout):
    table = people(300, seed=4)
    write(layout, table.assign(city="Rome"))
    found = monitor(PARAMS, layout)
    rows = [dict(zip(HEADER, row, strict=True)) for row in column_rows(found)]
    assert (rows[0]["column"], rows[0]["verdict"], rows[0]["new categories"]) == (
        "city", "drift", "1",
    )  # fmt: skip
    distances = [float(row["distance"]) for row in rows[1:]]
    assert distances == sorted(distances, reverse=True)


def test_page_lists_a_limited_number_of_columns(layout):
    found = monitor(PARAMS, layout)
    many = {**found, "columns": found["columns"] * 30}
    assert "50 more columns are in `reports/drift.json`." in drift_markdown(many)


def test_accepts_one_row(layout):
    write(layout, people(1, seed=5))
    assert not monitor(PARAMS, layout)["has_drifted"]


def test_errors_have_a_remedy(layout):
    with pytest.raises(UserError, match=r"no table to monitor: give one with --input"):
        monitor(Params(), layout)
    with pytest.raises(UserError, match=r"data/none\.csv: no such file"):
        monitor(PARAMS, layout, "data/none.csv")
    layout.prepared("unlabeled").unlink()
    with pytest.raises(UserError, match=r"nothing to compare with: .* run the pipeline"):
        monitor(PARAMS, layout)


def test_equal_inputs_give_equal_bytes(layout):
    written = []
    for _ in range(2):
        monitor(PARAMS, layout)
        written.append(layout.drift_json.read_bytes())
    assert written[0] == written[1]
    assert np.isfinite(json.loads(written[0])["auc"]["value"])


def test_labeled_rows_are_the_reference_where_no_row_is_unlabeled(layout):
    rows = pd.read_parquet(layout.prepared("unlabeled"))
    rows.assign(label="a").to_parquet(layout.prepared("labeled"))
    expected = monitor(PARAMS, layout)
    rows.iloc[:0].to_parquet(layout.prepared("unlabeled"))
    assert monitor(PARAMS, layout) == expected
