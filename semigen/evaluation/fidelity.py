"""Similarity of synthetic and real rows: distributions of columns, correlations of pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp

from semigen.evaluation.estimates import DECIMALS
from semigen.tables.columns import ColumnSchema
from semigen.tables.schema import TableSchema

MAX_INDICATORS = 50
"""Maximum number of categories of a column with an indicator; rarer categories share one."""
CHUNK_ROWS = 16_384
"""Rows of the matrix of numbers and indicators that are in memory at once."""


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
    columns = [_Values.of(real[c.name], synthetic[c.name], c) for c in schema.features]
    owner = np.repeat(np.arange(len(columns)), [column.width for column in columns])
    is_pair = owner[:, None] < owner[None, :]
    if not is_pair.any():
        return 0.0
    n_real, n_all = len(real), len(real) + len(synthetic)
    difference = _correlations(columns, 0, n_real) - _correlations(columns, n_real, n_all)
    return float(np.abs(difference[is_pair]).mean())


@dataclass(frozen=True)
class _Values:
    """A column of both tables, real rows first: numbers, or the position of each category.

    Attributes:
        values: Shape ``(n,)``.
        n_indicators: Number of category indicators; 0 for numbers.
    """

    values: np.ndarray
    n_indicators: int

    @classmethod
    def of(cls, real: pd.Series, synthetic: pd.Series, column: ColumnSchema) -> _Values:
        if column.kind == "numeric":
            filled = [v.fillna(0.0 if v.isna().all() else v.mean()) for v in (real, synthetic)]
            return cls(np.concatenate(filled), 0)
        frequent = real.value_counts().index[:MAX_INDICATORS]
        both = pd.concat([real, synthetic], ignore_index=True)
        codes = frequent.get_indexer(pd.Index(both))  # -1 for rarer and missing values
        is_missing = both.isna().to_numpy()
        codes[is_missing] = len(frequent)
        codes[codes < 0] = len(frequent) + 1
        used, positions = np.unique(codes, return_inverse=True)
        return cls(positions.astype(np.int16), len(used))

    @property
    def width(self) -> int:
        """Columns of the matrix."""
        return self.n_indicators or 1

    def matrix(self, rows: slice) -> np.ndarray:
        """Return the numbers or indicators of some rows, shape ``(n, width)``, float64."""
        if not self.n_indicators:
            return self.values[rows, None]
        indicators: np.ndarray = self.values[rows, None] == np.arange(self.n_indicators)
        return indicators.astype(float)


def _correlations(columns: Sequence[_Values], start: int, stop: int) -> np.ndarray:
    """Return the correlations of the rows from ``start`` to ``stop``, a chunk at a time."""

    def chunks() -> Iterator[np.ndarray]:
        for first in range(start, stop, CHUNK_ROWS):
            rows = slice(first, min(first + CHUNK_ROWS, stop))
            yield np.hstack([column.matrix(rows) for column in columns])

    means = sum(values.sum(0) for values in chunks()) / (stop - start)
    width = len(means)
    products, highest = np.zeros((width, width)), np.zeros(width)
    for values in chunks():
        np.maximum(highest, np.abs(values).max(0), out=highest)
        values -= means
        products += values.T @ values
    norms = np.sqrt(np.diag(products))
    # A column is constant if it varies by rounding errors only.
    norms[norms <= 1e-9 * (1 + highest)] = np.inf
    correlations: np.ndarray = products / norms / norms[:, None]
    return correlations
