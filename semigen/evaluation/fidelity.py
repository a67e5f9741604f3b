"""Similarity of synthetic and real rows: distributions of columns, correlations of pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp

from semigen.evaluation.estimates import DECIMALS
from semigen.tables.columns import ColumnSchema
from semigen.tables.schema import TableSchema

MAX_INDICATORS = 50
"""Maximum number of categories of a column with an indicator; rarer categories share one."""


def fidelity(real: pd.DataFrame, synthetic: pd.DataFrame, schema: TableSchema) -> dict[str, Any]:
    """Compare the feature columns of two tables.

    Args:
        real: Real rows, shape ``(n_real, any)``, at least one.
        synthetic: Synthetic rows, shape ``(n_synthetic, any)``; may be empty.
        schema: Schema of both tables.

    Returns:
        ``n_real``, ``n_synthetic``; ``columns``, a list of ``column``, ``kind`` and ``distance``
        (``column_distance``) in the order of the schema; ``mean_distance`` and ``max_distance``
        over the columns; ``correlation_difference``. Without synthetic rows the figures are None
        and the list is empty.

    Examples:
        >>> real = pd.DataFrame({"age": [20, 30, 40, 50]})
        >>> schema = TableSchema.infer(real.assign(label="a"), real, "label")
        >>> fidelity(real, real + 100, schema)["mean_distance"]
        1.0
    """
    counts = {"n_real": len(real), "n_synthetic": len(synthetic)}
    if synthetic.empty:
        figures = ("mean_distance", "max_distance", "correlation_difference")
        return {**counts, **dict.fromkeys(figures), "columns": []}
    real, synthetic = schema.coerce(real), schema.coerce(synthetic, "synthetic rows")
    distances = [column_distance(real[c.name], synthetic[c.name], c) for c in schema.features]
    return {
        **counts,
        "mean_distance": round(float(np.mean(distances)), DECIMALS),
        "max_distance": round(max(distances), DECIMALS),
        "correlation_difference": round(correlation_difference(real, synthetic, schema), DECIMALS),
        "columns": [
            {"column": c.name, "kind": c.kind, "distance": round(distance, DECIMALS)}
            for c, distance in zip(schema.features, distances, strict=True)
        ],
    }


def column_distance(real: pd.Series, synthetic: pd.Series, column: ColumnSchema) -> float:
    """Return the distance of two samples of a column, from 0 (equal) to 1 (disjoint).

    The Kolmogorov-Smirnov statistic of numbers, the total variation distance of categories. Missing
    cells count as a separate value: the lowest number, or another category.

    Args:
        real: Typed real values, shape ``(n_real,)``.
        synthetic: Typed synthetic values, shape ``(n_synthetic,)``.
        column: Schema of the column.
    """
    if column.kind == "numeric":
        lowest = -np.inf
        test = ks_2samp(real.fillna(lowest), synthetic.fillna(lowest), method="asymp")
        return float(test.statistic)
    fractions = [v.value_counts(normalize=True, dropna=False) for v in (real, synthetic)]
    return float(fractions[0].sub(fractions[1], fill_value=0).abs().sum() / 2)


def correlation_difference(
    real: pd.DataFrame, synthetic: pd.DataFrame, schema: TableSchema
) -> float:
    """Return the mean absolute difference of the correlations of pairs of columns, 0 to 2.

    Pearson correlations of numbers (missing values replaced by the mean) and of category indicators
    (missing is a category), after the pairwise correlation difference of Goncalves et al. (2020).
    The correlation of a constant column is 0, and so is the difference for a table with one column.

    Args:
        real: Typed features of real rows, as ``schema.coerce`` returns them.
        synthetic: Typed features of synthetic rows.
        schema: Schema of both tables.
    """
    both = pd.concat([real, synthetic], ignore_index=True)
    is_real = np.arange(len(both)) < len(real)
    blocks = [_indicators(both[c.name], c, is_real) for c in schema.features]
    values = np.hstack(blocks)
    owner = np.repeat(np.arange(len(blocks)), [block.shape[1] for block in blocks])
    is_pair = owner[:, None] < owner[None, :]
    if not is_pair.any():
        return 0.0
    difference = _correlations(values[is_real]) - _correlations(values[~is_real])
    return float(np.abs(difference[is_pair]).mean())


def _indicators(values: pd.Series, column: ColumnSchema, is_real: np.ndarray) -> np.ndarray:
    if column.kind == "numeric":
        table_mean = values.groupby(is_real).transform("mean").fillna(0.0)
        return values.fillna(table_mean).to_numpy()[:, None]
    frequent = values[is_real].value_counts().index[:MAX_INDICATORS]
    grouped = values.where(values.isin(frequent) | values.isna(), "other than these")
    return pd.get_dummies(grouped, dummy_na=bool(values.isna().any())).to_numpy(float)


def _correlations(values: np.ndarray) -> np.ndarray:
    centered = values - values.mean(0)
    norms = np.sqrt((centered**2).sum(0))
    # A column is constant if it varies by rounding errors only.
    is_constant = norms <= 1e-9 * (1 + np.abs(values).max(0))
    unit = np.divide(centered, norms, out=np.zeros_like(centered), where=~is_constant)
    correlations: np.ndarray = unit.T @ unit
    return correlations
