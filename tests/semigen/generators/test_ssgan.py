from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from semigen.generators.ssgan import SSGAN
from semigen.generators.ssgan_loss import (
    SSGANLosses,
    class_feature_matching,
    feature_matching,
    unsupervised_loss,
)
from semigen.generators.ssgan_network import SSGANNetwork
from semigen.methods.class_index import find_classes
from semigen.params.generators import SSGANParams
from semigen.tables.encoding import Encoded, Span
from semigen.training.compute import seeded
from semigen.training.plan import TrainingDiverged
from tests.semigen.example_tables import encoded, mixed_table

SMALL = SSGANParams(
    hidden_dims=(64, 32), generator_dims=(32,), latent_dim=8, max_steps=250, smoothness=1.0
)


def test_unsupervised_loss_is_the_cross_entropy_with_an_additional_class_of_logit_zero():
    with seeded(0):
        real, fake = torch.randn(5, 3) * 3, torch.randn(7, 3) * 3
    shares = [F.pad(logits, (0, 1)).softmax(1)[:, -1] for logits in (real, fake)]
    expected = -0.5 * (1 - shares[0]).log().mean() - 0.5 * shares[1].log().mean()
    torch.testing.assert_close(unsupervised_loss(real, fake), expected)


def test_feature_matching_ignores_the_order_of_rows():
    with seeded(0):
        features = torch.randn(20, 4)
    assert feature_matching(features, features.flip(0)) == pytest.approx(0, abs=1e-12)
    assert feature_matching(features, features + 2) == pytest.approx(4, rel=1e-5)


def test_class_feature_matching_compares_rows_of_the_same_class():
    one_hot = F.one_hot(torch.arange(24) % 2, 2).float()
    means = torch.tensor([[0.0, 0.0], [3.0, 1.0]])
    real = one_hot @ means
    assert class_feature_matching(real, one_hot, real, one_hot) == 0
    swapped = class_feature_matching(real, one_hot, real, one_hot.flip(1))
    # Both classes are off by 3 and 1; 12 rows of a class in the batch count 12 / 15.
    assert float(swapped) == pytest.approx(12 / 15 * (9 + 1) / 2)


def test_class_feature_matching_does_not_penalize_variance_within_a_class():
    one_hot = F.one_hot(torch.arange(20) % 2, 2).float()
    real, shares = torch.zeros(20, 3), one_hot
    with seeded(0):
        values = [
            float(class_feature_matching(real, shares, torch.randn(20, 3), one_hot))
            for _ in range(2000)
        ]
    error = np.std(values) / len(values) ** 0.5
    assert abs(np.mean(values)) < 4 * error


def test_discriminator_starts_with_standardized_outputs():
    quiet = SMALL.model_copy(update={"input_noise": 0.0, "hidden_noise": 0.0})
    with seeded(0):
        x = 5 + 3 * torch.randn(500, 8)
        network = SSGANNetwork([Span("x", 0, 8, "numeric")], quiet, n_classes=3)
        network.discriminator.initialize(x)
        _, logits = network.discriminator(x, noisy=False)
    torch.testing.assert_close(logits.mean(0), torch.zeros(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(logits.std(0), torch.ones(3), atol=1e-2, rtol=0)


def test_sampled_classes_have_the_frequencies_of_the_labels():
    network = SSGANNetwork([Span("x", 0, 2, "numeric")], SMALL, n_classes=3)
    network.log_shares.copy_(torch.tensor([0.5, 0.3, 0.2]).log())
    with seeded(0):
        counts = torch.stack([network.sample_classes(101).sum(0) for _ in range(200)])
    assert float((counts - 101 * torch.tensor([0.5, 0.3, 0.2])).abs().max()) < 1
    assert counts.std(0).min() > 0


def test_weight_of_spread_labels_falls_to_zero():
    params = SMALL.model_copy(update={"guided_epochs": 4})
    network = SSGANNetwork([Span("x", 0, 2, "numeric")], params, n_classes=3)
    with seeded(0):
        x, logits = torch.randn(20, 2), torch.randn(5, 3)
    losses = SSGANLosses(network, params, x[:3], torch.arange(3), x)
    guess = torch.tensor([2, 0, -1, 1, -1])
    full = F.cross_entropy(logits[guess >= 0], guess[guess >= 0])
    for epoch, weight in ((0, 1.0), (1, 0.75), (4, 0.0), (9, 0.0)):
        losses.epoch = epoch
        torch.testing.assert_close(losses._guidance(logits, guess), weight * full)
    losses.epoch = 0
    assert losses._guidance(logits, torch.full((5,), -1)) == 0


def test_spread_labels_are_positions_of_classes_of_unlabeled_rows():
    _, rows = encoded(mixed_table(200), n_labeled=8)
    shifted = Encoded(rows.x, np.where(rows.y >= 0, 5 * rows.y + 2, -1))
    model = SSGAN([Span("x", 0, rows.x.shape[1], "numeric")], SMALL)
    model._classes = np.array([2, 7])
    y = find_classes(shifted.y, model._classes)
    guess = model._spread_labels(shifted.x, y)
    assert (guess[rows.y >= 0] == -1).all()
    assert set(np.unique(guess[rows.y < 0])) == {-1, 0, 1}
    unguided = SSGAN(model.spans, SMALL.model_copy(update={"guided_epochs": 0}))
    unguided._classes = np.array([2, 7])
    assert (unguided._spread_labels(shifted.x, y) == -1).all()


def test_discriminator_agrees_with_the_classes_of_generated_rows():
    encoder, rows = encoded(mixed_table(400, missing=0.1), n_labeled=6)
    model = SSGAN(encoder.spans_, SMALL, seed=1)
    model.fit(rows)
    y = np.random.default_rng(0).integers(0, 2, 501)
    probabilities = model.predict_proba(model.sample(y, seed=3))
    assert (model.classes_[probabilities.argmax(axis=1)] == y).mean() > 0.85


def test_trains_a_classifier_if_all_rows_are_labeled():
    encoder, rows = encoded(mixed_table(200), n_labeled=200)
    model = SSGAN(encoder.spans_, SMALL.model_copy(update={"max_steps": 60}))
    model.fit(rows)
    assert (model.predict_proba(rows.x).argmax(axis=1) == rows.y).mean() > 0.9


def test_mode_collapse_raises_training_diverged(monkeypatch):
    def constant_rows(self, one_hot):
        return self.head(self.out.bias.expand(len(one_hot), -1))

    monkeypatch.setattr("semigen.generators.ssgan_network.Generator.forward", constant_rows)
    _, rows = encoded(mixed_table(200), n_labeled=20)
    numbers = [Span("weight", 0, 1, "numeric"), Span("visits", 1, 2, "numeric")]
    params = SMALL.model_copy(update={"max_steps": 700, "epochs": 1000, "hidden_dims": (16,)})
    with pytest.raises(TrainingDiverged, match="mode collapse"):
        SSGAN(numbers, params).fit(Encoded(rows.x[:, :2].copy(), rows.y))
