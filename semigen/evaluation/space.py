"""A space in which Euclidean distances of encoded rows mean something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from semigen.tables.encoding import Span


class DistanceSpace:
    """Columns of encoded rows, scaled so that no kind of column outweighs the others.

    Two rows that differ in one column by its standard deviation, or in the category or yes/no of
    one column, are at distance 1, and a missing against a present cell adds 1 in square. So does
    the heterogeneous metric of Wilson & Martinez (1997), with ranges in place of deviations, which
    one outlier would stretch.

    Attributes:
        scales: Factor of every encoded column, shape ``(n_features,)``, float64.
    """

    def __init__(self, scales: np.ndarray) -> None:
        self.scales = scales

    @classmethod
    def fit(cls, x: np.ndarray, spans: Sequence[Span], *, shared_unit: bool = False) -> Self:
        """Learn the deviations of numeric columns.

        Args:
            x: Encoded rows, shape ``(n, n_features)``, at least one.
            spans: Their layout.
            shared_unit: Whether numeric columns share a unit, as pixels do: then they share the
                root mean square of their deviations, or noise in the corners would count as much
                as the strokes.
        """
        scales = np.ones(x.shape[1])
        numeric = [span.start for span in spans if span.kind == "numeric"]
        deviations = x[:, numeric].astype(np.float64).std(0)
        if shared_unit and numeric:
            deviations[:] = np.sqrt(np.mean(deviations**2))
        scales[numeric] = 1 / np.where(deviations > 0, deviations, 1.0)
        for span in spans:
            if span.kind == "category":
                # Two one-hot entries differ when the category does.
                scales[span.start : span.stop] = np.sqrt(0.5)
        return cls(scales)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return rows ``(n, n_features)`` in the space, float64."""
        return x * self.scales
