from __future__ import annotations

import numpy as np
import torch
from scipy import stats

from semigen.generators.likelihoods import RowLikelihood
from semigen.tables.encoding import Span
from semigen.training.compute import seeded

SPANS = (
    Span("a", 0, 1, "numeric"),
    Span("b", 1, 2, "numeric"),
    Span("a", 2, 3, "missing"),
    Span("flag", 3, 4, "boolean"),
    Span("c", 4, 7, "category"),
    Span("d", 7, 9, "category"),
)
OUTPUTS = torch.tensor([[0.3, -1.0, 2.0, -0.5, 1.0, 0.0, -2.0, 40.0, -40.0]])


def one_hot(*positions: int) -> torch.Tensor:
    x = torch.tensor([[0.5, 0.2, 1.0, 0.0] + [0.0] * 5])
    x[0, list(positions)] = 1.0
    return x


def test_log_density_is_the_sum_over_columns():
    likelihood = RowLikelihood(SPANS, shared_scale=False)
    with torch.no_grad():
        likelihood.log_scale.copy_(torch.tensor([0.1, -0.7]))
    actual = likelihood(OUTPUTS).log_prob(one_hot(5, 7))
    logits = np.array([1.0, 0.0, -2.0])
    expected = (
        stats.norm(0.3, np.exp(0.1)).logpdf(0.5)
        + stats.norm(-1.0, np.exp(-0.7)).logpdf(0.2)
        + stats.bernoulli(1 / (1 + np.exp(-2.0))).logpmf(1)
        + stats.bernoulli(1 / (1 + np.exp(0.5))).logpmf(0)
        + logits[1]
        - np.log(np.exp(logits).sum())
    )  # column d is certain and adds 0
    np.testing.assert_allclose(actual.item(), expected, rtol=1e-5)


def test_probabilities_of_all_categories_sum_to_one():
    likelihood = RowLikelihood(SPANS, shared_scale=False)
    logs = [likelihood(OUTPUTS).log_prob(one_hot(c, d)) for c in (4, 5, 6) for d in (7, 8)]
    row = one_hot()
    row[0, 4:] = 0.0
    without = RowLikelihood(SPANS[:4], shared_scale=False)(OUTPUTS[:, :4]).log_prob(row[:, :4])
    np.testing.assert_allclose(torch.cat(logs).logsumexp(0).item(), without.item(), rtol=1e-5)


def test_samples_have_the_moments_of_the_distribution():
    n = 20_000
    likelihood = RowLikelihood(SPANS, shared_scale=True)
    with seeded(0):
        x = likelihood(OUTPUTS.expand(n, -1)).sample().detach().numpy()
    scale = np.exp(likelihood.log_scale.item())
    five_errors = 5 / np.sqrt(n)
    np.testing.assert_allclose(x[:, :2].mean(0), [0.3, -1.0], atol=five_errors * scale)
    np.testing.assert_allclose(x[:, :2].std(0), scale, rtol=five_errors)
    shares = torch.softmax(OUTPUTS[0, 4:7], 0).numpy()
    np.testing.assert_allclose(x[:, 4:7].mean(0), shares, atol=five_errors * 0.5)
    np.testing.assert_allclose(x[:, 2].mean(), 1 / (1 + np.exp(-2.0)), atol=five_errors * 0.5)
    assert (x[:, 4:7].sum(1) == 1).all()
    assert (x[:, 7] == 1).all() and (x[:, 8] == 0).all()


def test_table_with_columns_of_one_kind_has_a_density():
    for spans in (SPANS[:2], (Span("c", 0, 3, "category"),), (Span("f", 0, 1, "boolean"),)):
        outputs = torch.zeros(4, spans[-1].stop, requires_grad=True)
        distribution = RowLikelihood(spans, shared_scale=True)(outputs)
        log_density = distribution.log_prob(distribution.sample())
        log_density.sum().backward()
        assert log_density.shape == (4,) and torch.isfinite(log_density).all()
        assert outputs.grad is not None and torch.isfinite(outputs.grad).all()


def test_intensities_have_the_expected_density_of_black_and_white_pixels():
    spans = (Span("p", 0, 1, "numeric"), Span("q", 1, 2, "numeric"), Span("f", 2, 3, "boolean"))
    likelihood = RowLikelihood(spans, shared_scale=True, intensities=True)
    logits = torch.tensor([[0.4, -2.0, 1.5]])
    probabilities = torch.sigmoid(logits[0]).numpy()
    x = torch.tensor([[0.25, 0.9, 1.0]])
    expected = sum(
        share * np.log(p) + (1 - share) * np.log(1 - p)
        for share, p in zip(x[0].numpy(), probabilities, strict=True)
    )
    np.testing.assert_allclose(likelihood(logits).log_prob(x).item(), expected, rtol=1e-5)
    with seeded(0):
        rows = likelihood(logits.expand(2000, 3)).sample()
    np.testing.assert_allclose(rows[:, :2], np.tile(probabilities[:2], (2000, 1)), rtol=1e-5)
    assert set(rows[:, 2].tolist()) == {0.0, 1.0}
