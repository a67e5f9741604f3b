"""The distribution of an encoded row given the decoder's outputs, a likelihood per column."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from semigen.tables.encoding import Span

INITIAL_LOG_SCALE = -1.5
MIN_LOG_SCALE = -3.0
"""Least log of a numeric column's scale, in units of its standard deviation. Without a floor, a
constant column takes the scale to 0 and the likelihood to infinity."""


class RowLikelihood(nn.Module):
    """Builds ``p(x | z)`` from a decoder's outputs.

    Numeric columns are Gaussian with a learned scale, which calibrates reconstruction against the
    KL term (Rybkin et al. 2021, "Simple and Effective VAE Training with Calibrated Decoders");
    boolean and missing ones are Bernoulli, category columns categorical.

    Args:
        spans: Layout of an encoded row.
        shared_scale: Whether all numeric columns share one scale, as pixels do. With a scale each,
            a nearly constant column weighs as much as the most telling one.
        intensities: Whether numeric columns are intensities in [0, 1], most of them near the ends,
            as of scanned pixels. The row then stands for the black-and-white ones that it is the
            mean of, as in Kingma & Welling (2014): its log density is their expected one. That of a
            continuous Bernoulli outweighs the KL term of a code so far that classes drift apart.
    """

    intensity: Tensor
    numeric: Tensor
    binary: Tensor
    bernoulli: Tensor
    hot: Tensor
    owner: Tensor

    def __init__(
        self, spans: Sequence[Span], *, shared_scale: bool, intensities: bool = False
    ) -> None:
        super().__init__()
        numeric = [s.start for s in spans if s.kind == "numeric"]
        binary = [s.start for s in spans if s.kind in ("missing", "boolean")]
        one_hot = [s for s in spans if s.kind == "category"]
        intensity, numeric = (numeric, []) if intensities else ([], numeric)
        self.register_buffer("intensity", _index(intensity), persistent=False)
        self.register_buffer("numeric", _index(numeric), persistent=False)
        self.register_buffer("binary", _index(binary), persistent=False)
        self.register_buffer("bernoulli", _index(intensity + binary), persistent=False)
        hot = [i for s in one_hot for i in range(s.start, s.stop)]
        owner = [number for number, s in enumerate(one_hot) for _ in range(s.start, s.stop)]
        self.register_buffer("hot", _index(hot), persistent=False)
        self.register_buffer("owner", _index(owner), persistent=False)
        self.n_categorical = len(one_hot)
        self.n_features = spans[-1].stop
        n_scales = 1 if shared_scale and numeric else len(numeric)
        self.log_scale = nn.Parameter(torch.full((n_scales,), INITIAL_LOG_SCALE))

    def forward(self, outputs: Tensor) -> RowDistribution:
        """Return the distribution given outputs of shape ``(n, n_features)``."""
        return RowDistribution(outputs.float(), self)


class RowDistribution:
    """``p(x | z)`` of a batch; ``outputs`` are means and logits, shape ``(n, n_features)``."""

    def __init__(self, outputs: Tensor, likelihood: RowLikelihood) -> None:
        self.outputs, self.of = outputs, likelihood

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log density of rows ``(n, n_features)``, shape ``(n,)``, in nats."""
        total = self._gaussian().log_prob(x[:, self.of.numeric]).sum(1)
        total = total - F.binary_cross_entropy_with_logits(
            _columns(self.outputs, self.of.bernoulli),
            _columns(x, self.of.bernoulli),
            reduction="none",
        ).sum(1)
        if self.of.n_categorical:
            logits = self.outputs[:, self.of.hot]
            per_column = self._logsumexp(logits)
            total = total + (x[:, self.of.hot] * logits).sum(1) - per_column.sum(1)
        return total

    def sample(self) -> Tensor:
        """Return one row of each distribution, shape ``(n, n_features)``; categories one-hot.

        Intensities are the expected ones.
        """
        return self._rows(
            self._gaussian().sample(),
            torch.bernoulli(torch.sigmoid(self.outputs[:, self.of.binary])),
            self.outputs[:, self.of.hot]
            - torch.empty_like(self.outputs[:, self.of.hot]).exponential_().log(),
        )

    def _gaussian(self) -> torch.distributions.Normal:
        scale = self.of.log_scale.clamp(min=MIN_LOG_SCALE).exp()
        mean = self.outputs[:, self.of.numeric]
        return torch.distributions.Normal(mean, scale.expand_as(mean), validate_args=False)

    def _rows(self, numeric: Tensor, binary: Tensor, category_scores: Tensor) -> Tensor:
        x = torch.zeros_like(self.outputs)
        x[:, self.of.intensity] = torch.sigmoid(self.outputs[:, self.of.intensity])
        x[:, self.of.numeric] = numeric
        x[:, self.of.binary] = binary
        if self.of.n_categorical:
            best = self._column_max(category_scores)
            x[:, self.of.hot] = (category_scores >= best[:, self.of.owner]).float()
        return x

    def _column_max(self, scores: Tensor) -> Tensor:
        index = self.of.owner.expand_as(scores)
        empty = scores.new_full((len(scores), self.of.n_categorical), -torch.inf)
        return empty.scatter_reduce(1, index, scores, "amax")

    def _logsumexp(self, logits: Tensor) -> Tensor:
        """Return the log normalizer of every category column, shape ``(n, n_categorical)``."""
        largest = self._column_max(logits.detach())
        shifted = (logits - largest[:, self.of.owner]).exp()
        sums = torch.zeros_like(largest).index_add(1, self.of.owner, shifted)
        return sums.log() + largest


def _index(positions: Sequence[int]) -> Tensor:
    return torch.tensor(positions, dtype=torch.long)


def _columns(rows: Tensor, index: Tensor) -> Tensor:
    """Return columns of rows, in any order: all of them are not worth copying."""
    return rows if len(index) == rows.shape[1] else rows[:, index]
