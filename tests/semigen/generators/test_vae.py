from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from semigen.generators import make_generator
from semigen.generators.likelihoods import RowLikelihood
from semigen.generators.vae import VAE, negative_elbo
from semigen.params.config import ComputeParams, PretrainParams
from semigen.params.generators import VAEParams
from semigen.tables.encoding import Span
from semigen.training.compute import seeded
from tests.semigen.example_tables import encoded, mixed_table

SMALL = VAEParams(latent_dim=3, hidden_dims=(32,), epochs=40, batch_size=32, patience=40)


@pytest.fixture(scope="module")
def trained():
    encoder, rows = encoded(mixed_table(400, missing=0.1), n_labeled=20)
    model = make_generator(encoder, PretrainParams(vae=SMALL), ComputeParams(), seed=1)
    history = model.fit(rows)
    return model, rows, history, encoder


class LinearGaussian:
    """``z ~ N(0, 1)``, ``x | z ~ N(w z, s^2)``: evidence and posterior are known."""

    weight, scale = 1.7, 0.6

    def evidence(self, x: torch.Tensor) -> torch.Tensor:
        spread = (self.weight**2 + self.scale**2) ** 0.5
        return Normal(0.0, spread).log_prob(x[:, 0])

    def posterior(self, x: torch.Tensor) -> Normal:
        precision = 1 + self.weight**2 / self.scale**2
        mean = self.weight * x / self.scale**2 / precision
        return Normal(mean, torch.full_like(mean, precision**-0.5))

    def decoded(self, z: torch.Tensor):
        likelihood = RowLikelihood([Span("x", 0, 1, "numeric")], shared_scale=True)
        with torch.no_grad():
            likelihood.log_scale.fill_(float(np.log(self.scale)))
        return likelihood(self.weight * z)


def test_elbo_is_the_evidence_minus_the_divergence_from_the_true_posterior():
    model, n = LinearGaussian(), 40_000
    x = torch.tensor([[0.8]]).expand(n, 1)
    exact = model.posterior(x)
    wrong = Normal(exact.mean + 0.5, exact.stddev * 1.5)
    with seeded(0):
        bounds = [-negative_elbo(x, model.decoded(q.sample()), q).detach() for q in (exact, wrong)]
    evidence = model.evidence(x)[0]
    errors = [float(b.std()) / n**0.5 for b in bounds]
    assert abs(bounds[0].mean() - evidence) < 5 * errors[0]
    gap = torch.distributions.kl_divergence(wrong, exact)[0].item()
    assert abs(bounds[1].mean() - (evidence - gap)) < 5 * errors[1]


def test_beta_zero_gives_the_reconstruction_error():
    model = LinearGaussian()
    x = torch.randn(5, 1)
    posterior = model.posterior(x)
    decoded = model.decoded(posterior.mean)
    expected = -decoded.log_prob(x)
    torch.testing.assert_close(negative_elbo(x, decoded, posterior, beta=0.0), expected)


def test_novelty_of_new_rows_of_the_same_distribution_is_uniform(trained):
    model, _, _, encoder = trained
    novelty = model.novelty(encoder.transform(mixed_table(2000, seed=7, missing=0.1)))
    # The quantiles of the scores of 40 held-out rows have a standard error of up to 0.08.
    for level in (0.25, 0.5, 0.75):
        assert abs((novelty < level).mean() - level) < 4 * (level * (1 - level) / 40) ** 0.5


def test_max_steps_limits_the_epochs():
    encoder, rows = encoded(mixed_table(400), n_labeled=10)
    params = SMALL.model_copy(update={"max_steps": 30})
    history = VAE(encoder.spans_, params).fit(rows)
    assert len(history.train) == 30 // int(np.ceil(360 / 32))


def test_classes_are_learned_without_encoding_all_rows(monkeypatch):
    monkeypatch.setattr("semigen.methods.gaussian_mixture.MAX_UNLABELED", 20)
    encoder, rows = encoded(mixed_table(200), n_labeled=10)
    model = VAE(encoder.spans_, VAEParams(epochs=1, latent_dim=2, hidden_dims=(8,)))
    n_encoded: list[int] = []
    features = model.features

    def count(x):
        n_encoded.append(len(x))
        return features(x)

    monkeypatch.setattr(model, "features", count)
    model.fit(rows)
    model.with_classes(rows)
    assert len(n_encoded) == 2 and max(n_encoded) <= 10 + 20
