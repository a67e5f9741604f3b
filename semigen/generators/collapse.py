"""Detection of mode collapse: the generator makes few distinct rows."""

from __future__ import annotations

import math

import torch
from torch import Tensor

N_ROWS = 256
BANDWIDTH = 0.1
"""Bandwidth of the kernel, as a fraction of the typical distance between real rows."""
MIN_RELATIVE_DIVERSITY = 0.05
"""Fraction of the diversity of the real rows below which a generator has collapsed. The value is
low on purpose: a return to older weights and a lower learning rate help after a collapse, but not
if the generator is merely poor."""
UNCHECKED_EPOCHS = 0.5
UNCHECKED_STEPS = 300
"""Fraction of the epochs, and minimum number of steps, before the first check: at the beginning of
training the rows of every generator are similar."""


def describe_collapse(real: Tensor, generated: Tensor) -> str | None:
    """Return a description of how generated rows have collapsed, or None if they have not.

    Args:
        real: Encoded rows, shape ``(n, n_features)``.
        generated: A similar number of encoded rows, of the same width.
    """
    real, generated = real.float(), generated.float()
    if not torch.isfinite(generated).all():
        return "the generated rows are not finite"
    distance = float((real - real.mean(0)).square().mean(0).sum().mul(2).sqrt())
    if distance == 0:
        return None
    actual, expected = (diversity(x, BANDWIDTH * distance) for x in (generated, real))
    # The diversity of a single repeated row is 1.
    if actual - 1 < MIN_RELATIVE_DIVERSITY * (expected - 1):
        return f"mode collapse: {len(generated)} generated rows are as diverse as {actual:.1f} rows"
    return None


def first_checked_epoch(n_epochs: int, n_steps: int) -> int:
    """Return the epoch, from 0, after which a generator is checked for collapse.

    Args:
        n_epochs: Number of epochs that the loss counts, see ``TrainingPlan.loss_epochs``.
        n_steps: Steps of the training.

    Examples:
        >>> first_checked_epoch(100, 10_000), first_checked_epoch(100, 400)
        (50, 75)
    """
    return max(math.ceil(UNCHECKED_EPOCHS * n_epochs), -(-UNCHECKED_STEPS * n_epochs // n_steps))


def diversity(x: Tensor, bandwidth: float) -> float:
    """Return the effective number of distinct rows, from 1 (all equal) to n (all far apart).

    The Vendi score (Friedman & Dieng 2023, "The Vendi Score", definition 3.1): the exponential of
    the entropy of the eigenvalues of ``K / n``, for a Gaussian kernel ``K``.

    Args:
        x: Rows, shape ``(n, n_features)``.
        bandwidth: Standard deviation of the kernel.

    Examples:
        >>> round(diversity(torch.tensor([[0.0], [0.0], [9.0]]), bandwidth=1.0), 2)
        1.89
    """
    # Matrix products would give equal rows a distance of some thousandths.
    distances = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    kernel = (-0.5 * (distances.double() / bandwidth).square()).exp()
    eigenvalues = torch.linalg.eigvalsh(kernel.cpu() / len(x)).clamp_min(1e-12)
    return float((-(eigenvalues * eigenvalues.log()).sum()).exp())


def subsample(x: Tensor) -> Tensor:
    """Return at most ``N_ROWS`` evenly spaced rows of ``x``."""
    return x[:: -(-len(x) // N_ROWS)]
