"""Networks of the semi-supervised GAN."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from semigen.generators.row_head import RowHead
from semigen.params.generators import SSGANParams
from semigen.tables.encoding import Span

TEMPERATURE = 0.5
"""Temperature of the relaxed binary and categorical draws of the generator."""
NOISE_POOL_SIZE = 2**22


class NoisePool(nn.Module):
    """Adds standard normal noise, taken at random places from a pool that is drawn once.

    New noise in every step took a quarter of the time of a training step.
    """

    pool: Tensor

    def __init__(self) -> None:
        super().__init__()
        pool = torch.randn(NOISE_POOL_SIZE).bfloat16()
        self.register_buffer("pool", pool, persistent=False)

    def forward(self, x: Tensor, scale: float) -> Tensor:
        """Return ``x``, shape ``(n, n_features)``, plus noise of standard deviation ``scale``."""
        if x.numel() > len(self.pool):
            return x + scale * torch.randn_like(x)
        start = int(torch.randint(len(self.pool) - x.numel() + 1, ()))
        return torch.add(x, self.pool[start : start + x.numel()].view(x.shape), alpha=scale)


class Discriminator(nn.Module):
    """Classifier of rows with weight-normalized layers and noise before each of them.

    The architecture of Salimans et al. (2016) for MNIST. The scales of the hidden layers are
    initialized from data and fixed (Salimans & Kingma 2016, "Weight Normalization", section 3);
    those of the last layer are learned.

    Args:
        n_features: Width of a row.
        params: Widths of the hidden layers and standard deviations of the noise.
        n_classes: Number of classes.
    """

    def __init__(self, n_features: int, params: SSGANParams, n_classes: int) -> None:
        super().__init__()
        widths = (n_features, *params.hidden_dims)
        self.hidden = nn.ModuleList(_weight_normalized(*pair) for pair in pairwise(widths))
        for layer in self.hidden:
            _scale(layer).requires_grad_(False)
        self.out = _weight_normalized(widths[-1], n_classes)
        self.noise = NoisePool()
        self.scales = (params.input_noise, *[params.hidden_noise] * len(params.hidden_dims))

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Set scales and biases so that outputs of rows with noise have mean 0 and variance 1.

        Without the noise, the scales would be larger, increasingly so in deeper layers, and the
        noise there small in relation to the signal.

        Args:
            x: Training rows, shape ``(n, n_features)``.
        """
        x = x + self.scales[0] * torch.randn_like(x)
        for layer, scale in zip((*self.hidden, self.out), (*self.scales[1:], 0.0), strict=True):
            layer.bias.zero_()
            outputs = layer(x)
            deviation = outputs.std(0).clamp_min(1e-2)
            _scale(layer).div_(deviation[:, None])
            layer.bias.copy_(-outputs.mean(0) / deviation)
            features = F.relu(layer(x))
            x = features + scale * torch.randn_like(features)

    def forward(self, x: Tensor, *, noisy: bool) -> tuple[Tensor, Tensor]:
        """Return features ``(n, hidden_dims[-1])`` and class logits ``(n, n_classes)``."""
        features = x
        x = self.noise(x, self.scales[0]) if noisy else x
        for layer, scale in zip(self.hidden, self.scales[1:], strict=True):
            features = F.relu(layer(x))
            x = self.noise(features, scale) if noisy else features
        return features.float(), self.out(x).float()


class Generator(nn.Module):
    """Generator of relaxed rows, with batch normalization and softplus (Salimans et al. 2016).

    Args:
        spans: Layout of an encoded row.
        params: Widths of the hidden layers and of the latent code.
        n_classes: Number of classes.
    """

    def __init__(self, spans: Sequence[Span], params: SSGANParams, n_classes: int) -> None:
        super().__init__()
        self.latent_dim, layers = params.latent_dim, []
        n_in = params.latent_dim + n_classes
        for width in params.generator_dims:
            layers += [nn.Linear(n_in, width, bias=False), nn.BatchNorm1d(width), nn.Softplus()]
            n_in = width
        self.body = nn.Sequential(*layers)
        self.out = _weight_normalized(n_in, spans[-1].stop)
        self.head = RowHead(spans, TEMPERATURE)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Learn the bounds of the columns from training rows, and start near their mean."""
        self.out.bias.copy_(self.head.learn_bounds(x))

    def forward(self, one_hot: Tensor) -> Tensor:
        """Return relaxed rows ``(n, n_features)`` of one-hot classes ``(n, n_classes)``."""
        z = torch.rand(len(one_hot), self.latent_dim, device=one_hot.device)
        return self.head(self.out(self.body(torch.cat([z, one_hot], 1))))


class SSGANNetwork(nn.Module):
    """Discriminator and generator.

    Args:
        spans: Layout of an encoded row.
        params: Architecture.
        n_classes: Number of classes; 1 without labels.

    Attributes:
        log_shares: Logarithms of the class frequencies among labeled rows, ``(n_classes,)``.

    Examples:
        >>> network = SSGANNetwork([Span("a", 0, 1, "numeric")], SSGANParams(), n_classes=2)
        >>> rows = network.generator(network.sample_classes(4))
        >>> features, logits = network.discriminator(rows, noisy=False)
        >>> features.shape, logits.shape
        (torch.Size([4, 128]), torch.Size([4, 2]))
    """

    log_shares: Tensor

    def __init__(self, spans: Sequence[Span], params: SSGANParams, n_classes: int) -> None:
        super().__init__()
        self.discriminator = Discriminator(spans[-1].stop, params, n_classes)
        self.generator = Generator(spans, params, n_classes)
        self.register_buffer("log_shares", torch.zeros(n_classes))

    def sample_classes(self, n: int) -> Tensor:
        """Draw one-hot classes ``(n, n_classes)`` with the frequencies of the labeled rows.

        By systematic sampling, so that every class has as many rows in a batch as possible.
        """
        ends = self.log_shares.exp().cumsum(0)
        points = (torch.arange(n, device=ends.device) + float(torch.rand(()))) / n * ends[-1]
        classes = torch.searchsorted(ends, points, right=True).clamp_max(len(ends) - 1)
        return F.one_hot(classes, len(ends)).float()


def _weight_normalized(n_in: int, n_out: int) -> nn.Linear:
    layer = nn.Linear(n_in, n_out)
    nn.init.normal_(layer.weight, std=0.1)
    nn.init.zeros_(layer.bias)
    layer = weight_norm(layer)
    _scale(layer).data.fill_(1.0)
    return layer


def _scale(layer: nn.Module) -> nn.Parameter:
    """Return the norms of a weight-normalized layer's rows, shape ``(n_out, 1)``."""
    return layer.parametrizations.weight.original0  # type: ignore[union-attr,return-value]
