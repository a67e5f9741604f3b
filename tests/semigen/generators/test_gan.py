from __future__ import annotations

import numpy as np
import pytest
import torch

from semigen.generators.bins import RowBins
from semigen.generators.gan import estimate_code_probabilities
from semigen.generators.gan_loss import (
    ConditionSampler,
    GANLosses,
    gradient_penalty,
    sample_classes,
)
from semigen.generators.gan_network import GANNetwork
from semigen.params.generators import GANParams
from semigen.tables.encoding import Encoded
from semigen.training.compute import seeded
from tests.semigen.example_tables import encoded, mixed_table

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


def losses_of(rows: Encoded, spans, n_classes: int = 2):
    bins = RowBins.fit(rows.x, spans, SMALL.max_bins)
    codes = torch.from_numpy(bins.encode(rows.x))
    classes = torch.eye(n_classes)[torch.from_numpy(rows.y)] if n_classes else codes[:, :0].float()
    network = GANNetwork(bins, SMALL, n_classes)
    losses = GANLosses(network, SMALL, ConditionSampler(codes, bins.n_codes), classes.log(), 1, 100)
    return losses, codes, classes


def test_gradient_penalty_of_a_linear_critic_is_known():
    slope = torch.tensor([3.0, -4.0])
    with seeded(0):
        real, fake = torch.randn(10, 2), torch.randn(10, 2)
    penalty = gradient_penalty(lambda rows: rows @ slope, real, fake)
    assert float(penalty) == pytest.approx((5 - 1) ** 2, rel=1e-5)


def test_conditions_give_rare_codes_more_often():
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


def test_generated_rows_keep_the_given_column():
    encoder, rows = encoded(mixed_table(100, missing=0.1), n_labeled=100)
    losses, codes, classes = losses_of(rows, encoder.spans_)
    network = losses.network
    columns = torch.arange(100) % codes.shape[1]
    with seeded(0), torch.no_grad():
        made = network.generate(columns, network.one_hot(codes), classes)
    blocks = made.split(network.n_codes, dim=1)
    for i in range(100):
        column = int(columns[i])
        assert int(blocks[column][i].argmax()) == int(codes[i, column])
        assert float(blocks[column][i].sum()) == 1
    torch.testing.assert_close(made.sum(1), torch.full((100,), float(codes.shape[1])))


def test_copied_weights_give_the_outputs_of_the_network_without_classes():
    encoder, rows = encoded(mixed_table(100), n_labeled=100)
    losses, codes, _ = losses_of(rows, encoder.spans_, n_classes=0)
    wide = GANNetwork(RowBins.fit(rows.x, encoder.spans_, SMALL.max_bins), SMALL, 2)
    wide.copy_weights(losses.network)
    one_hot, columns = losses.network.one_hot(codes), torch.full((100,), -1)
    classes = torch.eye(2)[torch.from_numpy(rows.y)]
    for narrow_output, output in zip(
        losses.network.criticize(columns, one_hot, classes[:, :0]),
        wide.criticize(columns, one_hot, classes),
        strict=True,
    ):
        torch.testing.assert_close(output, narrow_output)
    made = []
    for network, hot in ((losses.network, classes[:, :0]), (wide, classes)):
        with seeded(3):
            made.append(network.generate(columns, one_hot, hot))
    torch.testing.assert_close(made[1], made[0])


def test_code_probabilities_of_a_class_are_shrunk_towards_those_of_all_rows():
    encoder, rows = encoded(mixed_table(300), n_labeled=300)
    losses, codes, classes = losses_of(rows, encoder.spans_)
    probabilities = estimate_code_probabilities(losses.network.one_hot, codes, classes)
    one_hot = losses.network.one_hot(codes).numpy()
    n_ill = int((rows.y == 0).sum())
    own, overall = one_hot[rows.y == 0].mean(axis=0), one_hot.mean(axis=0)
    np.testing.assert_allclose(
        probabilities[0], (n_ill * own + 10 * overall) / (n_ill + 10), rtol=1e-4
    )


def test_sampled_classes_have_the_given_probabilities():
    probabilities = torch.tensor([0.7, 0.0, 0.3])
    with seeded(0):
        classes = sample_classes(probabilities.log().expand(10_000, 3))
    torch.testing.assert_close(classes.mean(0), probabilities, atol=4 * 0.5 / 100, rtol=0)
    assert sample_classes(torch.zeros(5, 0)).shape == (5, 0)
