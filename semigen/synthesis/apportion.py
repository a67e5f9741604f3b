"""Division of a number of rows between the classes."""

from __future__ import annotations

import numpy as np


def apportion(n: int, proportions: np.ndarray) -> np.ndarray:
    """Return integers that sum to ``n`` in given proportions (largest remainder method).

    Args:
        n: Sum of the integers.
        proportions: Proportions, which sum to 1, shape ``(n_classes,)``.

    Returns:
        Shape ``(n_classes,)``.

    Examples:
        >>> apportion(10, np.array([0.57, 0.43]))
        array([6, 4])
    """
    exact = n * proportions
    counts = np.floor(exact).astype(int)
    order = np.argsort(counts - exact, kind="stable")
    counts[order[: n - counts.sum()]] += 1
    return counts
