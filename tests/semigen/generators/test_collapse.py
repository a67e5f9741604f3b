from __future__ import annotations

import pytest
import torch

from semigen.generators.collapse import describe_collapse, diversity
from semigen.training.compute import seeded


def rows(n: int = 200, seed: int = 0) -> torch.Tensor:
    """Rows in three clusters, with a column that never varies."""
    with seeded(seed):
        centers = torch.tensor([[0.0, 0.0, 1.0], [5.0, 0.0, 1.0], [0.0, 5.0, 1.0]])
        noise = torch.randn(n, 3) * torch.tensor([1.0, 1.0, 0.0])
        return centers[torch.arange(n) % 3] + noise


@pytest.mark.parametrize(("n_different", "n_copies"), [(1, 50), (4, 10), (30, 1)])
def test_diversity_is_the_number_of_rows_that_are_far_apart(n_different, n_copies):
    x = (100 * torch.eye(n_different)).repeat(n_copies, 1)
    assert diversity(x, 1.0) == pytest.approx(n_different, rel=1e-6)


def test_rows_of_the_same_kind_pass():
    assert describe_collapse(rows(), rows(seed=1)) is None


def test_rows_of_one_cluster_alone_are_poor_but_pass():
    assert describe_collapse(rows(), rows(600, seed=1)[::3]) is None


def test_a_single_row_over_and_over_is_caught():
    assert "mode collapse" in describe_collapse(rows(), rows()[:1] + 0.01 * rows(seed=1))
    assert "mode collapse" in describe_collapse(rows(), rows()[:1].expand(200, 3))


def test_few_rows_over_and_over_are_caught_however_far_apart_they_are():
    assert "mode collapse" in describe_collapse(rows(), rows()[:3].repeat(67, 1))


def test_rows_that_are_not_finite_are_caught():
    broken = rows()
    broken[7, 1] = torch.nan
    assert "finite" in describe_collapse(rows(), broken)


def test_repeated_real_rows_may_be_repeated():
    few = torch.eye(4).repeat(50, 1)
    assert describe_collapse(few, few) is None
    assert describe_collapse(few[:, :0], few[:, :0]) is None
