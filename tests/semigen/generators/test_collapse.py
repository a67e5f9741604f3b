from __future__ import annotations

import pytest
import torch

from semigen.generators.collapse import describe_collapse, diversity
from semigen.training.compute import seeded


def rows(n: int = 200, seed: int = 0) -> torch.Tensor:
    """Return rows in three clusters, with a constant column."""
    with seeded(seed):
        centers = torch.tensor([[0.0, 0.0, 1.0], [5.0, 0.0, 1.0], [0.0, 5.0, 1.0]])
        noise = torch.randn(n, 3) * torch.tensor([1.0, 1.0, 0.0])
        return centers[torch.arange(n) % 3] + noise


@pytest.mark.parametrize(("n_different", "n_copies"), [(1, 50), (4, 10), (30, 1)])
def test_diversity_is_the_number_of_distant_rows(n_different, n_copies):
    x = (100 * torch.eye(n_different)).repeat(n_copies, 1)
    assert diversity(x, 1.0) == pytest.approx(n_different, rel=1e-6)


def test_accepts_rows_of_the_same_distribution():
    assert describe_collapse(rows(), rows(seed=1)) is None


def test_accepts_rows_of_a_single_cluster():
    assert describe_collapse(rows(), rows(600, seed=1)[::3]) is None


def test_detects_a_repeated_row():
    assert "mode collapse" in describe_collapse(rows(), rows()[:1] + 0.01 * rows(seed=1))
    assert "mode collapse" in describe_collapse(rows(), rows()[:1].expand(200, 3))


def test_detects_few_repeated_rows_even_if_they_are_distant():
    assert "mode collapse" in describe_collapse(rows(), rows()[:3].repeat(67, 1))


def test_detects_rows_that_are_not_finite():
    broken = rows()
    broken[7, 1] = torch.nan
    assert "finite" in describe_collapse(rows(), broken)


def test_accepts_repeated_rows_if_the_real_rows_are_repeated():
    few = torch.eye(4).repeat(50, 1)
    assert describe_collapse(few, few) is None
    assert describe_collapse(few[:, :0], few[:, :0]) is None
