from __future__ import annotations

import itertools

import pytest
import torch

from semigen.generators.autoregressive import AutoregressiveNetwork, Sampler
from semigen.params.config import ComputeParams
from semigen.training.compute import seeded

N_CODES = (4, 2, 3)
CELLS = torch.tensor(list(itertools.product(*map(range, N_CODES))))


def network(n_classes: int = 2, n_codes: tuple[int, ...] = N_CODES) -> AutoregressiveNetwork:
    """Return a network with random weights, classes included."""
    with seeded(0):
        made = AutoregressiveNetwork(
            n_codes,
            [n > 3 for n in n_codes],
            n_classes,
            hidden_dim=8,
            embedding_dim=4,
            dropout=0.0,
        )
        with torch.no_grad():
            for name, parameter in made.named_parameters():
                if "bias" not in name:
                    parameter.normal_()
    return made


@pytest.mark.parametrize("y", [None, 0, 1])
def test_probabilities_of_all_cells_sum_to_one(y):
    classes = None if y is None else torch.full((len(CELLS),), y)
    total = network().log_prob(CELLS, classes).exp().sum()
    torch.testing.assert_close(total, torch.tensor(1.0))


def test_classes_differ():
    made = network()
    first, second = (made.log_prob(CELLS, torch.full((len(CELLS),), c)).exp() for c in (0, 1))
    assert (first - second).abs().sum() > 0.1


def test_logits_of_a_column_depend_on_those_before_it_only():
    n_codes = (3, 9, 2, 5, 4, 6, 3)
    made = network(0, n_codes)
    with seeded(1):
        codes, others = (
            torch.stack([torch.randint(n, (20,)) for n in n_codes], 1) for _ in range(2)
        )
    before = made.logits(codes)
    for rank, column in enumerate(made.order):
        changed = codes.clone()
        later = made.order[rank:]
        changed[:, later] = others[:, later]
        torch.testing.assert_close(made.logits(changed)[column], before[column])
        if rank:
            earlier = codes.clone()
            earlier[:, made.order[rank - 1]] = others[:, made.order[rank - 1]]
            assert not torch.allclose(made.logits(earlier)[column], before[column])


def test_log_probability_is_the_sum_of_the_columns_log_probabilities():
    made = network()
    y = torch.zeros(len(CELLS), dtype=torch.long)
    parts = [
        logits.log_softmax(1).gather(1, CELLS[:, [column]])[:, 0]
        for column, logits in enumerate(made.logits(CELLS, y))
    ]
    torch.testing.assert_close(made.log_prob(CELLS, y), torch.stack(parts).sum(0))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_sampled_rows_have_the_probabilities_of_the_network(precision):
    made, n = network(), 40_000
    for c in (0, 1):
        expected = made.log_prob(CELLS, torch.full((len(CELLS),), c)).exp()
        with seeded(2):
            columns = Sampler(made, ComputeParams(precision=precision))(torch.full((n,), c))
        cells = (columns[0] * N_CODES[1] + columns[1]) * N_CODES[2] + columns[2]
        found = torch.bincount(cells, minlength=len(CELLS)) / n
        errors = (expected * (1 - expected) / n).sqrt()
        # 24 cells; bf16 rounds logits to three digits, and so probabilities by up to 2 %.
        rounding = 0.02 * expected if precision == "bf16" else 0.0
        assert ((found - expected).abs() <= 4.5 * errors + rounding + 1e-5).all()


def test_new_class_parameters_do_not_change_the_log_probabilities():
    unconditional = network(0)
    conditional = network(3)
    with torch.no_grad():
        conditional.class_shift.zero_()
    conditional.load_state_dict(conditional.state_dict() | unconditional.state_dict())
    y = torch.arange(len(CELLS)) % 3
    torch.testing.assert_close(conditional.log_prob(CELLS, y), unconditional.log_prob(CELLS))


def test_single_column_has_a_distribution():
    made = network(1, (5,))
    cells = torch.arange(5)[:, None]
    torch.testing.assert_close(made.log_prob(cells).exp().sum(), torch.tensor(1.0))
