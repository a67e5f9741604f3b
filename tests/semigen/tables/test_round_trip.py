"""The meaning of a cell depends on the schema alone: not on other rows, nor on the file."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semigen.tables.encoding import TableEncoder
from semigen.tables.inference import infer_column
from semigen.tables.schema import TableSchema
from semigen.tables.sources import read_table

N_ROWS = 120
COLUMNS = {
    "x": ["0.1", "-2.25", "1e-3", "", "17", "NA"],
    "code": ["01", "02", "A1", "03"],
    "zip": ["01001", "90210", "00501"],
    "paid": ["TRUE", "FALSE", "N/K"],
    "smoker": ["Yes", "No"],
    "flag": ["0", "1"],
    "version": ["1.0", "2.0", "beta"],
    "price": ["$1,200.50", "$3.00", "$99.99", "$12,000.00"],
}


def training_cells() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    cells = {name: rng.choice(values, N_ROWS) for name, values in COLUMNS.items()}
    return pd.DataFrame(cells).assign(label=np.where(np.arange(N_ROWS) % 2, "a", "b"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> TableEncoder:
    path = tmp_path_factory.mktemp("tables") / "labeled.csv"
    training_cells().to_csv(path, index=False)
    table = read_table(path)
    schema = TableSchema.infer(table, table.drop(columns="label")[:0], "label")
    return TableEncoder(schema).fit(table)


rows = st.lists(
    st.tuples(*(st.sampled_from(values) for values in COLUMNS.values())), min_size=1, max_size=12
)


@settings(deadline=None, max_examples=15)
@given(rows, st.randoms(use_true_random=False))
def test_subset_permutation_and_other_files_have_the_same_encoding(
    encoder, tmp_path_factory, rows, random
):
    folder = tmp_path_factory.mktemp("rows")
    pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(folder / "all.csv", index=False)
    cells = read_table(folder / "all.csv")
    expected = encoder.transform(cells)
    chosen = random.sample(range(len(rows)), random.randint(1, len(rows)))
    cells.iloc[chosen].to_csv(folder / "some.csv", index=False, sep=";")
    np.testing.assert_array_equal(
        encoder.transform(read_table(folder / "some.csv")), expected[chosen]
    )
    guessed = pd.read_csv(folder / "all.csv")  # types depend on the rows: 01 is 1, TRUE is True
    np.testing.assert_array_equal(encoder.transform(guessed), expected)
    guessed.to_parquet(folder / "all.parquet")
    np.testing.assert_array_equal(encoder.transform(read_table(folder / "all.parquet")), expected)
    again = pd.read_csv(io.StringIO(guessed.to_csv(index=False)))
    np.testing.assert_array_equal(encoder.transform(again), expected)


def test_kinds_of_the_cells(encoder):
    kinds = {column.name: column.kind for column in encoder.schema.columns}
    assert kinds == {
        "x": "numeric",
        "code": "category",
        "zip": "category",
        "paid": "category",
        "smoker": "boolean",
        "flag": "boolean",
        "version": "category",
        "price": "numeric",
    }


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["1,5", "2,25", "-0,5"], [1.5, 2.25, -0.5]),
        (["1,500", "12,642", "3,000"], [1500, 12642, 3000]),
        (["1.200,50 EUR", "3,00 EUR"], [1200.5, 3]),
        (["40%", "88%", "4.5%"], [40, 88, 4.5]),
        (["$707.50", "-$1.20", "$1,000.00"], [707.5, -1.2, 1000]),
        (["1 000", "2 500", "12"], [1000, 2500, 12]),
        (["5 kg", "12.5 kg", "7kg"], [5, 12.5, 7]),
        (["1'000", "2'500", "12"], [1000, 2500, 12]),
    ],
)
def test_formats_of_numbers(cells: list[str], numbers: list[float]):
    values = pd.Series(cells * 10, name="amount")
    column = infer_column(values)
    assert column.kind == "numeric"
    schema = TableSchema(columns=(column,), target="y", classes=("a", "b"))
    typed = schema.coerce(values.to_frame())["amount"]
    assert typed.tolist() == numbers * 10
    assert schema.coerce(typed.to_frame())["amount"].tolist() == numbers * 10


def test_comma_of_three_digits_is_decided_by_the_other_columns():
    def read(other: list[str]) -> tuple[float | None, str | None]:
        table = pd.DataFrame({"income": ["1,500", "2,750"] * 10, "x": other * 10})
        schema = TableSchema.infer(table.assign(y=["a", "b"] * 10), table[:0], "y")
        return schema.columns[0].maximum, schema.columns[0].note

    assert read(["0.5", "1.25"]) == (2750, None)
    assert read(["0,5", "1,25"]) == (2.75, None)
    maximum, note = read(["u", "v"])
    assert maximum == 2750
    assert "data.read.decimal" in str(note)


@pytest.mark.parametrize(
    ("cells", "pattern", "resolution"),
    [
        (["2024-03-08", "2024-10-07"], "%Y-%m-%d", "day"),
        (["03/08/24", "10/27/24"], "%m/%d/%y", "day"),
        (["08-03-2024", "27-10-2024"], "%d-%m-%Y", "day"),
        (["08.03.24", "07.10.24"], "%d.%m.%y", "day"),
        (["Mar 08, 2024", "Oct 07, 2024"], "%b %d, %Y", "day"),
        (["20240308", "20241007"], "%Y%m%d", "day"),
        (["2024-03", "2024-10"], "%Y-%m", "month"),
        (["2024-03-08T12:30:05Z", "2024-10-07T01:02:03Z"], "%Y-%m-%d", "second"),
        (["18:56", "00:27"], "%H:%M", "minute"),
    ],
)
def test_formats_of_dates(cells: list[str], pattern: str, resolution: str):
    column = infer_column(pd.Series(cells * 10, name="day"))
    assert (column.kind, column.date_format, column.resolution) == ("ignore", pattern, resolution)


def test_day_and_month_that_may_be_swapped_are_named():
    column = infer_column(pd.Series(["03/08/2024", "10/07/2024"] * 10, name="day"))
    assert "day and month may be swapped" in str(column.reason)


@pytest.mark.parametrize("numbering", ["restarts", "continues", "random", "tens"])
def test_identifiers_are_judged_in_each_table(numbering: str):
    rng = np.random.default_rng(0)
    first, second = {
        "restarts": (np.arange(80), np.arange(300)),
        "continues": (np.arange(80), np.arange(80, 380)),
        "random": np.split(rng.permutation(10**6)[:380] + 10**7, [80]),
        "tens": (np.arange(0, 800, 10), np.arange(0, 3000, 10)),
    }[numbering]
    column = infer_column([pd.Series(part, name="customer_id") for part in (first, second)])
    assert column.kind == "ignore"
    assert "identifier" in str(column.reason) or "row number" in str(column.reason)
