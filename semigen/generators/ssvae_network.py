"""Networks of semi-supervised VAEs: classifier, inference model and generative model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional as F

from semigen.generators.likelihoods import RowDistribution, RowLikelihood
from semigen.generators.vae import MIN_SCALE, multilayer_perceptron
from semigen.params.generators import SSVAEParams
from semigen.tables.encoding import Span


class SSVAENetwork(nn.Module):
    """``q(y | x)``, ``q(z | x, y)`` and ``p(x | y, z)``, with or without an auxiliary variable.

    - ``m2``: ``p(y) p(z) p(x | y, z)`` and ``q(y | x) q(z | x, y)`` (Kingma et al. 2014).
    - ``adgm``: an auxiliary variable ``a`` makes the posterior more expressive and leaves the
      generative model unchanged: ``q(a | x) q(y | a, x) q(z | a, x, y)``, and ``p(a | z, y, x)``
      in addition to M2 (Maaløe et al. 2016, "Auxiliary Deep Generative Models", eq. 3).
    - ``sdgm``: two stochastic layers with skip connections, the same posterior, and
      ``p(a | z, y) p(x | a, y, z)`` (section 2.3 of that paper).

    Args:
        spans: Layout of a row ``x``, or of M1's code for M1+M2.
        n_classes: Number of values of ``y``; their prior is uniform.
        params: Form and widths.

    Examples:
        >>> params = SSVAEParams(latent_dim=2, hidden_dims=(8,), classifier_dims=(8,))
        >>> network = SSVAENetwork([Span("a", 0, 1, "numeric")], 3, params)
        >>> network.sample(torch.tensor([0, 2])).shape
        torch.Size([2, 1])
    """

    def __init__(self, spans: Sequence[Span], n_classes: int, params: SSVAEParams) -> None:
        super().__init__()
        self.form, self.n_classes = params.form, n_classes
        n_features, hidden_dims = spans[-1].stop, params.hidden_dims
        self.latent_dim = params.latent_dim
        is_layered = params.form in ("sdgm", "adgm")
        self.auxiliary_dim = params.auxiliary_dim if is_layered else 0
        n_code, n_row = params.latent_dim, n_features + self.auxiliary_dim
        self.classifier = normalized_perceptron(n_row, params.classifier_dims, n_classes)
        self.encoder = ClassConditional(n_row, n_classes, hidden_dims, 2 * n_code)
        n_decoded = n_code + (self.auxiliary_dim if params.form == "sdgm" else 0)
        self.decoder = ClassConditional(n_decoded, n_classes, hidden_dims[::-1], n_features)
        self.likelihood = RowLikelihood(
            spans,
            shared_scale=params.noise_scale == "shared",
            intensities=params.noise_scale == "intensity",
        )
        if self.auxiliary_dim:
            n_auxiliary = 2 * self.auxiliary_dim
            self.auxiliary_encoder = multilayer_perceptron(n_features, hidden_dims, n_auxiliary)
            n_given = n_code + (n_features if params.form == "adgm" else 0)
            self.auxiliary_decoder = ClassConditional(
                n_given, n_classes, hidden_dims[::-1], n_auxiliary
            )

    def sample_auxiliary(self, x: Tensor) -> AuxiliarySample:
        """Draw from ``q(a | x)`` for every row; the sample has width 0 if there is no ``a``."""
        if not self.auxiliary_dim:
            return AuxiliarySample(x.new_empty(len(x), 0), x.new_zeros(len(x)))
        posterior = as_normal(self.auxiliary_encoder(x))
        value = posterior.rsample()
        return AuxiliarySample(value, posterior.log_prob(value).sum(1))

    def logits(self, x: Tensor, a: AuxiliarySample) -> Tensor:
        """Return the logits of ``q(y | a, x)``, shape ``(n, n_classes)``."""
        logits: Tensor = self.classifier(torch.cat([x, a.value], dim=1))
        return logits.float()

    def log_weights(
        self, x: Tensor, a: AuxiliarySample, rows: Tensor, y: Tensor, beta: float = 1.0
    ) -> Tensor:
        """Return ``log p(x, y, a, z) - log q(a, z | x, y)`` of pairs of a row and a class.

        Its expectation over ``a`` and ``z`` is a lower bound of ``log p(x, y)``.

        Args:
            x: Rows, shape ``(n, n_features)``.
            a: Sample of the auxiliary variable of each row.
            rows: Indices into ``x``, shape ``(n_pairs,)``.
            y: Positions in the classes, shape ``(n_pairs,)``.
            beta: Weight of all terms except the reconstruction of ``x``; 1 gives the bound.

        Returns:
            Shape ``(n_pairs,)``, in nats.
        """
        posterior = as_normal(self.encoder(torch.cat([x, a.value], dim=1), y, rows))
        z = posterior.rsample()
        prior = Normal(torch.zeros_like(z), torch.ones_like(z), validate_args=False)
        # The value at the sample, not the expectation, which would be wrong in importance weights.
        divergence = (posterior.log_prob(z) - prior.log_prob(z)).sum(1) + math.log(self.n_classes)
        value = a.value[rows]
        if self.auxiliary_dim:
            given = torch.cat([z, x[rows]], dim=1) if self.form == "adgm" else z
            prior_of_a = as_normal(self.auxiliary_decoder(given, y))
            divergence = divergence + a.log_prob[rows] - prior_of_a.log_prob(value).sum(1)
        return self.decode(z, value, y).log_prob(x[rows]) - beta * divergence

    def decode(self, z: Tensor, a: Tensor, y: Tensor) -> RowDistribution:
        """Return ``p(x | y, z)``, or ``p(x | a, y, z)`` for ``sdgm``."""
        code = torch.cat([z, a], dim=1) if self.form == "sdgm" else z
        return self.likelihood(self.decoder(code, y))

    def sample(self, y: Tensor) -> Tensor:
        """Return one new row of each class in ``y``, shape ``(n, n_features)``."""
        z = torch.randn(len(y), self.latent_dim)
        a = as_normal(self.auxiliary_decoder(z, y)).sample() if self.form == "sdgm" else z
        return self.decode(z, a, y).sample()


@dataclass(frozen=True)
class AuxiliarySample:
    """A sample ``a`` from ``q(a | x)`` for every row of a batch.

    Attributes:
        value: Shape ``(n, auxiliary_dim)``.
        log_prob: ``log q(a | x)``, shape ``(n,)``.
    """

    value: Tensor
    log_prob: Tensor

    def first(self, n: int) -> AuxiliarySample:
        """Return the sample of the first ``n`` rows."""
        return AuxiliarySample(self.value[:n], self.log_prob[:n])

    def detach(self) -> AuxiliarySample:
        """Return the sample without gradients."""
        return AuxiliarySample(self.value.detach(), self.log_prob.detach())


class ClassConditional(nn.Module):
    """Multilayer perceptron of pairs of a row and a class.

    The product of a row with the first layer is computed once, even if the row is paired with
    several classes; for wide rows it is by far the largest product.

    Args:
        n_in: Width of a row.
        n_classes: Number of classes.
        hidden_dims: Widths of the hidden layers.
        n_out: Width of the output.

    Examples:
        >>> network = ClassConditional(4, n_classes=3, hidden_dims=(8,), n_out=2)
        >>> network(torch.zeros(1, 4), torch.arange(3), rows=torch.tensor([0, 0, 0])).shape
        torch.Size([3, 2])
    """

    def __init__(self, n_in: int, n_classes: int, hidden_dims: Sequence[int], n_out: int) -> None:
        super().__init__()
        self.by_row = nn.Linear(n_in, hidden_dims[0])
        self.by_class = nn.Embedding(n_classes, hidden_dims[0])
        self.rest = multilayer_perceptron(hidden_dims[0], hidden_dims[1:], n_out)

    def forward(self, x: Tensor, y: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return outputs ``(n_pairs, n_out)`` of rows ``x``, or ``x[rows]``, and classes ``y``."""
        hidden = self.by_row(x)
        hidden = hidden if rows is None else hidden[rows]
        return self.rest(F.silu(hidden + self.by_class(y)))


def normalized_perceptron(n_in: int, hidden_dims: Sequence[int], n_out: int) -> nn.Sequential:
    """Return linear layers with batch normalization and ReLU between them."""
    layers: list[nn.Module] = []
    for width in hidden_dims:
        layers += [nn.Linear(n_in, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()]
        n_in = width
    return nn.Sequential(*layers, nn.Linear(n_in, n_out))


def as_normal(outputs: Tensor) -> Normal:
    """Return a diagonal Gaussian; ``outputs`` are its means and raw scales side by side."""
    mean, raw_scale = outputs.float().chunk(2, dim=1)
    return Normal(mean, F.softplus(raw_scale) + MIN_SCALE, validate_args=False)
