"""Precision, recall, density and coverage of synthetic rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from semigen.methods.neighbors import count_in_balls, nearest_neighbors

N_NEIGHBORS = 5


@dataclass(frozen=True)
class Diversity:
    """Fidelity and diversity of synthetic rows, from balls around rows.

    A ball reaches to the ``k``-th nearest row of the same sample. Real rows compared with
    themselves have precision, recall and coverage 1 and density ``(k + 1) / k``. Two independent
    samples of the same distribution and size have an expected density of 1 and an expected coverage
    of ``1 - 2^-k`` (Naeem et al. 2020, sec. 3.3); their precision and recall depend on the
    distribution.

    Attributes:
        precision: Fraction of synthetic rows within the ball of a real row.
        recall: Fraction of real rows within the ball of a synthetic row.
        density: Mean number of balls of real rows that contain a synthetic row, divided by ``k``.
            More robust than precision to the large ball of an outlier; may exceed 1.
        coverage: Fraction of real rows whose ball contains a synthetic row. More robust than recall
            to outliers among the synthetic rows.
        n_real: Number of real rows.
        n_synthetic: Number of synthetic rows.
        k: Rank of the neighbor whose distance is the radius of a ball.

    Examples:
        >>> rows = np.random.default_rng(0).normal(size=(100, 3))
        >>> found = diversity(rows, rows)
        >>> found.precision, found.coverage, found.density
        (1.0, 1.0, 1.2)
    """

    precision: float
    recall: float
    density: float
    coverage: float
    n_real: int
    n_synthetic: int
    k: int


def diversity(synthetic: np.ndarray, real: np.ndarray, *, k: int = N_NEIGHBORS) -> Diversity:
    """Compare two samples by balls around their rows.

    Precision and recall are those of Kynkäänniemi et al. (2019), eq. 1 and 2, density and coverage
    those of Naeem et al. (2020), eq. 5 and 6, with closed balls.

    Args:
        synthetic: Synthetic rows in a ``DistanceSpace``, shape ``(n_synthetic, n_features)``.
        real: Real rows in the same space, shape ``(n_real, n_features)``. Precision and recall are
            comparable only if both samples have about the same size.
        k: Rank of the neighbor whose distance is the radius, at most the number of other rows; 5 as
            in Naeem et al.

    Raises:
        ValueError: If a sample has fewer than two rows.
    """
    if min(len(synthetic), len(real)) < 2:
        raise ValueError(
            f"expected two rows in each sample, got {len(synthetic)} synthetic, {len(real)} real"
        )
    k = min(k, len(synthetic) - 1, len(real) - 1)
    radii, synthetic_radii = (
        nearest_neighbors(rows, rows, k, exclude_self=True).distances[:, -1]
        for rows in (real, synthetic)
    )
    n_balls = count_in_balls(synthetic, real, radii)
    n_synthetic_balls = count_in_balls(real, synthetic, synthetic_radii)
    to_synthetic = nearest_neighbors(real, synthetic).distances[:, 0]
    return Diversity(
        precision=float((n_balls > 0).mean()),
        recall=float((n_synthetic_balls > 0).mean()),
        density=float(n_balls.mean() / k),
        coverage=float((to_synthetic <= radii).mean()),
        n_real=len(real),
        n_synthetic=len(synthetic),
        k=k,
    )
