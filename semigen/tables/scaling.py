"""Scaling of numeric columns: the unit of columns, and statistics that reveal no single row."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, QuantileTransformer, StandardScaler

from semigen.tables.columns import ColumnSchema
from semigen.tables.far_numbers import MAX_ENCODED
from semigen.tables.schema import TableSchema
from semigen.tables.shared_statistics import shared_quantiles

MAX_QUANTILES = 1000
MIN_COLUMNS_OF_UNIT = 4


def scaler_block(scaling: str, n_rows: int, min_rows: int, seed: int) -> Pipeline:
    """Return the imputer and the scaler of numeric columns.

    Args:
        scaling: ``standard``, ``minmax`` or ``quantile``.
        n_rows: Number of training rows.
        min_rows: Minimum number of rows between two quantiles.
        seed: Seed of the quantile transformer.
    """
    scaler = {
        "standard": StandardScaler(),
        "minmax": MinMaxScaler(),
        "quantile": QuantileTransformer(
            n_quantiles=min(MAX_QUANTILES, max(2, 1 + (n_rows - 1) // min_rows), n_rows),
            output_distribution="normal",
            random_state=seed,
        ),
    }[scaling]
    return make_pipeline(SimpleImputer(strategy="median"), scaler)


def share_statistics(numeric: Pipeline, values: pd.DataFrame, schema: TableSchema) -> None:
    """Replace fitted statistics that are values of single rows by averages of several rows.

    These are the medians that fill gaps, and the landmarks of the scaler: minimum and maximum, or
    quantiles (``semigen.tables.shared_statistics``).

    Args:
        numeric: Fitted imputer and scaler of the numeric columns, which is changed.
        values: Numeric columns of the training rows, shape ``(n_rows, n_numeric)``.
        schema: Schema of the rows.
    """
    imputer, scaler = numeric
    middle, min_rows = np.array([0.5]), schema.min_rows
    present = (values[name].dropna().to_numpy() for name in values)
    imputer.statistics_ = np.concatenate(
        [shared_quantiles(found, middle, min_rows) for found in present]
    )
    x = imputer.transform(values)
    if isinstance(scaler, MinMaxScaler):
        columns = schema.of_kind("numeric")
        x = np.array([[c.minimum for c in columns], [c.maximum for c in columns]], dtype=float)
    scaler.fit(x)
    if isinstance(scaler, QuantileTransformer):
        scaler.quantiles_ = np.column_stack(
            [shared_quantiles(column, scaler.references_, min_rows) for column in x.T]
        )


def limited(values: pd.Series, column: ColumnSchema) -> pd.Series:
    """Return values at most one range beyond the bounds of their column.

    Few training rows lie beyond the bounds, but some of them far beyond a narrow range. Values that
    ``far_numbers`` refuses stay.
    """
    assert column.minimum is not None and column.maximum is not None
    span = column.maximum - column.minimum
    is_far = (values - column.minimum).abs() > MAX_ENCODED * (span or 1.0)
    return values.where(is_far, values.clip(column.minimum - span, column.maximum + span))


def share_unit(schema: TableSchema) -> bool:
    """Return whether the numeric columns seem to share a unit, as pixels do.

    They do if there are at least four of them, and at least half of them span half of the range of
    all columns together. Scaling such columns to unit variance would amplify nearly constant ones.
    """
    ranges = [(c.minimum, c.maximum) for c in schema.of_kind("numeric")]
    bounds = np.array(ranges, dtype=float).reshape(-1, 2)
    if len(bounds) < MIN_COLUMNS_OF_UNIT:
        return False
    spans, overall = bounds[:, 1] - bounds[:, 0], bounds[:, 1].max() - bounds[:, 0].min()
    return bool((spans >= 0.5 * overall).mean() >= 0.5)
