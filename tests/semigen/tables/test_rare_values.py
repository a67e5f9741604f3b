"""Files of the schema and the encoder do not contain values of fewer than ``min_rows`` rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from semigen.params.config import PreprocessParams
from semigen.tables.columns import RARE
from semigen.tables.encoding import TableEncoder
from semigen.tables.inference import infer_column
from semigen.tables.schema import TableSchema

MIN_ROWS = 5
TOWNS = [f"Town{i:02d}x" for i in range(40)]
"""Towns that occur once to three times."""


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    rare = np.repeat(TOWNS, rng.integers(1, 4, len(TOWNS)))
    town = np.concatenate([rare, rng.choice(["north", "south"], 300 - len(rare))])
    salary = rng.lognormal(10, 0.5, 300).round(2)
    salary[:3] = [1_234_567.89, 17.25, 99_999.5]
    return pd.DataFrame({"town": town, "salary": salary, "age": rng.integers(18, 99, 300)})


def fitted(table: pd.DataFrame, **params) -> TableEncoder:
    labeled = table[:40].assign(label=np.where(table["age"][:40] > 50, "a", "b"))
    schema = TableSchema.infer(labeled, table[40:], "label", min_rows=MIN_ROWS)
    return TableEncoder(schema, PreprocessParams(**params)).fit(table)


@pytest.mark.parametrize("scaling", ["standard", "minmax", "quantile"])
@pytest.mark.parametrize("min_frequency", [1, 5])
def test_files_hold_no_rare_category(table, tmp_path, scaling, min_frequency):
    encoder = fitted(table, scaling=scaling, min_frequency=min_frequency)
    encoder.save(tmp_path)
    content = b"".join(path.read_bytes() for path in sorted(tmp_path.iterdir()))
    assert b"north" in content
    assert [town for town in TOWNS if town.encode() in content] == []


def test_rare_and_unknown_categories_are_one_category(table):
    encoder = fitted(table)
    (town,) = (c for c in encoder.schema.columns if c.name == "town")
    assert town.categories == (RARE, "north", "south")
    decoded = encoder.inverse_transform(encoder.transform(table))
    assert set(decoded["town"]) == {RARE, "north", "south"}
    assert ((decoded["town"] == RARE) == table["town"].isin(TOWNS)).all()
    unknown = encoder.transform(table.assign(town="elsewhere"))
    np.testing.assert_array_equal(unknown, encoder.transform(table.assign(town=TOWNS[0])))


def test_rows_of_labeled_and_unlabeled_table_are_counted_together(table):
    halves = pd.DataFrame({"town": ["east"] * 3 + ["west"] * 20, "label": "a"})
    both = TableSchema.infer(halves, halves[["town"]], "label", min_rows=6)
    assert both.columns[0].categories == ("east", "west")


@pytest.mark.parametrize("scaling", ["standard", "minmax", "quantile"])
def test_statistics_are_not_values_of_single_rows(table, scaling):
    encoder = fitted(table, scaling=scaling)
    imputer, scaler = encoder.transformer_.named_transformers_["numeric"]
    arrays = [v for e in (imputer, scaler) for v in vars(e).values() if isinstance(v, np.ndarray)]
    bounds = [(c.minimum, c.maximum) for c in encoder.schema.of_kind("numeric")]
    stored = np.concatenate([*(a.ravel() for a in arrays if a.dtype.kind == "f"), np.ravel(bounds)])
    assert not np.isin(table["salary"], stored).any()
    low, high = encoder.schema.columns[1].minimum, encoder.schema.columns[1].maximum
    assert (table["salary"] <= low).sum() >= 2 and (table["salary"] >= high).sum() >= 1


def test_quantile_landmarks_are_few_and_keep_the_values_in_order(table):
    encoder = fitted(table, scaling="quantile")
    landmarks = encoder.transformer_.named_transformers_["numeric"][-1].quantiles_
    assert 1 < len(landmarks) <= 1 + (len(table) - 1) // MIN_ROWS
    encoded = encoder.transform(table)[:, encoder.spans_[0].start]
    order = np.argsort(table["salary"].to_numpy(), kind="stable")
    assert (np.diff(encoded[order]) >= 0).all()
    decoded = encoder.inverse_transform(encoder.transform(table))["salary"]
    inner = table["salary"].between(*table["salary"].quantile([0.05, 0.95]))
    assert (decoded[inner] / table["salary"][inner] - 1).abs().max() < 0.01


def test_minmax_scaling_limits_values_beyond_the_bounds():
    pixels = pd.DataFrame(np.random.default_rng(0).integers(0, 17, (200, 4))).add_prefix("p")
    pixels["p3"] = 0
    pixels.loc[:5, "p3"] = [1, 1, 1, 1, 1, 16]
    encoder = fitted_pixels(pixels)
    assert encoder.scaling_ == "minmax"
    x = encoder.transform(pixels)
    assert x[:, 3].max() == 2 and x[:, :3].min() == 0 and x[:, :3].max() == 1


def fitted_pixels(pixels: pd.DataFrame) -> TableEncoder:
    schema = TableSchema.infer(pixels.assign(label="a"), pixels[:0], "label", min_rows=MIN_ROWS)
    return TableEncoder(schema).fit(pixels)


def test_reasons_show_no_rare_value():
    def reason(values):
        return infer_column(pd.Series(values, name="x"), min_rows=MIN_ROWS).reason

    assert reason(["secret"] + [None] * 9) == "always the same value"
    assert reason(["red"] * 9) == "always red"
    mixed = [str(i) for i in range(60)] + [f"w{i}" for i in range(9)] + ["unknown"] * 6
    assert reason(mixed).endswith("numbers except for 20%, e.g. 'unknown'")
    assert "e.g." not in reason(mixed[:-2])
    assert reason(["yes", "no"] * 2) == "no value has 5 rows (privacy.min_rows)"


def test_rare_value_of_a_boolean_column_is_a_rare_category():
    column = infer_column(pd.Series(["no"] * 50 + ["yes"] * 2, name="ill"), min_rows=MIN_ROWS)
    assert (column.kind, column.categories) == ("category", (RARE, "no"))
