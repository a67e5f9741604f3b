"""Variational autoencoder (M1) with a likelihood per column, and classes in its latent space."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from semigen.generators.likelihoods import RowDistribution, RowLikelihood
from semigen.generators.network_model import NetworkModel
from semigen.methods.gaussian_mixture import LatentClasses, rows_of_fit
from semigen.params.config import ComputeParams
from semigen.params.generators import VAEParams
from semigen.tables.encoding import Encoded, Span
from semigen.training.compute import seeded
from semigen.training.engine import train
from semigen.training.plan import History
from semigen.training.progress import Progress

MIN_SCALE = 1e-3
N_SCORE_SAMPLES = 16


def negative_elbo(
    x: Tensor,
    decoded: RowDistribution,
    posterior: Normal,
    *,
    beta: float = 1.0,
    free_bits: float = 0.0,
) -> Tensor:
    """Return the negative evidence lower bound of every row, in nats.

    ``-log p(x | z) + beta * KL(q(z | x) || N(0, I))`` (Kingma & Welling 2014, "Auto-Encoding
    Variational Bayes", eq. 10). Rows are not averaged, so that callers can weight them.

    Args:
        x: Encoded rows, shape ``(n, n_features)``.
        decoded: ``p(x | z)`` of the same rows.
        posterior: ``q(z | x)``, batch shape ``(n, latent_dim)``.
        beta: Weight of the KL term; 1 gives the ELBO, 0 a plain autoencoder.
        free_bits: Lower bound, in nats, of the KL term of a latent dimension, averaged over the
            batch. It prevents posterior collapse of dimensions (Kingma et al. 2016, "Improved
            Variational Inference with Inverse Autoregressive Flow", eq. 15).

    Returns:
        Shape ``(n,)``.
    """
    prior = Normal(torch.zeros_like(posterior.mean), torch.ones_like(posterior.mean))
    divergence = kl_divergence(posterior, prior)
    if free_bits:
        # A constant replaces the KL term of dimensions below the bound, which get no gradient.
        is_above = divergence.mean(0) > free_bits
        divergence = torch.where(is_above, divergence, free_bits)
    return beta * divergence.sum(1) - decoded.log_prob(x)


class VAENetwork(nn.Module):
    """Encoder ``q(z | x)`` and decoder ``p(x | z)``.

    Args:
        spans: Layout of an encoded row.
        params: Architecture.

    **Shape**: rows ``x`` ``(n, n_features)``; latent codes ``z`` ``(n, latent_dim)``.

    Examples:
        >>> network = VAENetwork([Span("a", 0, 1, "numeric")], VAEParams(latent_dim=2))
        >>> x = torch.zeros(5, 1)
        >>> posterior = network.posterior(x)
        >>> posterior.batch_shape
        torch.Size([5, 2])
        >>> negative_elbo(x, network.decode(posterior.rsample()), posterior).shape
        torch.Size([5])
    """

    def __init__(self, spans: Sequence[Span], params: VAEParams) -> None:
        super().__init__()
        n_features, hidden_dims = spans[-1].stop, params.hidden_dims
        self.encoder = multilayer_perceptron(n_features, hidden_dims, 2 * params.latent_dim)
        self.decoder = multilayer_perceptron(params.latent_dim, hidden_dims[::-1], n_features)
        self.likelihood = RowLikelihood(spans, shared_scale=params.noise_scale == "shared")

    def posterior(self, x: Tensor) -> Normal:
        """Return ``q(z | x)``, batch shape ``(n, latent_dim)``."""
        mean, raw_scale = self.encoder(x).float().chunk(2, dim=1)
        scale = nn.functional.softplus(raw_scale) + MIN_SCALE
        return Normal(mean, scale, validate_args=False)

    def decode(self, z: Tensor) -> RowDistribution:
        """Return ``p(x | z)`` of latent codes ``(n, latent_dim)``."""
        return self.likelihood(self.decoder(z))


class VAE(NetworkModel[VAEParams]):
    """M1 of Kingma et al. (2014, "Semi-Supervised Learning with Deep Generative Models").

    Features are the means of the posterior. Rows of a class are decoded from latent codes of the
    class, which are sampled from a Gaussian mixture (``LatentClasses``).

    Attributes:
        latent_classes: The Gaussian mixture; None without labeled rows.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> rows = Encoded(rng.normal(size=(60, 2)).astype(np.float32), np.arange(60) % 3 - 1)
        >>> spans = [Span("a", 0, 1, "numeric"), Span("b", 1, 2, "numeric")]
        >>> model = VAE(spans, VAEParams(epochs=2, latent_dim=3, hidden_dims=(8,)))
        >>> history = model.fit(rows)
        >>> model.features(rows.x).shape
        (60, 3)
        >>> model.sample(np.array([0, 1, 1]), seed=0).shape
        (3, 2)
    """

    family = "vae"
    params_type = VAEParams
    network: VAENetwork

    def __init__(
        self,
        spans: Sequence[Span],
        params: VAEParams,
        compute: ComputeParams | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(spans, params, compute, seed)
        with seeded(seed):
            self.network = VAENetwork(self.spans, params)
        self.latent_classes: LatentClasses | None = None

    def _fit(
        self,
        training: Encoded,
        held_out: Encoded,
        checkpoint: Path | None,
        progress: Progress | None,
    ) -> History:
        history = train(
            self.network,
            self._loss,
            [torch.from_numpy(training.x)],
            self._plan(len(training.x), patience=self.params.patience),
            held_out=[torch.from_numpy(held_out.x)],
            compute=self.compute,
            width=max(self.params.hidden_dims),
            checkpoint=checkpoint,
            progress=progress,
        )
        if (training.y >= 0).any():
            self._learn_classes(training, held_out)
        return history

    def with_classes(self, rows: Encoded, held_out: np.ndarray | None = None) -> Self:  # noqa: ARG002
        """Return a copy of the model, weights shared, with classes learned from these labels only.

        The mixture is fitted to all rows, also to those that ``fit`` held out: neither the scores
        nor the choice of an epoch depends on it.
        """
        other = copy.copy(self)
        other._learn_classes(rows, rows)
        return other

    def features(self, x: np.ndarray) -> np.ndarray:
        """Return the means of the posterior, shape ``(n, latent_dim)``, float32."""
        return self._map_chunks(lambda chunk: self.network.posterior(chunk).mean, x)

    def sample(self, y: np.ndarray, seed: int) -> np.ndarray:
        """Return one new encoded row of each class in ``y``, shape ``(len(y), n_features)``."""
        _ = self.classes_  # raises UserError if there are none
        assert self.latent_classes is not None
        codes = self.latent_classes.sample(y, np.random.default_rng(seed))
        with seeded(seed):
            return self._map_chunks(lambda z: self.network.decode(z).sample(), codes)

    def score(self, x: np.ndarray) -> np.ndarray:
        """Return a lower bound of the log density of every row, in nats, shape ``(n,)``.

        The importance-weighted bound of Burda et al. (2016, "Importance Weighted Autoencoders")
        with 16 samples, which is tighter than the ELBO and has less variance. The samples are the
        same in every call.
        """
        return self._map_chunks(self._importance_bound, x, seed=self.seed)

    def _arrays(self) -> dict[str, np.ndarray]:
        return {} if self.latent_classes is None else dict(vars(self.latent_classes))

    def _restore(self, arrays: dict[str, np.ndarray]) -> None:
        self.latent_classes = LatentClasses(**arrays) if arrays else None

    def _learn_classes(self, training: Encoded, held_out: Encoded) -> None:  # noqa: ARG002
        rows = rows_of_fit(training.y)  # only these are encoded
        codes = self.features(training.x[rows])
        self.latent_classes = LatentClasses.fit(codes, training.y[rows])
        self._classes = self.latent_classes.classes

    def _loss(self, batch: Sequence[Tensor], epoch: int) -> Tensor:
        (x,) = batch
        posterior = self.network.posterior(x)
        warmup = kl_warmup(epoch, self.params.warmup_epochs, self.params.epochs)
        decoded = self.network.decode(posterior.rsample())
        beta, free_bits = self.params.beta * warmup, self.params.free_bits
        return negative_elbo(x, decoded, posterior, beta=beta, free_bits=free_bits).mean()

    def _importance_bound(self, x: Tensor) -> Tensor:
        posterior = self.network.posterior(x)
        prior = Normal(torch.zeros_like(posterior.mean), torch.ones_like(posterior.mean))
        weights = []
        for _ in range(N_SCORE_SAMPLES):
            z = posterior.sample()
            ratio = (prior.log_prob(z) - posterior.log_prob(z)).sum(1)
            weights.append(self.network.decode(z).log_prob(x) + ratio)
        return torch.stack(weights).logsumexp(0) - float(np.log(N_SCORE_SAMPLES))


def kl_warmup(epoch: int, warmup_epochs: int, n_epochs: int) -> float:
    """Return the factor on the weight of the KL term in an epoch.

    It increases to 1 in ``warmup_epochs`` epochs, but in at most half of the training: otherwise a
    short training would minimize another objective.

    Args:
        epoch: Epoch, from 0.
        warmup_epochs: Number of epochs of the warm-up.
        n_epochs: Number of epochs of the training.

    Examples:
        >>> [kl_warmup(epoch, warmup_epochs=3, n_epochs=40) for epoch in range(5)]
        [0.25, 0.5, 0.75, 1.0, 1.0]
        >>> [kl_warmup(epoch, warmup_epochs=10, n_epochs=2) for epoch in range(2)]
        [0.5, 1.0]
    """
    return min(1.0, (epoch + 1) / (min(warmup_epochs, n_epochs // 2) + 1))


def multilayer_perceptron(n_in: int, hidden_dims: Sequence[int], n_out: int) -> nn.Sequential:
    """Return linear layers with SiLU activations between them."""
    layers: list[nn.Module] = []
    for width in hidden_dims:
        layers += [nn.Linear(n_in, width), nn.SiLU()]
        n_in = width
    return nn.Sequential(*layers, nn.Linear(n_in, n_out))
