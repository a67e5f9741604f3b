"""Known distances of rows that differ in one column."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from semigen.evaluation.space import DistanceSpace
from semigen.params.config import PreprocessParams
from semigen.tables.encoding import Span, TableEncoder
from tests.semigen.example_tables import TARGET, encoder_of, mixed_table, schema_of

SPANS = (
    Span("a", 0, 1, "numeric"), Span("b", 1, 2, "numeric"), Span("a", 2, 3, "missing"),
    Span("c", 3, 4, "boolean"), Span("d", 4, 7, "category"),
)  # fmt: skip


def rows(n_rows=200, scale=(2.0, 0.1)):
    rng = np.random.default_rng(0)
    numeric = rng.normal(size=(n_rows, 2)) * scale
    return np.column_stack(
        [numeric, rng.integers(2, size=(n_rows, 2)), np.eye(3)[rng.integers(3, size=n_rows)]]
    )


def test_all_kinds_of_columns_have_the_same_weight():
    x = rows()
    space = DistanceSpace.fit(x, SPANS)
    base = np.array([[0.0, 0, 0, 0, 1, 0, 0]])
    deviations = x[:, :2].std(0)
    for changed in (
        [deviations[0], 0, 0, 0, 1, 0, 0],
        [0, -deviations[1], 0, 0, 1, 0, 0],
        [0, 0, 1, 0, 1, 0, 0],
        [0, 0, 0, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 1],
    ):
        assert_allclose(np.linalg.norm(space(base) - space(np.array([changed]))), 1)


def test_columns_that_share_a_unit_share_a_scale():
    x = rows(scale=(2.0, 0.1))
    scales = DistanceSpace.fit(x, SPANS, shared_unit=True).scales
    assert scales[0] == scales[1] == pytest.approx(1 / np.sqrt((x[:, :2].std(0) ** 2).mean()))


def test_constant_columns_have_finite_scales():
    x = np.ones((5, 7))
    for shared_unit in (False, True):
        assert np.isfinite(DistanceSpace.fit(x, SPANS, shared_unit=shared_unit)(x)).all()


def test_distances_do_not_depend_on_the_scaling():
    table = mixed_table(300, seed=1)
    distances = []
    for scaling in ("standard", "minmax"):
        encoder = TableEncoder(schema_of(table), PreprocessParams(scaling=scaling)).fit(table)
        x = encoder.transform(table)
        z = DistanceSpace.fit(x, encoder.spans_)(x)
        distances.append(np.linalg.norm(z[1:] - z[:-1], axis=1))
    assert_allclose(*distances, rtol=1e-4)


def test_table_without_numeric_columns():
    table = mixed_table(80)[["smoker", "ward", TARGET]]
    encoder = encoder_of(table)
    x = encoder.transform(table)
    z = DistanceSpace.fit(x, encoder.spans_, shared_unit=True)(x)
    features = table.drop(columns=TARGET)
    n_different = (features.iloc[[0]].to_numpy() != features.to_numpy()).sum(1)
    assert_allclose(((z - z[0]) ** 2).sum(1), n_different)
