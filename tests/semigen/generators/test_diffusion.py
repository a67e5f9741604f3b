from __future__ import annotations

import itertools
import math

import torch

from semigen.generators.diffusion import FlowNetwork
from semigen.training.compute import seeded

POINTS = [torch.tensor([[-1.3], [-0.2], [0.3], [1.4]]), torch.tensor([[-1.0], [1.0]]), torch.eye(3)]
CELLS = torch.tensor(list(itertools.product(range(4), range(2), range(3))))


def network(n_classes: int = 0) -> FlowNetwork:
    """Return an untrained network, for which all codes are equally probable and independent."""
    with seeded(0):
        made = FlowNetwork(POINTS, n_classes, hidden_dim=16, n_layers=2, dropout=0.0)
    torch.nn.init.zeros_(made.leave.bias)
    return made.eval()


def test_the_untrained_network_is_exact_for_uniform_codes():
    made = network()
    with seeded(1):
        e = made.embed(CELLS)
        t = torch.rand(len(CELLS), 1) * 0.9
        x = t * e + (1 - t) * torch.randn_like(e)
        expected = made.expected(x, t)
    likelihood = -(x[:, None, :] - t[:, None] * e[None]).square().sum(2) / (2 * (1 - t) ** 2)
    torch.testing.assert_close(expected, likelihood.softmax(1) @ e, rtol=1e-4, atol=1e-4)


def test_the_bound_is_the_log_probability_where_the_network_is_exact():
    made, n = network(), 400
    with torch.no_grad(), seeded(2):
        bounds = made.bound(CELLS.repeat(n, 1))
    truth = -math.log(len(CELLS))
    error = bounds.std() / len(bounds) ** 0.5
    # Below the least signal-to-noise ratio, what is left out is at most 0.01 nats.
    assert abs(bounds.mean() - truth) < 4 * error + 0.01


def test_the_bound_is_below_where_the_network_is_wrong():
    made = network()
    with torch.no_grad():
        made.leave.weight.normal_(0, 0.5)
        with seeded(2):
            mass = made.bound(CELLS.repeat(200, 1)).view(200, -1).mean(0).exp().sum()
    assert mass < 0.99


def test_rows_sampled_from_the_untrained_network_are_uniform():
    made, n = network(1), 20_000
    with torch.no_grad(), seeded(3):
        columns = made.sample(torch.zeros(n, dtype=torch.long), n_steps=100)
    for column, codes in enumerate(columns):
        n_codes = len(POINTS[column])
        found = torch.bincount(codes, minlength=n_codes) / n
        error = (1 / n_codes * (1 - 1 / n_codes) / n) ** 0.5
        assert (found - 1 / n_codes).abs().max() < 4 * error + 0.01  # Euler steps


def test_new_class_parameters_do_not_change_the_logits():
    unconditional, conditional = network(), network(3)
    conditional.load_state_dict(conditional.state_dict() | unconditional.state_dict())
    y, t = torch.arange(len(CELLS)) % 3, torch.full((len(CELLS), 1), 0.5)
    x = unconditional.embed(CELLS)
    torch.testing.assert_close(conditional.logits(x, t, y), unconditional.logits(x, t))


def test_codes_at_the_end_are_those_of_the_nearest_points():
    made = network()
    with seeded(4):
        columns = made.sample_codes(
            made.logits(made.embed(CELLS), torch.full((len(CELLS), 1), 0.98))
        )
    torch.testing.assert_close(torch.stack(columns, 1), CELLS)
