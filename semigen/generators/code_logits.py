"""Logits of columns of codes: columns with about as many codes are worked on together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

RULED_OUT = -1e4
"""Logit of a code that a column has not."""


def buckets(n_codes: Sequence[int]) -> dict[int, list[int]]:
    """Return columns by their number of codes, rounded up to a power of two."""
    found: dict[int, list[int]] = {}
    for column, n in enumerate(n_codes):
        found.setdefault(2 ** math.ceil(math.log2(n)), []).append(column)
    return found


def ruling_bias(n_codes: Sequence[int], width: int) -> Tensor:
    """Return biases ``(n_columns, width)`` that rule out codes beyond each column's own."""
    place, n = torch.arange(width)[None, :], torch.tensor(n_codes)[:, None]
    return torch.where(place < n, 0.0, RULED_OUT)


def drawn(logits: Tensor) -> Tensor:
    """Return a code for every distribution, shape ``(...)``, of logits ``(..., n_codes)``.

    By inverting the distribution function: one random number a code drawn, where Gumbel noise needs
    one for every logit and ``torch.multinomial`` 20 times as long.
    """
    logits = logits.float()
    sums = (logits - logits.amax(-1, keepdim=True)).exp_().cumsum(-1)
    place = torch.rand(*sums.shape[:-1], 1, device=sums.device).mul_(sums[..., -1:])
    # Rounding may put a place at the very end.
    return torch.searchsorted(sums, place, right=True)[..., 0].clamp_(max=sums.shape[-1] - 1)
