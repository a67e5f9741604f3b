from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from semigen.errors import UserError
from semigen.methods.column_warps import ColumnWarps, column_positions
from semigen.tables.encoding import Span
from semigen.training.compute import seeded

SIDE = 8


def _pictures(n: int) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal((n, SIDE, SIDE))
    return gaussian_filter(noise, (0, 1, 1)).reshape(n, -1).astype(np.float32)


def _spans(n: int) -> list[Span]:
    return [Span(f"pixel {i}", i, i + 1, "numeric") for i in range(n)]


def test_finds_neighboring_pixels_in_permuted_columns():
    order = np.random.default_rng(1).permutation(SIDE**2)
    positions = column_positions(_pictures(3000)[:, order])
    distances = np.linalg.norm(positions[:, None] - positions, axis=2)
    np.fill_diagonal(distances, np.inf)
    grid = np.stack(np.divmod(order, SIDE), 1)
    steps = np.abs(grid - grid[distances.argmin(1)]).max(1)
    assert np.mean(steps == 1) > 0.9


def test_warped_rows_have_values_within_the_range_of_the_row():
    x = _pictures(500)
    warps = ColumnWarps(x, _spans(SIDE**2), seed=0)
    rows = torch.from_numpy(x[:40])
    with seeded(0):
        result = warps(rows)
    assert result.shape == rows.shape
    assert not torch.allclose(result, rows, atol=0.1)
    assert (result.amax(1) <= rows.amax(1) + 1e-3).all()
    assert (result.amin(1) >= rows.amin(1) - 1e-3).all()


def test_rejects_table_with_few_numeric_columns():
    with pytest.raises(UserError, match="set movement to 0"):
        ColumnWarps(_pictures(50)[:, :5], _spans(5), seed=0)
