from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal

from semigen.errors import UserError
from semigen.generators import make_generator
from semigen.generators.ssvae import SSVAE
from semigen.generators.ssvae_loss import candidate_classes, marginal_bounds
from semigen.generators.ssvae_network import AuxiliarySample, SSVAENetwork
from semigen.generators.vae import MIN_SCALE
from semigen.params.config import ComputeParams, PretrainParams
from semigen.params.generators import SSVAEParams
from semigen.tables.encoding import Encoded, Span
from semigen.training.compute import seeded
from tests.semigen.example_tables import encoded, mixed_table

FORMS = ("m2", "m1m2", "sdgm", "adgm")
SMALL = SSVAEParams(
    latent_dim=3,
    auxiliary_dim=2,
    hidden_dims=(32,),
    classifier_dims=(32,),
    epochs=30,
    pretrain_epochs=15,
    batch_size=64,
    warmup_epochs=2,
    patience=30,
    guided_epochs=3,
)
TINY = SMALL.model_copy(update={"epochs": 4, "pretrain_epochs": 2})


def small(form: str, **changes: object) -> SSVAEParams:
    return SMALL.model_copy(update={"form": form} | changes)


def fitted(params: SSVAEParams, rows: Encoded, encoder, seed: int = 1) -> SSVAE:
    pretrain = PretrainParams(generator="ssvae", ssvae=params)
    model = make_generator(encoder, pretrain, ComputeParams(), seed=seed)
    model.fit(rows)
    assert isinstance(model, SSVAE)
    return model


# The bound


class TableOfBounds:
    """A network for which the bound of row ``i`` with class ``k`` is ``table[i, k]``."""

    def __init__(self, table: torch.Tensor) -> None:
        self.table = table

    def log_weights(self, _x, _a, rows, y, _beta):
        return self.table[rows, y]


def bounds_of(table, y, log_probabilities, max_classes):
    x = torch.zeros(len(table), 1)
    a = AuxiliarySample(x[:, :0], x[:, 0])
    return marginal_bounds(TableOfBounds(table), x, a, y, log_probabilities, max_classes)


@pytest.fixture
def table_and_log_probabilities():
    with seeded(0):
        return 3 * torch.randn(6, 5), torch.randn(6, 5).log_softmax(1)


def test_bound_is_the_sum_over_all_classes(table_and_log_probabilities):
    table, log_probabilities = table_and_log_probabilities
    y = torch.tensor([2, -1, 0, -1, -1, 4])
    terms = log_probabilities.exp() * (table - log_probabilities)
    expected = [table[i, y[i]] if y[i] >= 0 else terms[i].sum() for i in range(6)]
    actual = bounds_of(table, y, log_probabilities, max_classes=5)
    torch.testing.assert_close(actual, torch.stack(expected))


def test_bound_is_the_evidence_for_the_true_posterior(table_and_log_probabilities):
    table, _ = table_and_log_probabilities
    unlabeled = torch.full((6,), -1)
    actual = bounds_of(table, unlabeled, table.log_softmax(1), max_classes=9)
    torch.testing.assert_close(actual, table.logsumexp(1))


def test_bound_rises_to_the_evidence_with_the_number_of_classes(table_and_log_probabilities):
    table, _ = table_and_log_probabilities
    unlabeled, posterior = torch.full((6,), -1), table.log_softmax(1)
    bounds = [bounds_of(table, unlabeled, posterior, n) for n in range(1, 6)]
    assert all((low < high).all() for low, high in itertools.pairwise(bounds))
    # The truncated posterior is optimal for its classes.
    best = table.topk(2, dim=1).values.logsumexp(1)
    torch.testing.assert_close(bounds[1], best)


def test_bound_of_labeled_rows_is_supervised(table_and_log_probabilities):
    table, log_probabilities = table_and_log_probabilities
    y = torch.tensor([0, 1, 2, 3, 4, 0])
    actual = bounds_of(table, y, log_probabilities.requires_grad_(), max_classes=2)
    assert torch.equal(actual, table[torch.arange(6), y])


class LinearGaussian(nn.Module):
    """A module whose outputs are a linear function of its inputs, for each class."""

    def __init__(self, weight: float, shifts: torch.Tensor, scale: float | None = None) -> None:
        super().__init__()
        self.weight, self.shifts, self.scale = weight, shifts, scale

    def forward(self, x, y=None, rows=None):
        x = x if rows is None else x[rows]
        shift = self.shifts[y][:, None] if y is not None else self.shifts[:1, None]
        mean = self.weight * (x[:, :1] - shift) if self.scale else shift + self.weight * x[:, :1]
        if self.scale is None:
            return mean
        raw = math.log(math.expm1(self.scale - MIN_SCALE))
        return torch.cat([mean, torch.full_like(mean, raw)], dim=1)


SLOPE, NOISE, SHIFTS = 1.7, 0.6, torch.tensor([-2.0, 0.5, 4.0])


def linear_gaussian(form: str) -> SSVAENetwork:
    """``z ~ N(0, 1)``, ``x | y, z ~ N(shift_y + SLOPE z, NOISE^2)``, with the exact posterior."""
    params = small(form, latent_dim=1, auxiliary_dim=1, noise_scale="shared")
    network = SSVAENetwork([Span("x", 0, 1, "numeric")], 3, params)
    precision = 1 + SLOPE**2 / NOISE**2
    network.encoder = LinearGaussian(SLOPE / NOISE**2 / precision, SHIFTS, precision**-0.5)
    network.decoder = LinearGaussian(SLOPE, SHIFTS)
    if network.auxiliary_dim:
        network.auxiliary_encoder = LinearGaussian(0.0, torch.zeros(3), 0.8)
        network.auxiliary_decoder = LinearGaussian(0.0, torch.zeros(3), 0.8)
    with torch.no_grad():
        network.likelihood.log_scale.fill_(math.log(NOISE))
    return network.eval()


def evidence(x: torch.Tensor) -> torch.Tensor:
    """Return ``log p(x, y)`` of the linear-Gaussian model, shape ``(n, 3)``."""
    spread = math.hypot(SLOPE, NOISE)
    return Normal(SHIFTS, spread).log_prob(x) - math.log(3)


@pytest.mark.parametrize("form", ["m2", "sdgm", "adgm"])
def test_weights_are_the_evidence_for_the_true_posterior(form):
    network, x = linear_gaussian(form), torch.tensor([[0.8], [-3.0], [5.0]])
    rows, y = torch.arange(3).repeat_interleave(3), torch.arange(3).repeat(3)
    with seeded(0):
        weights = network.log_weights(x, network.sample_auxiliary(x), rows, y)
    torch.testing.assert_close(weights.view(3, 3), evidence(x), rtol=1e-4, atol=1e-4)


def test_score_is_summed_over_the_classes():
    model = SSVAE([Span("x", 0, 1, "numeric")], small("m2", latent_dim=1))
    model.m2, model._classes = linear_gaussian("m2"), np.arange(3)
    x = np.array([[0.8], [-3.0]], dtype=np.float32)
    expected = evidence(torch.from_numpy(x)).logsumexp(1)
    np.testing.assert_allclose(model.score(x), expected, rtol=1e-4)


def test_sampled_rows_have_the_mean_and_variance_of_the_model():
    with seeded(0):
        x = linear_gaussian("m2").sample(torch.full((20_000,), 2)).detach()
    spread = math.hypot(SLOPE, NOISE)
    assert abs(x.mean() - SHIFTS[2]) < 5 * spread / 20_000**0.5
    assert abs(x.std() / spread - 1) < 5 / (2 * 20_000) ** 0.5


def test_candidate_classes_are_the_most_probable_ones():
    log_probabilities = torch.tensor([[0.1, 0.6, 0.3]]).log()
    log_posterior, classes = candidate_classes(log_probabilities, 2)
    assert classes.tolist() == [[1, 2]]
    torch.testing.assert_close(log_posterior.exp(), torch.tensor([[2 / 3, 1 / 3]]))


# The model


def accuracy(model: SSVAE, encoder, n_rows: int = 600) -> float:
    table = mixed_table(n_rows, seed=9, missing=0.1)
    y = encoder.schema.encode_labels(table["outcome"])
    probabilities = model.predict_proba(encoder.transform(table))
    return float((model.classes_[probabilities.argmax(axis=1)] == y).mean())


# Labels


@pytest.mark.parametrize("form", FORMS)
def test_trains_a_classifier_if_all_rows_are_labeled(form):
    encoder, rows = encoded(mixed_table(200, missing=0.1), n_labeled=200)
    model = fitted(small(form), rows, encoder)
    assert accuracy(model, encoder) > 0.9


def test_learns_more_classes_than_it_enumerates():
    rng = np.random.default_rng(0)
    y = np.arange(400) % 40
    x = (rng.normal(size=(40, 6))[y] + 0.1 * rng.normal(size=(400, 6))).astype(np.float32)
    labels = np.where(np.arange(400) < 80, 2 * y, -1)
    spans = [Span(f"n{i}", i, i + 1, "numeric") for i in range(6)]
    model = SSVAE(spans, TINY)
    model.fit(Encoded(x, labels))
    assert list(model.classes_) == list(range(0, 80, 2))
    assert model.sample(np.array([78, 0]), seed=0).shape == (2, 6)
    with pytest.raises(UserError, match="no labeled row had class 3"):
        model.sample(np.array([0, 3]), seed=0)
