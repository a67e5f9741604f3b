"""Order statistics of a column that do not reveal the value of a single row.

Minimum, maximum, median and quantiles of a sample are values of single rows: the maximum of a
salary column is the salary of one person. Models store averages of at least ``min_rows``
neighboring values instead (microaggregation; Domingo-Ferrer & Mateo-Sanz 2002, "Practical
Data-Oriented Microaggregation"). A value that as many rows share, such as the zero of a pixel or a
legal limit, stays exact.
"""

from __future__ import annotations

import numpy as np


def shared_bounds(
    values: np.ndarray, min_rows: int, *, integer: bool = False
) -> tuple[float, float]:
    """Return the means of the ``min_rows`` smallest and of the ``min_rows`` largest values.

    Args:
        values: Finite values, shape ``(n,)``, at least one.
        min_rows: Number of rows that each bound averages; 1 gives minimum and maximum.
        integer: Whether to round the bounds to whole numbers, toward each other.

    Examples:
        >>> shared_bounds(np.array([18, 21, 24, 60, 64, 65, 99]), min_rows=3)
        (21.0, 76.0)
        >>> shared_bounds(np.repeat([0, 16], 3), min_rows=3)
        (0.0, 16.0)
    """
    low, high = shared_quantiles(values, np.array([0.0, 1.0]), min_rows)
    if not integer:
        return float(low), float(high)
    if np.ceil(low) > np.floor(high):  # both lie between two adjacent whole numbers
        low, high = np.floor(low), np.ceil(high)
    return float(np.ceil(low)), float(np.floor(high))


def shared_quantiles(values: np.ndarray, levels: np.ndarray, min_rows: int) -> np.ndarray:
    """Return quantiles, each the mean of the ``min_rows`` values around it.

    Args:
        values: Finite values, shape ``(n,)``, at least one.
        levels: Levels from 0 to 1, shape ``(m,)``.
        min_rows: Number of values to average; all values if there are fewer.

    Returns:
        Shape ``(m,)``, float64; ascending if the levels are.

    Examples:
        >>> shared_quantiles(np.arange(9.0), np.array([0.0, 0.5, 1.0]), min_rows=3)
        array([1., 4., 7.])
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    width = min(min_rows, len(ordered))
    windows = np.lib.stride_tricks.sliding_window_view(ordered, width)
    centers = np.asarray(levels) * (len(ordered) - 1)
    starts = np.round(centers - (width - 1) / 2).astype(int).clip(0, len(windows) - 1)
    chosen = windows[starts]
    # The mean of equal numbers may differ from them by a rounding error.
    return chosen.mean(axis=1).clip(chosen[:, 0], chosen[:, -1])
