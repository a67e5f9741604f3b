"""Whether a generator has collapsed: makes few different rows where the real ones are many."""

from __future__ import annotations

import math

import torch
from torch import Tensor

N_ROWS = 256
BANDWIDTH = 0.1
"""Distance at which two rows begin to count as one, in units of the usual distance of real rows."""
LEAST_SHARE = 0.05
"""Share of the real rows' diversity below which a generator counts as collapsed. It is low on
purpose: a merely poor generator passes, since going back to older weights and on at a lower rate
cures a game that tipped over, not one that is still being learned."""
UNJUDGED_SHARE = 0.5
UNJUDGED_STEPS = 300
"""Share of the epochs, and number of steps, in which nothing is said: every generator starts with
rows much alike."""


def collapse(real: Tensor, generated: Tensor) -> str | None:
    """Return in which way generated rows have collapsed, or nothing if they have not.

    Args:
        real: Encoded rows, shape ``(n, n_features)``.
        generated: About as many encoded rows, same width.
    """
    real, generated = real.float(), generated.float()
    if not torch.isfinite(generated).all():
        return "the generated rows are not finite"
    usual = float((real - real.mean(0)).square().mean(0).sum().mul(2).sqrt())
    if usual == 0:
        return None
    found, expected = (diversity(x, BANDWIDTH * usual) for x in (generated, real))
    # One row over and over has a diversity of 1, so that what counts is by how much it is exceeded.
    if found - 1 < LEAST_SHARE * (expected - 1):
        return f"mode collapse: {len(generated)} generated rows are as diverse as {found:.1f} apart"
    return None


def first_judged_epoch(n_epochs: int, n_rows: int, batch_size: int) -> int:
    """Return the epoch, from 0, after which a generator should no longer look collapsed."""
    steps_per_epoch = -(-n_rows // batch_size)
    return max(math.ceil(UNJUDGED_SHARE * n_epochs), -(-UNJUDGED_STEPS // steps_per_epoch))


def diversity(x: Tensor, bandwidth: float) -> float:
    """Return the effective number of different rows, from 1 (all equal) to n (all far apart).

    The Vendi score (Friedman & Dieng 2023, "The Vendi Score", definition 3.1): the exponential of
    the entropy of the eigenvalues of ``K / n``, for a Gaussian kernel ``K``.

    Args:
        x: Shape ``(n, n_features)``.
        bandwidth: Standard deviation of the kernel.
    """
    # Through a matrix product, equal rows would lie some thousandths apart.
    distances = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    kernel = (-0.5 * (distances.double() / bandwidth).square()).exp()
    shares = torch.linalg.eigvalsh(kernel.cpu() / len(x)).clamp_min(1e-12)
    return float((-(shares * shares.log()).sum()).exp())


def thinned(x: Tensor) -> Tensor:
    """Return at most ``N_ROWS`` of the rows ``x``, evenly spaced, for ``collapse`` to look at."""
    return x[:: -(-len(x) // N_ROWS)]
