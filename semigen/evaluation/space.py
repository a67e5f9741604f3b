"""Scaling of encoded rows for Euclidean distances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from semigen.tables.encoding import Span


class DistanceSpace:
    """Scaling of encoded rows that gives all kinds of columns the same weight.

    Two rows that differ by one standard deviation in a numeric column, or in one category or
    boolean column, have distance 1; a cell that is missing in one row adds 1 to the squared
    distance. The metric is that of Wilson & Martinez (1997) with standard deviations instead of
    ranges, which depend on outliers.

    Args:
        scales: Factor of every encoded column, shape ``(n_features,)``, float64.

    Examples:
        >>> x = np.array([[0.0, 1.0], [4.0, 0.0]])
        >>> spans = [Span("age", 0, 1, "numeric"), Span("smoker", 1, 2, "boolean")]
        >>> DistanceSpace.fit(x, spans)(x).tolist()
        [[0.0, 1.0], [2.0, 0.0]]
    """

    def __init__(self, scales: np.ndarray) -> None:
        self.scales = scales

    @classmethod
    def fit(cls, x: np.ndarray, spans: Sequence[Span], *, shared_unit: bool = False) -> Self:
        """Compute the standard deviations of the numeric columns.

        Args:
            x: Encoded rows, shape ``(n, n_features)``, at least one.
            spans: Positions of the columns in a row.
            shared_unit: Whether numeric columns share a unit, as pixels do. If so, they share one
                scale, the root mean square of their standard deviations; otherwise nearly constant
                pixels would weigh as much as the others.
        """
        scales = np.ones(x.shape[1])
        numeric = [span.start for span in spans if span.kind == "numeric"]
        deviations = x[:, numeric].astype(np.float64).std(0)
        if shared_unit and numeric:
            deviations[:] = np.sqrt(np.mean(deviations**2))
        scales[numeric] = 1 / np.where(deviations > 0, deviations, 1.0)
        for span in spans:
            if span.kind == "category":
                # Two one-hot entries differ if the category differs.
                scales[span.start : span.stop] = np.sqrt(0.5)
        return cls(scales)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return scaled rows, shape ``(n, n_features)``, float64."""
        return x * self.scales
