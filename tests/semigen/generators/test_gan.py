from __future__ import annotations

import numpy as np
import pytest
import torch

from semigen.errors import UserError
from semigen.generators import load_generator, make_generator
from semigen.generators.bins import RowBins
from semigen.generators.gan import GAN, estimate_code_probabilities
from semigen.generators.gan_loss import (
    ConditionSampler,
    GANLosses,
    gradient_penalty,
    sample_classes,
)
from semigen.generators.gan_network import GANNetwork
from semigen.params.config import ComputeParams, PretrainParams
from semigen.params.generators import GANParams
from semigen.tables.encoding import Encoded
from semigen.training.compute import seeded
from tests.semigen.example_tables import TARGET, encoded, mixed_table

SMALL = GANParams(
    hidden_dims=(64, 32),
    generator_dims=(64,),
    latent_dim=8,
    max_bins=8,
    batch_size=64,
    max_steps=300,
    learning_rate=5e-3,
    class_share=4.0,
)
QUICK = SMALL.model_copy(update={"max_steps": 30})


@pytest.fixture(scope="module")
def trained():
    encoder, rows = encoded(mixed_table(400, missing=0.1), n_labeled=20)
    model = make_generator(
        encoder, PretrainParams(generator="gan", gan=SMALL), ComputeParams(), seed=1
    )
    history = model.fit(rows)
    return model, rows, history, encoder


def game_of(rows: Encoded, spans, n_classes: int = 2):
    bins = RowBins.fit(rows.x, spans, SMALL.max_bins)
    codes = torch.from_numpy(bins.encode(rows.x))
    classes = torch.eye(n_classes)[torch.from_numpy(rows.y)] if n_classes else codes[:, :0].float()
    network = GANNetwork(bins, SMALL, n_classes)
    game = GANLosses(network, SMALL, ConditionSampler(codes, bins.n_codes), classes.log(), 1)
    return game, codes, classes


def test_gradient_penalty_of_a_linear_critic_is_known():
    slope = torch.tensor([3.0, -4.0])
    with seeded(0):
        real, fake = torch.randn(10, 2), torch.randn(10, 2)
    penalty = gradient_penalty(lambda rows: rows @ slope, real, fake)
    assert float(penalty) == pytest.approx((5 - 1) ** 2, rel=1e-5)


def test_conditions_hold_in_the_rows_drawn_and_show_rare_codes_more_often():
    codes = torch.stack([(torch.arange(1000) == 7).long(), torch.arange(1000) % 3], 1)
    conditions = ConditionSampler(codes, (2, 4))
    with seeded(0):
        columns, rows = conditions.sample(30_000)
    for column in (-1, 0, 1):
        assert float((columns == column).float().mean()) == pytest.approx(1 / 3, abs=0.015)
    is_rare = codes[rows[columns == 0], 0].float().mean()
    expected = np.log(2) / (np.log(2) + np.log(1000))
    assert float(is_rare) == pytest.approx(expected, abs=4 * 0.3 / 10_000**0.5)
    anywhere = rows[columns == -1]
    assert float(anywhere.float().mean()) == pytest.approx(499.5, abs=4 * 289 / 10_000**0.5)


def test_known_column_is_kept_in_every_generated_row():
    encoder, rows = encoded(mixed_table(100, missing=0.1), n_labeled=100)
    game, codes, classes = game_of(rows, encoder.spans_)
    network = game.network
    columns = torch.arange(100) % codes.shape[1]
    with seeded(0), torch.no_grad():
        made = network.generate(columns, network.one_hot(codes), classes)
    blocks = made.split(network.n_codes, dim=1)
    for i in range(100):
        column = int(columns[i])
        assert int(blocks[column][i].argmax()) == int(codes[i, column])
        assert float(blocks[column][i].sum()) == 1
    torch.testing.assert_close(made.sum(1), torch.full((100,), float(codes.shape[1])))


def test_network_with_classes_starts_out_as_the_one_without():
    encoder, rows = encoded(mixed_table(100), n_labeled=100)
    game, codes, _ = game_of(rows, encoder.spans_, n_classes=0)
    wide = GANNetwork(RowBins.fit(rows.x, encoder.spans_, SMALL.max_bins), SMALL, 2)
    wide.copy_weights(game.network)
    one_hot, columns = game.network.one_hot(codes), torch.full((100,), -1)
    classes = torch.eye(2)[torch.from_numpy(rows.y)]
    for narrow_output, output in zip(
        game.network.criticize(columns, one_hot, classes[:, :0]),
        wide.criticize(columns, one_hot, classes),
        strict=True,
    ):
        torch.testing.assert_close(output, narrow_output)
    made = []
    for network, hot in ((game.network, classes[:, :0]), (wide, classes)):
        with seeded(3):
            made.append(network.generate(columns, one_hot, hot))
    torch.testing.assert_close(made[1], made[0])


def test_every_parameter_gets_a_gradient():
    encoder, rows = encoded(mixed_table(100, missing=0.2), n_labeled=100)
    with seeded(0):
        game, codes, classes = game_of(rows, encoder.spans_)
        for part, loss in (
            (game.network.critic, game.critic_loss),
            (game.network.generator, game.generator_loss),
        ):
            names, parameters = zip(*part.named_parameters(), strict=True)
            gradients = torch.autograd.grad(
                loss([codes, classes], 0), parameters, allow_unused=True
            )
            without = [n for n, g in zip(names, gradients, strict=True) if g is None or not g.any()]
            # The critic's last bias moves all scores alike, of real and generated rows.
            assert without == (["out.bias"] if part is game.network.critic else [])


def test_shares_of_a_class_are_those_of_its_rows_drawn_towards_all_rows():
    encoder, rows = encoded(mixed_table(300), n_labeled=300)
    game, codes, classes = game_of(rows, encoder.spans_)
    shares = estimate_code_probabilities(game.network.one_hot, codes, classes)
    one_hot = game.network.one_hot(codes).numpy()
    n_ill = int((rows.y == 0).sum())
    own, overall = one_hot[rows.y == 0].mean(axis=0), one_hot.mean(axis=0)
    np.testing.assert_allclose(shares[0], (n_ill * own + 10 * overall) / (n_ill + 10), rtol=1e-4)


def test_classes_are_drawn_by_their_probabilities():
    shares = torch.tensor([0.7, 0.0, 0.3])
    with seeded(0):
        classes = sample_classes(shares.log().expand(10_000, 3))
    torch.testing.assert_close(classes.mean(0), shares, atol=4 * 0.5 / 100, rtol=0)
    assert sample_classes(torch.zeros(5, 0)).shape == (5, 0)


def test_rows_of_a_class_resemble_the_class(trained):
    model, _, _, encoder = trained
    ill, well = (encoder.inverse_transform(model.sample(np.full(500, c), seed=2)) for c in (0, 1))
    assert ill["weight"].mean() > well["weight"].mean() + 10
    assert (ill["smoker"] == "yes").mean() > (well["smoker"] == "yes").mean() + 0.25
    assert ill["weight"].isna().mean() < 0.3


def test_rows_are_rows_of_the_table_in_the_order_asked_for(trained):
    model, _, _, encoder = trained
    y = np.random.default_rng(0).integers(0, 2, 501)
    x = model.sample(y, seed=3)
    assert x.shape == (501, encoder.n_features)
    weight = encoder.inverse_transform(x)["weight"]
    assert weight[y == 0].mean() > weight[y == 1].mean() + 10
    for span in encoder.spans_:
        if span.kind == "category":
            np.testing.assert_array_equal(x[:, span.start : span.stop].sum(axis=1), 1)
    with pytest.raises(UserError, match="no labeled row had class 2"):
        model.sample(np.array([0, 2]), seed=3)


def test_features_and_scores_have_their_shapes(trained):
    model, rows, _, _ = trained
    assert model.features(rows.x).shape == (400, 32)
    assert model.features(rows.x).dtype == np.float32
    assert np.isfinite(model.score(rows.x)).all()
    assert model.novelty(rows.x).max() <= 1


def test_same_seed_same_rows_and_saving_changes_nothing(trained, tmp_path):
    model, rows, _, _ = trained
    model.save(tmp_path / "model")
    reloaded = load_generator(tmp_path / "model")
    y = np.array([0, 1, 0])
    np.testing.assert_array_equal(model.sample(y, 5), model.sample(y, 5))
    assert not np.array_equal(model.sample(y, 5), model.sample(y, 6))
    np.testing.assert_array_equal(reloaded.sample(y, 5), model.sample(y, 5))
    for method in ("features", "score", "novelty"):
        expected = getattr(model, method)(rows.x)
        np.testing.assert_array_equal(getattr(reloaded, method)(rows.x), expected)


def test_saved_model_holds_no_training_row(trained, tmp_path):
    model, rows, _, _ = trained
    model.save(tmp_path / "model")
    content = b"".join(path.read_bytes() for path in (tmp_path / "model").iterdir())
    assert all(row.tobytes() not in content for row in rows.x[:, :2].copy())


@pytest.fixture(scope="module")
def quick():
    encoder, rows = encoded(mixed_table(400, missing=0.1), n_labeled=20)
    model = GAN(encoder.spans_, QUICK, seed=1)
    model.fit(rows)
    return model, rows


def test_classes_learned_anew_know_nothing_of_the_old_labels(quick, tmp_path):
    model, rows = quick
    swapped = Encoded(rows.x, np.where(rows.y >= 0, 1 - rows.y, -1))
    other = GAN(model.spans, QUICK, seed=1)
    other.fit(swapped)
    y = np.arange(50) % 2
    expected = other.sample(y, 0)
    assert not np.array_equal(model.sample(y, 0), expected)
    np.testing.assert_array_equal(model.with_classes(swapped).sample(y, 0), expected)
    np.testing.assert_array_equal(other.features(rows.x), model.features(rows.x))
    model.save(tmp_path / "model")
    reloaded = load_generator(tmp_path / "model")
    np.testing.assert_array_equal(reloaded.with_classes(swapped).sample(y, 0), expected)


def test_unlabeled_rows_alone_train_but_give_no_classes():
    encoder, rows = encoded(mixed_table(60), n_labeled=0)
    model = GAN(encoder.spans_, SMALL.model_copy(update={"epochs": 2}))
    model.fit(rows)
    with pytest.raises(UserError, match="learned no classes"):
        model.sample(np.array([0]), seed=0)


def test_numbers_alone_and_all_labeled_will_do():
    table = mixed_table(120)[["weight", "visits", TARGET]]
    encoder, rows = encoded(table, n_labeled=120)
    model = GAN(encoder.spans_, SMALL.model_copy(update={"max_steps": 20}))
    model.fit(rows)
    assert np.isfinite(model.sample(rows.y, 0)).all()
