from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from semigen.errors import UserError
from semigen.registry.seen_rows import SeenRows, row_digests
from tests.semigen.example_tables import TARGET, mixed_table, schema_of

SALT = b"0123456789abcdef"


@pytest.fixture
def table():
    return mixed_table(60, missing=0.1)


def test_rows_are_recognized_in_any_order_and_type(table, tmp_path):
    schema = schema_of(table)
    seen = SeenRows.of(schema, table[:40], table[40:])
    again = table.sample(frac=1, random_state=1)[reversed(table.columns)]
    again.assign(note=1).to_csv(tmp_path / "table.csv", index=False)
    again = pd.read_csv(tmp_path / "table.csv").set_index(again.index)
    assert list(np.sort(again.index[seen.leaked(schema, again)])) == list(range(40))


@pytest.mark.parametrize(
    ("column", "value"),
    [("weight", 1.25), ("visits", None), ("smoker", None), ("ward", "attic"), (TARGET, "?")],
)
def test_digest_depends_on_every_cell_and_the_label(table, column, value):
    schema = schema_of(table)
    changed = table.assign(**{column: value})
    digests, others = (row_digests(rows, schema, SALT) for rows in (table, changed))
    differs = table[column].notna() if value is None else np.ones(len(table), bool)
    np.testing.assert_array_equal(digests != others, differs)


def test_equal_rows_in_both_parts_are_not_leaked(table):
    schema = schema_of(table)
    seen = SeenRows.of(schema, table[:40], table[30:])
    assert list(np.flatnonzero(seen.leaked(schema, table))) == list(range(30))


def test_file_round_trip_contains_no_cell(table, tmp_path):
    schema = schema_of(table)
    seen = SeenRows.of(schema, table[:40], table[40:])
    seen.save(tmp_path / "seen.json")
    loaded = SeenRows.load(tmp_path / "seen.json")
    assert loaded.salt == seen.salt
    np.testing.assert_array_equal(loaded.trained, seen.trained)
    np.testing.assert_array_equal(loaded.tested, seen.tested)
    assert set(json.loads((tmp_path / "seen.json").read_text())) == {"salt", "trained", "tested"}


def test_records_of_the_same_rows_share_no_digest(table):
    one, other = (SeenRows.of(schema_of(table), table, table) for _ in range(2))
    assert not np.isin(one.trained, other.trained).any()


def test_missing_column_is_reported(table):
    schema = schema_of(table)
    seen = SeenRows.of(schema, table[:40], table[40:])
    with pytest.raises(UserError, match="'ward'"):
        seen.leaked(schema, table.drop(columns="ward"))
