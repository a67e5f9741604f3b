"""Distribution of an encoded row given the outputs of a decoder, with a likelihood per column."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from semigen.tables.encoding import Span

INITIAL_LOG_SCALE = -1.5
MIN_LOG_SCALE = -3.0
"""Lower bound of the log scale of a numeric column, in units of its standard deviation. Without the
bound, the scale of a constant column converges to 0, and the likelihood diverges."""


class RowLikelihood(nn.Module):
    """Creates ``p(x | z)`` from the outputs of a decoder.

    Numeric columns are Gaussian with a learned scale, which balances the reconstruction and the KL
    term (Rybkin et al. 2021, "Simple and Effective VAE Training with Calibrated Decoders"). Boolean
    and missing columns are Bernoulli, category columns categorical.

    Args:
        spans: Layout of an encoded row.
        shared_scale: Whether all numeric columns share one scale, as for pixels. With separate
            scales, an almost constant column has as much weight as the most informative one.
        intensities: Whether numeric columns are intensities in [0, 1], most of them near 0 or 1,
            such as pixels of scans. A row is then treated as the mean of binary rows, as in Kingma
            & Welling (2014), and its log density is the mean of their log densities. With a
            continuous Bernoulli instead, the reconstruction would dominate the KL term.

    **Shape**: outputs ``(n, n_features)``.

    Examples:
        >>> spans = [Span("a", 0, 1, "numeric"), Span("b", 1, 4, "category")]
        >>> likelihood = RowLikelihood(spans, shared_scale=False)
        >>> distribution = likelihood(torch.zeros(5, 4))
        >>> distribution.log_prob(distribution.sample()).shape
        torch.Size([5])
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
    """Distribution ``p(x | z)`` of a batch; created by ``RowLikelihood``.

    Args:
        outputs: Means and logits, shape ``(n, n_features)``.
        likelihood: Layout of the columns, and scales.
    """

    def __init__(self, outputs: Tensor, likelihood: RowLikelihood) -> None:
        self.outputs, self.likelihood = outputs, likelihood

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log density of rows ``(n, n_features)``, shape ``(n,)``, in nats."""
        total = self._gaussian().log_prob(x[:, self.likelihood.numeric]).sum(1)
        total = total - F.binary_cross_entropy_with_logits(
            _columns(self.outputs, self.likelihood.bernoulli),
            _columns(x, self.likelihood.bernoulli),
            reduction="none",
        ).sum(1)
        if self.likelihood.n_categorical:
            logits = self.outputs[:, self.likelihood.hot]
            normalizers = self._logsumexp(logits)
            total = total + (x[:, self.likelihood.hot] * logits).sum(1) - normalizers.sum(1)
        return total

    def sample(self) -> Tensor:
        """Draw one row of each distribution, shape ``(n, n_features)``; categories are one-hot.

        Intensities are not drawn but set to their expected values.
        """
        return self._assemble(
            self._gaussian().sample(),
            torch.bernoulli(torch.sigmoid(self.outputs[:, self.likelihood.binary])),
            self.outputs[:, self.likelihood.hot]
            - torch.empty_like(self.outputs[:, self.likelihood.hot]).exponential_().log(),
        )

    def _gaussian(self) -> torch.distributions.Normal:
        scale = self.likelihood.log_scale.clamp(min=MIN_LOG_SCALE).exp()
        mean = self.outputs[:, self.likelihood.numeric]
        return torch.distributions.Normal(mean, scale.expand_as(mean), validate_args=False)

    def _assemble(self, numeric: Tensor, binary: Tensor, category_scores: Tensor) -> Tensor:
        x = torch.zeros_like(self.outputs)
        x[:, self.likelihood.intensity] = torch.sigmoid(self.outputs[:, self.likelihood.intensity])
        x[:, self.likelihood.numeric] = numeric
        x[:, self.likelihood.binary] = binary
        if self.likelihood.n_categorical:
            best = self._column_max(category_scores)
            x[:, self.likelihood.hot] = (category_scores >= best[:, self.likelihood.owner]).float()
        return x

    def _column_max(self, scores: Tensor) -> Tensor:
        index = self.likelihood.owner.expand_as(scores)
        initial = scores.new_full((len(scores), self.likelihood.n_categorical), -torch.inf)
        return initial.scatter_reduce(1, index, scores, "amax")

    def _logsumexp(self, logits: Tensor) -> Tensor:
        """Return the log normalizers of the category columns, shape ``(n, n_categorical)``."""
        largest = self._column_max(logits.detach())
        shifted = (logits - largest[:, self.likelihood.owner]).exp()
        sums = torch.zeros_like(largest).index_add(1, self.likelihood.owner, shifted)
        return sums.log() + largest


def _index(columns: Sequence[int]) -> Tensor:
    return torch.tensor(columns, dtype=torch.long)


def _columns(rows: Tensor, index: Tensor) -> Tensor:
    """Return columns of rows, without a copy if these are all columns."""
    return rows if len(index) == rows.shape[1] else rows[:, index]
