from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from semigen.errors import UserError
from semigen.generators import load_generator, make_generator
from semigen.generators.row_head import RowHead
from semigen.generators.ssgan import SSGAN
from semigen.generators.ssgan_loss import (
    SSGANLosses,
    class_feature_matching,
    feature_matching,
    unsupervised_loss,
)
from semigen.generators.ssgan_network import SSGANNetwork
from semigen.methods.class_index import find_classes
from semigen.params.config import ComputeParams, PretrainParams
from semigen.params.generators import SSGANParams
from semigen.tables.encoding import Encoded, Span
from semigen.training.compute import seeded
from semigen.training.plan import TrainingDiverged
from tests.semigen.example_tables import TARGET, encoded, encoder_of, mixed_table

SMALL = SSGANParams(
    hidden_dims=(64, 32), generator_dims=(32,), latent_dim=8, max_steps=250, smoothness=1.0
)
QUICK = SMALL.model_copy(update={"max_steps": 24})


@pytest.fixture(scope="module")
def trained():
    encoder, rows = encoded(mixed_table(400, missing=0.1), n_labeled=6)
    model = make_generator(
        encoder, PretrainParams(generator="ssgan", ssgan=SMALL), ComputeParams(), seed=1
    )
    history = model.fit(rows)
    return model, rows, history, encoder


def test_unsupervised_loss_is_that_of_a_further_class_with_logit_zero():
    with seeded(0):
        real, fake = torch.randn(5, 3) * 3, torch.randn(7, 3) * 3
    shares = [F.pad(logits, (0, 1)).softmax(1)[:, -1] for logits in (real, fake)]
    expected = -0.5 * (1 - shares[0]).log().mean() - 0.5 * shares[1].log().mean()
    torch.testing.assert_close(unsupervised_loss(real, fake), expected)


def test_feature_matching_is_zero_for_the_same_rows_in_any_order():
    with seeded(0):
        features = torch.randn(20, 4)
    assert feature_matching(features, features.flip(0)) == pytest.approx(0, abs=1e-12)
    assert feature_matching(features, features + 2) == pytest.approx(4, rel=1e-5)


def test_class_feature_matching_compares_each_class_with_its_own():
    one_hot = F.one_hot(torch.arange(24) % 2, 2).float()
    means = torch.tensor([[0.0, 0.0], [3.0, 1.0]])
    real = one_hot @ means
    assert class_feature_matching(real, one_hot, real, one_hot) == 0
    swapped = class_feature_matching(real, one_hot, real, one_hot.flip(1))
    # Both classes are off by 3 and 1; 12 rows of a class in the batch count 12 / 15.
    assert float(swapped) == pytest.approx(12 / 15 * (9 + 1) / 2)


def test_noise_within_a_class_is_not_charged():
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


def test_classes_are_spread_over_a_batch_by_their_shares():
    network = SSGANNetwork([Span("x", 0, 2, "numeric")], SMALL, n_classes=3)
    network.log_shares.copy_(torch.tensor([0.5, 0.3, 0.2]).log())
    with seeded(0):
        counts = torch.stack([network.sample_classes(101).sum(0) for _ in range(200)])
    assert float((counts - 101 * torch.tensor([0.5, 0.3, 0.2])).abs().max()) < 1
    assert counts.std(0).min() > 0


def test_every_parameter_gets_a_gradient():
    encoder = encoder_of(mixed_table(60, missing=0.2))
    x = torch.from_numpy(encoder.transform(mixed_table(60, missing=0.2)))
    with seeded(0):
        network = SSGANNetwork(encoder.spans_, SMALL, n_classes=2)
        network.discriminator.initialize(x)
        guess = torch.arange(60) % 3 - 1
        game = SSGANLosses(network, SMALL, x[:4], torch.tensor([0, 1, 0, 1]), x, 1)
        for part, loss in (
            (network.discriminator, game.discriminator_loss),
            (network.generator, game.generator_loss),
        ):
            names, parameters = zip(
                *((n, p) for n, p in part.named_parameters() if p.requires_grad), strict=True
            )
            gradients = torch.autograd.grad(loss([x, guess], 1), parameters, allow_unused=True)
            without = [n for n, g in zip(names, gradients, strict=True) if g is None or not g.any()]
            assert without == []


def test_spread_labels_matter_less_from_epoch_to_epoch_and_unsure_rows_never():
    params = SMALL.model_copy(update={"guided_epochs": 4})
    network = SSGANNetwork([Span("x", 0, 2, "numeric")], params, n_classes=3)
    with seeded(0):
        x, logits = torch.randn(20, 2), torch.randn(5, 3)
    game = SSGANLosses(network, params, x[:3], torch.arange(3), x, n_epochs=10)
    guess = torch.tensor([2, 0, -1, 1, -1])
    full = F.cross_entropy(logits[guess >= 0], guess[guess >= 0])
    for epoch, weight in ((0, 1.0), (1, 0.75), (4, 0.0), (9, 0.0)):
        game.epoch = epoch
        torch.testing.assert_close(game._guidance(logits, guess), weight * full)
    game.epoch = 0
    assert game._guidance(logits, torch.full((5,), -1)) == 0


def test_spread_labels_are_places_of_classes_and_only_of_unlabeled_rows():
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


def test_few_labels_go_a_long_way(trained):
    model, _, _, encoder = trained
    table = mixed_table(1000, seed=5, missing=0.1)
    probabilities = model.predict_proba(encoder.transform(table))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    predicted = model.classes_[probabilities.argmax(axis=1)]
    assert (predicted == encoder.schema.encode_labels(table[TARGET])).mean() > 0.9


def test_features_and_scores_have_their_shapes(trained):
    model, rows, _, _ = trained
    assert model.features(rows.x).shape == (400, 32)
    assert model.score(rows.x).shape == (400,)
    assert np.isfinite(model.score(rows.x)).all()
    assert model.novelty(rows.x).min() >= 0


def test_rows_of_a_class_resemble_the_class(trained):
    model, _, _, encoder = trained
    tables = [encoder.inverse_transform(model.sample(np.full(500, c), seed=2)) for c in (0, 1)]
    ill, well = tables
    assert ill["weight"].mean() > well["weight"].mean() + 10
    assert (ill["smoker"] == "yes").mean() > (well["smoker"] == "yes").mean() + 0.25


def test_sampled_rows_are_of_the_class_asked_for(trained):
    model, _, _, encoder = trained
    y = np.random.default_rng(0).integers(0, 2, 501)
    x = model.sample(y, seed=3)
    assert x.shape == (501, encoder.n_features)
    assert (model.classes_[model.predict_proba(x).argmax(axis=1)] == y).mean() > 0.85
    categories = [s for s in encoder.spans_ if s.kind == "category"]
    for span in categories:
        assert set(np.unique(x[:, span.start : span.stop])) <= {0.0, 1.0}
        np.testing.assert_array_equal(x[:, span.start : span.stop].sum(axis=1), 1)
    with pytest.raises(UserError, match="no labeled row had class 2"):
        model.sample(np.array([0, 2]), seed=3)


def test_same_seed_same_rows_and_saving_changes_nothing(trained, tmp_path):
    model, rows, _, _ = trained
    model.save(tmp_path / "model")
    reloaded = load_generator(tmp_path / "model")
    y = np.array([0, 1, 0])
    np.testing.assert_array_equal(model.sample(y, 5), model.sample(y, 5))
    assert not np.array_equal(model.sample(y, 5), model.sample(y, 6))
    for method in ("features", "score", "novelty", "predict_proba"):
        expected = getattr(model, method)(rows.x)
        np.testing.assert_array_equal(getattr(reloaded, method)(rows.x), expected)
    np.testing.assert_array_equal(reloaded.sample(y, 5), model.sample(y, 5))
    np.testing.assert_array_equal(reloaded.classes_, model.classes_)


def test_saved_model_holds_no_training_row(trained, tmp_path):
    model, rows, _, _ = trained
    model.save(tmp_path / "model")
    content = b"".join(path.read_bytes() for path in (tmp_path / "model").iterdir())
    assert all(row.tobytes() not in content for row in rows.x[:, :2].copy())


def test_unlabeled_rows_alone_train_but_give_no_classes():
    encoder, rows = encoded(mixed_table(60), n_labeled=0)
    model = SSGAN(encoder.spans_, SMALL.model_copy(update={"epochs": 2}))
    model.fit(rows)
    assert np.isfinite(model.score(rows.x)).all()
    for method in (
        lambda: model.sample(np.array([0]), seed=0),
        lambda: model.predict_proba(rows.x),
    ):
        with pytest.raises(UserError, match="learned no classes"):
            method()


def test_all_rows_may_be_labeled():
    encoder, rows = encoded(mixed_table(200), n_labeled=200)
    model = SSGAN(encoder.spans_, SMALL.model_copy(update={"max_steps": 60}))
    model.fit(rows)
    assert (model.predict_proba(rows.x).argmax(axis=1) == rows.y).mean() > 0.9


def test_classes_learned_anew_know_nothing_of_the_old_labels(trained):
    model, rows, _, _ = trained
    short = SSGAN(model.spans, QUICK, seed=1)
    short.fit(rows)
    swapped = Encoded(rows.x, np.where(rows.y >= 0, 1 - rows.y, -1))
    fresh = SSGAN(model.spans, QUICK, seed=1)
    fresh.fit(swapped)
    relearned = short.with_classes(swapped)
    np.testing.assert_array_equal(relearned.predict_proba(rows.x), fresh.predict_proba(rows.x))


def test_relaxed_rows_are_near_rows_of_the_table_and_harden_into_them():
    spans = [
        Span("a", 0, 1, "numeric"),
        Span("b", 1, 2, "numeric"),
        Span("b", 2, 3, "missing"),
        Span("c", 3, 6, "category"),
        Span("d", 6, 8, "category"),
    ]
    head = RowHead(spans, temperature=0.5)
    rows = torch.zeros(2, 8)
    rows[:, 0], rows[:, 1] = torch.tensor([0.2, 1.0]), torch.tensor([-3.0, 2.0])
    rows[:, [3, 7]] = 1
    outputs = head.learn_bounds(rows)
    torch.testing.assert_close(outputs[:2], torch.tensor([np.log(0.6 / 0.4), -0.5]).float())
    with seeded(0):
        relaxed = head(4 * torch.randn(200, 8))
    assert relaxed[:, 0].min() > 0
    assert relaxed[:, 0].max() < 1
    assert relaxed[:, 1].max() > 1
    for start, stop in ((3, 6), (6, 8)):
        torch.testing.assert_close(relaxed[:, start:stop].sum(1), torch.ones(200))
        hard = head.harden(relaxed)[:, start:stop]
        torch.testing.assert_close(hard.argmax(1), relaxed[:, start:stop].argmax(1))
        assert set(hard.unique().tolist()) == {0.0, 1.0}


def test_category_draws_follow_their_logits():
    head = RowHead([Span("c", 0, 3, "category")], temperature=0.5)
    shares = torch.tensor([0.2, 0.5, 0.3])
    with seeded(0):
        drawn = head.harden(head(shares.log().expand(20_000, 3)))
    torch.testing.assert_close(drawn.mean(0), shares, atol=4 * 0.5 / 20_000**0.5, rtol=0)


def test_collapsed_generator_stops_training_with_a_clear_error(monkeypatch):
    def always_the_same(self, one_hot):
        return self.head(self.out.bias.expand(len(one_hot), -1))

    monkeypatch.setattr("semigen.generators.ssgan_network.Generator.forward", always_the_same)
    _, rows = encoded(mixed_table(200), n_labeled=20)
    numbers = [Span("weight", 0, 1, "numeric"), Span("visits", 1, 2, "numeric")]
    params = SMALL.model_copy(update={"max_steps": 700, "epochs": 1000, "hidden_dims": (16,)})
    with pytest.raises(TrainingDiverged, match="mode collapse"):
        SSGAN(numbers, params).fit(Encoded(rows.x[:, :2].copy(), rows.y))
