"""M1: a variational autoencoder with a likelihood per column, and classes in its latent space."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from semigen.compute import seeded
from semigen.config import ComputeParams, PretrainParams
from semigen.encoding import Encoded, Span
from semigen.generators.latent_classes import LatentClasses
from semigen.generators.likelihoods import RowDistribution, RowLikelihood
from semigen.progress import Progress
from semigen.training import History, TrainingPlan, load_weights, save_module, train

CHUNK_ROWS = 8192
MIN_SCALE = 1e-3
SCORE_DRAWS = 16
N_QUANTILES = 201


def negative_elbo(
    x: Tensor, decoded: RowDistribution, posterior: Normal, *, beta: float = 1.0
) -> Tensor:
    """Return the negative evidence lower bound of every row, in nats.

    ``-log p(x | z) + beta * KL(q(z | x) || N(0, I))`` (Kingma & Welling 2014, eq. 10). Rows are not
    averaged, so that callers can weigh them.

    Args:
        x: Encoded rows, shape ``(n, n_features)``.
        decoded: ``p(x | z)`` of the same rows.
        posterior: ``q(z | x)``, batch shape ``(n, latent_dim)``.
        beta: Weight of the KL term; 1 gives the ELBO, 0 a plain autoencoder.

    Returns:
        Shape ``(n,)``.
    """
    prior = Normal(torch.zeros_like(posterior.mean), torch.ones_like(posterior.mean))
    return beta * kl_divergence(posterior, prior).sum(1) - decoded.log_prob(x)


class VAENetwork(nn.Module):
    """Encoder ``q(z | x)`` and decoder ``p(x | z)``."""

    def __init__(self, spans: Sequence[Span], params: PretrainParams) -> None:
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
        """Return ``p(x | z)`` of codes ``(n, latent_dim)``."""
        return self.likelihood(self.decoder(z))


class VAE:
    """M1 of Kingma et al. (2014, "Semi-Supervised Learning with Deep Generative Models").

    Features are the posterior's means. Rows of a class come from the latent space: see
    ``LatentClasses``; asked for 500 rows of a class, it decodes 500 codes of that class.

    Args:
        spans: Layout of an encoded row.
        params: Architecture and training.
        compute: Device and precision.
        seed: Seed of weights, batches and noise.
    """

    def __init__(
        self,
        spans: Sequence[Span],
        params: PretrainParams,
        compute: ComputeParams | None = None,
        seed: int = 0,
    ) -> None:
        self.spans, self.params, self.seed = tuple(spans), params, seed
        self.compute = compute or ComputeParams()
        with seeded(seed):
            self.network = VAENetwork(self.spans, params)
        self.classes: LatentClasses | None = None
        self.held_out_scores: np.ndarray | None = None

    @property
    def classes_(self) -> np.ndarray:
        return self._latent_classes().classes

    @property
    def n_features(self) -> int:
        return self.spans[-1].stop

    def fit(
        self, rows: Encoded, *, checkpoint: Path | None = None, progress: Progress | None = None
    ) -> History:
        """Train on all rows, then learn the classes from the labeled ones.

        A share ``validation_size`` of the rows is held out to stop early and to choose the epoch.
        """
        x = torch.from_numpy(rows.x)
        order = np.random.default_rng(self.seed).permutation(len(x))
        n_held_out = max(1, round(len(x) * self.params.validation_size))
        history = train(
            self.network,
            self._loss,
            [x[order[n_held_out:]]],
            TrainingPlan(
                epochs=self._epochs(len(x) - n_held_out),
                batch_size=self.params.batch_size,
                learning_rate=self.params.learning_rate,
                seed=self.seed,
                patience=self.params.patience,
                objective=self.params.model_dump_json(),
            ),
            held_out=[x[order[:n_held_out]]],
            compute=self.compute,
            width=max(self.params.hidden_dims),
            checkpoint=checkpoint,
            progress=progress,
        )
        shares = np.linspace(0.0, 1.0, N_QUANTILES)
        self.held_out_scores = np.quantile(self.score(rows.x[order[:n_held_out]]), shares)
        if (rows.y >= 0).any():
            self.classes = LatentClasses.fit(self.features(rows.x), rows.y)
        return history

    def with_classes(self, rows: Encoded) -> Self:
        """Return this model, weights shared, with classes learned from other labels."""
        other = copy.copy(self)
        other.classes = LatentClasses.fit(self.features(rows.x), rows.y)
        return other

    def features(self, x: np.ndarray) -> np.ndarray:
        """Return the posterior's means, shape ``(n, latent_dim)``, float32."""
        return self._map_chunks(lambda chunk: self.network.posterior(chunk).mean, x)

    def sample(self, y: np.ndarray, seed: int) -> np.ndarray:
        """Return one new encoded row of each class in ``y``, shape ``(len(y), n_features)``."""
        codes = self._latent_classes().sample(y, np.random.default_rng(seed))
        with seeded(seed):
            return self._map_chunks(lambda z: self.network.decode(z).sample(), codes)

    def score(self, x: np.ndarray) -> np.ndarray:
        """Return a lower bound of every row's log density, in nats, shape ``(n,)``.

        The importance-weighted bound of Burda et al. (2016) with 16 draws: tighter than the ELBO,
        and less noisy. The draws are the same in every call.
        """
        with seeded(self.seed):
            return self._map_chunks(self._importance_bound, x)

    def novelty(self, x: np.ndarray) -> np.ndarray:
        """Return the share of held-out rows that look more typical than each row, shape ``(n,)``.

        Ranks among rows that the network was not trained on are honest: a new row of the same kind
        has any novelty with equal chance (split conformal prediction; Vovk et al. 2005).

        Raises:
            ValueError: If the model was not trained.
        """
        if self.held_out_scores is None:
            raise ValueError("the model is not trained: nothing is known of typical scores")
        shares = np.linspace(0.0, 1.0, N_QUANTILES)
        return 1.0 - np.interp(self.score(x), self.held_out_scores, shares)

    def save(self, folder: Path) -> None:
        """Write weights, settings and classes into a folder."""
        scores = self.held_out_scores
        config = {
            "family": "vae",
            "spans": [asdict(span) for span in self.spans],
            "params": self.params.model_dump(mode="json"),
            "seed": self.seed,
            "held_out_scores": None if scores is None else scores.tolist(),
        }
        save_module(self.network, config, folder)
        if self.classes is not None:
            self.classes.save(folder / "classes.safetensors")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote."""
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        spans = [Span(**span) for span in config["spans"]]
        model = cls(spans, PretrainParams(**config["params"]), seed=config["seed"])
        load_weights(model.network, folder)
        if config["held_out_scores"] is not None:
            model.held_out_scores = np.array(config["held_out_scores"])
        if (folder / "classes.safetensors").exists():
            model.classes = LatentClasses.load(folder / "classes.safetensors")
        return model

    def _epochs(self, n_rows: int) -> int:
        steps = -(-n_rows // self.params.batch_size)
        return min(self.params.epochs, max(1, self.params.max_steps // steps))

    def _loss(self, batch: Sequence[Tensor], epoch: int) -> Tensor:
        (x,) = batch
        posterior = self.network.posterior(x)
        warm = min(1.0, (epoch + 1) / (self.params.warmup_epochs + 1))
        decoded = self.network.decode(posterior.rsample())
        return negative_elbo(x, decoded, posterior, beta=self.params.beta * warm).mean()

    def _importance_bound(self, x: Tensor) -> Tensor:
        posterior = self.network.posterior(x)
        prior = Normal(torch.zeros_like(posterior.mean), torch.ones_like(posterior.mean))
        weights = []
        for _ in range(SCORE_DRAWS):
            z = posterior.sample()
            ratio = (prior.log_prob(z) - posterior.log_prob(z)).sum(1)
            weights.append(self.network.decode(z).log_prob(x) + ratio)
        return torch.stack(weights).logsumexp(0) - float(np.log(SCORE_DRAWS))

    def _map_chunks(self, function: object, x: np.ndarray) -> np.ndarray:
        assert callable(function)
        with torch.no_grad():
            chunks = torch.from_numpy(np.ascontiguousarray(x)).split(CHUNK_ROWS)
            return torch.cat([function(chunk) for chunk in chunks]).numpy()

    def _latent_classes(self) -> LatentClasses:
        if self.classes is None:
            raise ValueError("the model knows no classes: fit it with labeled rows among the rows")
        return self.classes


def multilayer_perceptron(n_in: int, hidden_dims: Sequence[int], n_out: int) -> nn.Sequential:
    """Return linear layers with SiLU between them."""
    layers: list[nn.Module] = []
    for width in hidden_dims:
        layers += [nn.Linear(n_in, width), nn.SiLU()]
        n_in = width
    return nn.Sequential(*layers, nn.Linear(n_in, n_out))
