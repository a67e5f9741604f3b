"""The distribution of an encoded row given the decoder's outputs, a likelihood per column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from semigen.encoding import Span

FLAT_LOGIT = 1e-2
"""Slope that stands in for smaller ones of a continuous Bernoulli: its log density errs by 1e-5."""
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
            as of scanned pixels. They are continuous Bernoulli then (Loaiza-Ganem & Cunningham
            2019), which needs no scale.
    """

    numeric: Tensor
    binary: Tensor
    hot: Tensor
    owner: Tensor

    def __init__(
        self, spans: Sequence[Span], *, shared_scale: bool, intensities: bool = False
    ) -> None:
        super().__init__()
        numeric = [s.start for s in spans if s.kind == "numeric"]
        binary = [s.start for s in spans if s.kind in ("missing", "boolean")]
        one_hot = [s for s in spans if s.kind == "category"]
        self.register_buffer("numeric", torch.tensor(numeric, dtype=torch.long), persistent=False)
        self.register_buffer("binary", torch.tensor(binary, dtype=torch.long), persistent=False)
        hot = [i for s in one_hot for i in range(s.start, s.stop)]
        owner = [number for number, s in enumerate(one_hot) for _ in range(s.start, s.stop)]
        self.register_buffer("hot", torch.tensor(hot, dtype=torch.long), persistent=False)
        self.register_buffer("owner", torch.tensor(owner, dtype=torch.long), persistent=False)
        self.n_categorical = len(one_hot)
        self.n_features = spans[-1].stop
        self.intensities = intensities
        n_scales = 0 if intensities else 1 if shared_scale and numeric else len(numeric)
        self.log_scale = nn.Parameter(torch.full((n_scales,), INITIAL_LOG_SCALE))

    def forward(self, outputs: Tensor) -> RowDistribution:
        """Return the distribution given outputs of shape ``(n, n_features)``."""
        return RowDistribution(outputs.float(), self)


class ContinuousBernoulli:
    """Density ``exp(logits * x) * logits / (exp(logits) - 1)`` on [0, 1].

    torch's own works with probabilities, which round to 1 at the logits of clear pixels.
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities, shaped as the logits."""
        log_normalizer: Tensor = _LogNormalizer.apply(self.logits)  # type: ignore[no-untyped-call]
        return x * self.logits - log_normalizer

    def sample(self) -> Tensor:
        """Return draws by the inverse of the distribution function."""
        # With a falling density, exp cannot overflow; the mirror image serves the rising ones.
        slope = self.logits.abs().clamp(min=FLAT_LOGIT)
        falling = -torch.log1p(torch.rand_like(slope) * torch.expm1(-slope)) / slope
        draws = falling.clamp(0.0, 1.0)
        return torch.where(self.logits > 0, 1 - draws, draws)


class _LogNormalizer(torch.autograd.Function):
    """``log((exp(l) - 1) / l)``; its derivative, the mean, shares most of the work with it."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        slope = logits.abs().clamp_(min=FLAT_LOGIT)
        mass = torch.expm1(-slope).neg_()
        ctx.save_for_backward(logits, slope, mass)
        return (mass / slope).log_().add_(logits + slope, alpha=0.5)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        logits, slope, mass = ctx.saved_tensors
        excess = mass.reciprocal().sub_(slope.reciprocal()).sub_(0.5)
        return gradients[0] * excess.copysign_(logits).add_(0.5)


class RowDistribution:
    """``p(x | z)`` of a batch; ``outputs`` are means and logits, shape ``(n, n_features)``."""

    def __init__(self, outputs: Tensor, likelihood: RowLikelihood) -> None:
        self.outputs, self.of = outputs, likelihood

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log density of rows ``(n, n_features)``, shape ``(n,)``, in nats."""
        numeric = self._intensities() if self.of.intensities else self._gaussian()
        total = numeric.log_prob(x[:, self.of.numeric]).sum(1)
        binary = self.of.binary
        total = total - F.binary_cross_entropy_with_logits(
            self.outputs[:, binary], x[:, binary], reduction="none"
        ).sum(1)
        if self.of.n_categorical:
            logits = self.outputs[:, self.of.hot]
            per_column = self._logsumexp(logits)
            total = total + (x[:, self.of.hot] * logits).sum(1) - per_column.sum(1)
        return total

    def sample(self) -> Tensor:
        """Return one row of each distribution, shape ``(n, n_features)``; categories one-hot."""
        numeric = self._intensities() if self.of.intensities else self._gaussian()
        return self._rows(
            numeric.sample(),
            torch.bernoulli(torch.sigmoid(self.outputs[:, self.of.binary])),
            self.outputs[:, self.of.hot]
            - torch.empty_like(self.outputs[:, self.of.hot]).exponential_().log(),
        )

    def _intensities(self) -> ContinuousBernoulli:
        return ContinuousBernoulli(self.outputs[:, self.of.numeric])

    def _gaussian(self) -> torch.distributions.Normal:
        scale = self.of.log_scale.clamp(min=MIN_LOG_SCALE).exp()
        mean = self.outputs[:, self.of.numeric]
        return torch.distributions.Normal(mean, scale.expand_as(mean), validate_args=False)

    def _rows(self, numeric: Tensor, binary: Tensor, category_scores: Tensor) -> Tensor:
        x = torch.zeros_like(self.outputs)
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
