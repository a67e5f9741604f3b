"""Whether synthetic rows are where real ones are, and everywhere where real ones are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from semigen.methods.neighbors import count_in_balls, nearest_neighbors

N_NEIGHBORS = 5


@dataclass(frozen=True)
class Diversity:
    """Manifold figures of synthetic rows.

    Real rows against themselves have precision, recall and coverage 1 and density ``(k + 1) / k``.
    Of two independent samples of one distribution, equal in size, a density of 1 and a coverage of
    ``1 - 2^-k`` are expected (Naeem et al. 2020, sec. 3.3); their precision and recall depend on
    the distribution.

    Attributes:
        precision: Share of synthetic rows within the ball of a real one: rows that could be real.
        recall: Share of real rows within the ball of a synthetic one: real rows that could have
            been synthetic.
        density: Balls of real rows that a synthetic one lies in, over ``k``, on average. Unlike
            precision it is not fooled by the wide ball of an outlier; it may exceed 1.
        coverage: Share of real rows whose ball holds a synthetic row. Unlike recall it does not
            grow with outliers among the synthetic rows.
        n_real: Real rows compared.
        n_synthetic: Synthetic rows compared.
        k: Neighbor whose distance is a ball's radius.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    n_real: int
    n_synthetic: int
    k: int


def diversity(synthetic: np.ndarray, real: np.ndarray, *, k: int = N_NEIGHBORS) -> Diversity:
    """Compare two samples by balls around their rows that reach to the ``k``-th other row.

    Improved precision and recall are of Kynkäänniemi et al. (2019), eq. 1 and 2, density and
    coverage of Naeem et al. (2020), eq. 5 and 6, with balls closed.

    Args:
        synthetic: Rows in a ``DistanceSpace``, shape ``(n_synthetic, n_features)``.
        real: Rows in the same space, shape ``(n_real, n_features)``; about as many, or recall and
            precision are not comparable with one another.
        k: Neighbor whose distance is a radius, 5 as in Naeem et al.; with fewer rows the farthest.

    Raises:
        ValueError: If either sample has fewer than two rows: none then has a neighbor.
    """
    if min(len(synthetic), len(real)) < 2:
        raise ValueError(
            f"balls need two rows on either side, got {len(synthetic)} synthetic, {len(real)} real"
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
