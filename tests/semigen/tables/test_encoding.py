from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semigen.tables.columns import ColumnSchema
from semigen.tables.encoding import Encoded, TableEncoder
from semigen.tables.scaling import share_unit
from semigen.tables.schema import TableSchema
from tests.semigen.example_tables import TARGET, encoder_of, mixed_table


def assert_same_table(decoded: pd.DataFrame, table: pd.DataFrame, encoder: TableEncoder) -> None:
    typed = encoder.schema.coerce(table)
    for column in encoder.schema.features:
        actual, expected = decoded[column.name], typed[column.name]
        assert (actual.isna() == expected.isna()).all(), column.name
        present = expected.notna()
        if column.kind == "numeric":
            np.testing.assert_allclose(
                actual[present].astype(float), expected[present], atol=1e-3, err_msg=column.name
            )
        else:
            assert (actual[present] == expected[present]).all(), column.name


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n_rows=st.integers(30, 80),
    missing=st.sampled_from([0.0, 0.1, 0.4]),
    scaling=st.sampled_from(["standard", "minmax"]),
)
def test_encoding_round_trip(seed, n_rows, missing, scaling):
    table = mixed_table(n_rows, seed, missing)
    encoder = encoder_of(table, scaling=scaling, min_frequency=1)
    assert_same_table(encoder.inverse_transform(encoder.transform(table)), table, encoder)


def test_encoded_rows_are_finite_float32_and_spans_cover_them():
    table = mixed_table(200, missing=0.2)
    encoder = encoder_of(table)
    x = encoder.transform(table)
    assert x.dtype == np.float32 and np.isfinite(x).all()
    assert [span.start for span in encoder.spans_[1:]] == [s.stop for s in encoder.spans_[:-1]]
    assert encoder.n_features == x.shape[1]
    kinds = {span.kind for span in encoder.spans_}
    assert kinds == {"numeric", "missing", "boolean", "category"}


def test_other_rows_do_not_affect_the_fitted_statistics():
    train, test = mixed_table(100, 0), mixed_table(100, 1)
    encoder = encoder_of(train)
    before = encoder.transform(train)
    encoder.transform(test.assign(weight=test["weight"] * 1000))
    np.testing.assert_array_equal(encoder.transform(train), before)


def test_unseen_category_is_rare_and_column_order_does_not_matter():
    table = mixed_table(100)
    table.loc[:2, "ward"] = "attic"
    encoder = encoder_of(table, min_frequency=5)
    new = table.assign(ward="cellar", extra=1)[[*reversed(table.columns), "extra"]]
    rare = encoder.transform(table.assign(ward="attic"))
    np.testing.assert_array_equal(encoder.transform(new), rare)


def test_decoded_rare_categories_alternate():
    table = mixed_table(100)
    table.loc[:3, "ward"] = ["attic", "cellar", "attic", "cellar"]
    encoder = encoder_of(table, min_frequency=5)
    decoded = encoder.inverse_transform(encoder.transform(table.head(4)))
    assert set(decoded["ward"]) == {"attic", "cellar"}


def test_decoded_numbers_are_clipped_and_rounded():
    table = mixed_table(100)
    encoder = encoder_of(table)
    decoded = encoder.inverse_transform(np.full((3, encoder.n_features), 1e3, np.float32))
    assert (decoded["weight"] == table["weight"].max()).all()
    assert (decoded["visits"] == table["visits"].max()).all()
    assert decoded["visits"].dtype == "Int64"


def test_encoder_file_round_trip_and_equal_bytes(tmp_path):
    table = mixed_table(100, missing=0.1)
    encoder = encoder_of(table)
    for name in ("one", "two"):
        encoder_of(table).save(tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    reloaded = TableEncoder.load(tmp_path / "one")
    np.testing.assert_array_equal(reloaded.transform(table), encoder.transform(table))
    assert reloaded.spans_ == encoder.spans_


def test_encoded_file_round_trip_in_any_memory_order(tmp_path):
    x = np.asfortranarray(np.arange(12, dtype=np.float32).reshape(4, 3))
    rows = Encoded(x, np.array([0, -1, 1, -1]))
    rows.save(tmp_path / "rows.safetensors")
    reloaded = Encoded.load(tmp_path / "rows.safetensors")
    np.testing.assert_array_equal(reloaded.x, x)
    np.testing.assert_array_equal(reloaded.y, rows.y)


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([(0, 16)] * 6 + [(0, 1)] * 3, True),
        ([(0, 1), (0, 100), (18, 90), (0, 99_999)], False),
        ([(0, 255)] * 3, False),
    ],
)
def test_columns_share_a_unit_if_most_span_the_common_range(ranges, expected):
    columns = tuple(
        ColumnSchema(name=f"c{i}", kind="numeric", minimum=low, maximum=high)
        for i, (low, high) in enumerate(ranges)
    )
    schema = TableSchema(columns=columns, target=TARGET, classes=("a", "b"))
    assert share_unit(schema) is expected


def test_table_without_rows_has_no_encoded_rows():
    encoder = encoder_of(mixed_table(100))
    x = encoder.transform(mixed_table(100).iloc[:0])
    assert x.shape == (0, encoder.n_features) and x.dtype == np.float32
