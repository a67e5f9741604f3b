"""Logits of columns of codes. Columns with similar numbers of codes are computed together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

PADDING_LOGIT = -1e4
"""Logit of a code beyond the codes of its column: probability 0, but a finite gradient."""


def bucket_columns(n_codes: Sequence[int]) -> dict[int, list[int]]:
    """Group columns by their number of codes, rounded up to a power of two.

    Args:
        n_codes: Number of codes of every column.

    Returns:
        Column numbers of every bucket, by the width of the bucket.

    Examples:
        >>> bucket_columns([2, 5, 8, 3, 2])
        {2: [0, 4], 8: [1, 2], 4: [3]}
    """
    buckets: dict[int, list[int]] = {}
    for column, n in enumerate(n_codes):
        buckets.setdefault(2 ** math.ceil(math.log2(n)), []).append(column)
    return buckets


def padding_bias(n_codes: Sequence[int], width: int) -> Tensor:
    """Return biases ``(n_columns, width)`` that exclude the codes beyond those of each column."""
    code, n = torch.arange(width)[None, :], torch.tensor(n_codes)[:, None]
    return torch.where(code < n, 0.0, PADDING_LOGIT)


def sample_codes(logits: Tensor) -> Tensor:
    """Draw a code from every categorical distribution.

    The distribution function is inverted: one random number for every code drawn, while Gumbel
    noise needs one for every logit, and ``torch.multinomial`` takes 20 times as long.

    Args:
        logits: Shape ``(..., n_codes)``.

    Returns:
        Codes, shape ``(...)``, int64.
    """
    logits = logits.float()
    sums = (logits - logits.amax(-1, keepdim=True)).exp_().cumsum(-1)
    target = torch.rand(*sums.shape[:-1], 1, device=sums.device).mul_(sums[..., -1:])
    # Rounding may make the target equal to the last sum.
    return torch.searchsorted(sums, target, right=True)[..., 0].clamp_(max=sums.shape[-1] - 1)
