"""Random smooth warps of rows whose columns sample a plane, such as pixels in unknown order."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from scipy.spatial import Delaunay, cKDTree
from sklearn.manifold import Isomap
from torch import Tensor

from semigen.errors import UserError
from semigen.tables.encoding import Span

MIN_COLUMNS = 16
N_WARPS = 1000
N_PER_BATCH = 8
"""Warps of one batch; each is applied to an eighth of the rows."""
N_NEIGHBORS = 6
"""Number of most correlated columns that a column is connected with. For MNIST, 98 % of the four
nearest columns in the recovered positions are neighbors in the image with 4 or 6, 74 % with 8."""
MIN_RELATIVE_DEVIATION = 0.05
"""Columns with a standard deviation below this fraction of the largest are not warped: correlations
of pixels that are almost always blank are noise."""
SHIFT, STRETCH, WAVE = 1.0, 0.1, 0.5
"""Standard deviations of the shift and of the waves, in spacings of columns, and of the entries of
the linear map, without unit."""
N_WAVES = 2


def column_positions(x: np.ndarray) -> np.ndarray:
    """Return positions of the columns in a plane, in units of their spacing.

    Correlated columns are placed next to each other (Le Roux et al. 2007, "Learning the 2-D
    Topology of Images", with correlations and Isomap). The order of the columns is not used, so a
    model that uses the positions is still permutation-invariant.

    Args:
        x: Rows, shape ``(n, n_columns)``; no column may be constant.

    Returns:
        Shape ``(n_columns, 2)``.
    """
    distances = np.sqrt(np.maximum(2 - 2 * np.corrcoef(x.T), 0))
    # The default solver starts at random; the dense solver gives the same positions in every run.
    isomap = Isomap(
        n_neighbors=min(N_NEIGHBORS, len(distances) - 1),
        n_components=2,
        eigen_solver="dense",
        metric="precomputed",
    )
    with warnings.catch_warnings():  # Isomap warns when it connects components of the graph
        warnings.simplefilter("ignore", UserWarning)
        positions: np.ndarray = isomap.fit_transform(distances)
    spacing = np.median(cKDTree(positions).query(positions, 2)[0][:, 1])
    return positions / max(float(spacing), 1e-12)


class ColumnWarps:
    """Random smooth warps of rows: shifts, linear maps and waves of the plane of the columns.

    A column of a warped row takes the value of the row at another position, interpolated between
    three columns. A picture changes little if its pixels move a little, so predictions should not
    change either.

    Args:
        x: Rows from which the positions are learned, shape ``(n, n_features)``.
        spans: Layout of an encoded row; only numeric columns are warped.
        seed: Seed of the warps.

    Raises:
        UserError: If there are fewer than ``MIN_COLUMNS`` numeric columns that vary.

    Examples:
        >>> x = np.cumsum(np.random.default_rng(0).normal(size=(200, 16)), axis=1)
        >>> spans = [Span(f"x{i}", i, i + 1, "numeric") for i in range(16)]
        >>> warps = ColumnWarps(x.astype(np.float32), spans, seed=0)
        >>> warps(torch.ones(10, 16)).shape
        torch.Size([10, 16])
    """

    def __init__(self, x: np.ndarray, spans: Sequence[Span], seed: int) -> None:
        columns = _varying_columns(x, spans)
        positions = column_positions(x[:, columns])
        triangles, tree = Delaunay(positions), cKDTree(positions)
        rng, n_features = np.random.default_rng(seed), x.shape[1]
        sources = np.tile(np.arange(n_features), (N_WARPS, 3, 1))
        weights = np.zeros((N_WARPS, 3, n_features), np.float32)
        weights[:, 0] = 1
        for source, weight in zip(sources, weights, strict=True):
            corners, coordinates = _interpolation(triangles, tree, _warp(positions, rng))
            source[:, columns], weight[:, columns] = columns[corners].T, coordinates.T
        self.sources, self.weights = torch.from_numpy(sources), torch.from_numpy(weights)

    def __call__(self, x: Tensor) -> Tensor:
        """Return warped rows of rows ``x``, both of shape ``(n, n_features)``."""
        if self.sources.device != x.device:
            self.sources, self.weights = self.sources.to(x.device), self.weights.to(x.device)
        numbers = torch.randint(N_WARPS, (N_PER_BATCH,)).tolist()
        parts = x.chunk(N_PER_BATCH)
        return torch.cat([self._apply(part, i) for part, i in zip(parts, numbers, strict=False)])

    def _apply(self, x: Tensor, number: int) -> Tensor:
        corners = x[:, self.sources[number].flatten()].view(len(x), 3, -1)
        return (corners * self.weights[number]).sum(1)


def _varying_columns(x: np.ndarray, spans: Sequence[Span]) -> np.ndarray:
    numeric = np.array([span.start for span in spans if span.kind == "numeric"], np.int64)
    deviations = x[:, numeric].std(axis=0)
    varying: np.ndarray = numeric[deviations > MIN_RELATIVE_DEVIATION * deviations.max(initial=0.0)]
    if len(varying) < MIN_COLUMNS:
        raise UserError(
            f"movement needs at least {MIN_COLUMNS} numeric columns that vary, such as pixels; "
            f"the rows have {len(varying)}: set movement to 0"
        )
    return varying


def _warp(positions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the positions, shape ``(n_columns, 2)``, whose values the columns take."""
    center = positions.mean(axis=0)
    centered = positions - center
    linear = np.eye(2) + STRETCH * rng.standard_normal((2, 2))
    warped: np.ndarray = centered @ linear.T + SHIFT * rng.standard_normal(2) + center
    for _ in range(N_WAVES):
        frequency = np.pi * rng.standard_normal(2) / np.abs(centered).max()
        heights = np.sin(centered @ frequency + rng.uniform(0, 2 * np.pi))
        warped += WAVE * np.outer(heights, rng.standard_normal(2))
    return warped


def _interpolation(
    triangles: Delaunay, tree: cKDTree, positions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the three columns around every position, and their barycentric coordinates.

    A position outside all triangles takes the value of the nearest column.

    Returns:
        Column numbers and weights, both of shape ``(n_columns, 3)``.
    """
    found = triangles.find_simplex(positions)
    maps = triangles.transform[found]
    first_two = np.einsum("nij,nj->ni", maps[:, :2], positions - maps[:, 2])
    coordinates = np.column_stack([first_two, 1 - first_two.sum(axis=1)])
    corners = triangles.simplices[found].copy()
    outside = found < 0
    corners[outside] = tree.query(positions[outside])[1][:, None]
    coordinates[outside] = (1.0, 0.0, 0.0)
    return corners, coordinates
