"""How much synthetic rows look like real ones, column by column and pair by pair."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp

from semigen.evaluation.estimates import DECIMALS
from semigen.tables.schema import ColumnSchema, TableSchema

MAX_INDICATORS = 50
"""Categories of one column whose correlations are compared; rarer ones share one indicator."""


def fidelity(real: pd.DataFrame, synthetic: pd.DataFrame, schema: TableSchema) -> dict[str, Any]:
    """Compare the feature columns of two tables.

    Args:
        real: Real rows, shape ``(n_real, any)``, at least one.
        synthetic: Synthetic rows, shape ``(n_synthetic, any)``; may be none.
        schema: Says which columns are compared and what they are.

    Returns:
        ``n_real``, ``n_synthetic``; ``columns``, a list of ``column``, ``kind`` and ``distance``
        (``column_distance``) in the schema's order; ``mean_distance`` and ``max_distance`` over
        them; ``correlation_difference`` (see there). With no synthetic row the figures are None and
        the list is empty.
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
    """Return how far two samples of a column are apart: 0 if alike, 1 if nothing is shared.

    The Kolmogorov-Smirnov statistic of numbers, the total variation distance of categories. Missing
    cells count as a value of their own: the lowest number, or one more category.
    """
    if column.kind == "numeric":
        lowest = -np.inf
        test = ks_2samp(real.fillna(lowest), synthetic.fillna(lowest), method="asymp")
        return float(test.statistic)
    shares = [v.value_counts(normalize=True, dropna=False) for v in (real, synthetic)]
    return float(shares[0].sub(shares[1], fill_value=0).abs().sum() / 2)


def correlation_difference(
    real: pd.DataFrame, synthetic: pd.DataFrame, schema: TableSchema
) -> float:
    """Return the mean absolute difference of the correlations of different columns, 0 to 2.

    Pearson correlations of numbers (missing ones at the mean) and of category indicators (missing
    as one more), after the pairwise correlation difference of Goncalves et al. (2020). A constant
    column correlates with nothing. A table of one column has no pair and differs by 0.

    Args:
        real: Typed features of real rows, as ``schema.coerce`` returns them.
        synthetic: The same of synthetic rows.
        schema: The columns' kinds.
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
        mean_of_own_table = values.groupby(is_real).transform("mean").fillna(0.0)
        return values.fillna(mean_of_own_table).to_numpy()[:, None]
    frequent = values[is_real].value_counts().index[:MAX_INDICATORS]
    lumped = values.where(values.isin(frequent) | values.isna(), "other than these")
    return pd.get_dummies(lumped, dummy_na=bool(values.isna().any())).to_numpy(float)


def _correlations(values: np.ndarray) -> np.ndarray:
    centered = values - values.mean(0)
    norms = np.sqrt((centered**2).sum(0))
    # Below rounding error of its own scale, a column is constant.
    is_constant = norms <= 1e-9 * (1 + np.abs(values).max(0))
    unit = np.divide(centered, norms, out=np.zeros_like(centered), where=~is_constant)
    correlations: np.ndarray = unit.T @ unit
    return correlations
