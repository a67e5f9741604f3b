"""Whether a generator has collapsed: makes few different rows where the real ones are many."""

from __future__ import annotations

import torch
from torch import Tensor

N_ROWS = 256
LEAST_SPREAD = 0.1
LEAST_DISTANCE = 0.02
"""Shares of the real rows' figures below which a generator counts as collapsed. They are low on
purpose: an early or a merely poor generator passes, since going back to older weights and on at a
lower rate cures a game that tipped over, not one that is still being learned."""


def collapse(real: Tensor, generated: Tensor) -> str | None:
    """Return in which way generated rows have collapsed, or nothing if they have not.

    Two figures tell, each relative to real rows: the spread, which is the root mean squared
    distance between two rows, falls to zero with all rows at one point; the median distance to the
    nearest other row falls to zero with all rows at a few points, however far apart these are.
    Where real rows themselves repeat each other, the second one says nothing.

    Args:
        real: Encoded rows, shape ``(n_real, n_features)``.
        generated: As many encoded rows or as good as, shape ``(n, n_features)``; nearest rows are
            nearer among more rows, so numbers should be about equal.
    """
    real, generated = real.float(), generated.float()
    if not torch.isfinite(generated).all():
        return "the generated rows are not finite"
    if len(real) < 3 or len(generated) < 3:
        return None
    spread, real_spread = _spread(generated), _spread(real)
    if spread < LEAST_SPREAD * real_spread:
        return (
            f"mode collapse: generated rows spread {spread / real_spread:.1%} as far as real ones"
        )
    nearest, real_nearest = _nearest(generated), _nearest(real)
    if nearest < LEAST_DISTANCE * real_nearest:
        share = nearest / real_nearest
        return f"mode collapse: generated rows lie {share:.1%} as far from each other as real ones"
    return None


def thinned(x: Tensor) -> Tensor:
    """Return at most ``N_ROWS`` of the rows ``x``, evenly spaced, for ``collapse`` to look at."""
    return x[:: -(-len(x) // N_ROWS)]


def _spread(x: Tensor) -> float:
    return float(x.var(0, correction=1).sum().mul(2).sqrt())


def _nearest(x: Tensor) -> float:
    # Through a matrix product, equal rows would lie some thousandths apart.
    distances = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    return float(distances.fill_diagonal_(torch.inf).amin(1).median())
