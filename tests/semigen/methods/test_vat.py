from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from semigen.methods.vat import divergences, information, typical_distance, worst_step
from semigen.training.compute import seeded


def test_divergences_equal_those_of_torch():
    with seeded(0):
        p, q = torch.randn(6, 4).log_softmax(1), torch.randn(6, 4).log_softmax(1)
    expected = F.kl_div(q, p, log_target=True, reduction="none").sum(1)
    torch.testing.assert_close(divergences(p, q), expected)
    torch.testing.assert_close(divergences(p, p), torch.zeros(6))


def test_worst_step_is_perpendicular_to_the_boundary():
    slopes = torch.tensor([[3.0, 0.0], [4.0, 0.0]])  # only the direction (3, 4) matters

    def classify(rows):
        return (rows @ slopes).log_softmax(1)

    with seeded(0):
        x = 0.1 * torch.randn(50, 2)
        step = worst_step(classify, x, classify(x), radius=0.5)
    torch.testing.assert_close(step.norm(dim=1), torch.full((50,), 0.5))
    along = (step @ torch.tensor([0.6, 0.8])).abs()
    torch.testing.assert_close(along, torch.full((50,), 0.5))


def test_worst_step_adds_no_gradient_to_the_classifier():
    layer = torch.nn.Linear(2, 2)
    x = torch.ones(3, 2)
    step = worst_step(lambda rows: layer(rows).log_softmax(1), x, layer(x).log_softmax(1), 1.0)
    assert not step.requires_grad
    assert layer.weight.grad is None


def test_information_is_largest_for_confident_balanced_predictions():
    expected = torch.tensor([0.5, 0.5])
    confident = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).clamp_min(1e-6).log()
    uniform = torch.full((2, 2), 0.5).log()
    one_sided = torch.tensor([[1.0, 0.0], [1.0, 0.0]]).clamp_min(1e-6).log()
    assert float(information(confident, expected)) == pytest.approx(0, abs=1e-4)
    assert float(information(uniform, expected)) == pytest.approx(-np.log(2), abs=1e-4)
    assert float(information(one_sided, expected)) == pytest.approx(-4 * np.log(2), abs=1e-3)


def test_typical_distance_is_the_distance_to_the_tenth_neighbor():
    x = np.arange(100.0)[:, None]
    assert typical_distance(x) == pytest.approx(5)  # five on either side
    assert typical_distance(x[:3]) == pytest.approx(2)
