"""Rows moved a little along the geometry that their columns show: pixels, without their order."""

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
N_MOVEMENTS = 1000
N_PER_BATCH = 8
"""Movements of one batch; all rows of an eighth of it move alike."""
N_NEIGHBORS = 6
"""Most correlated columns that a column is joined with. Of MNIST's pixels 98 % of the four nearest
in the positions found are neighbors in the image with 4 or 6, 74 % with 8."""
MIN_SPREAD = 0.05
"""Share of the largest standard deviation below which a column stays where it is: correlations of
pixels that are nearly always blank are noise."""
SHIFT, STRETCH, WAVE = 1.0, 0.1, 0.5
"""Standard deviations of a movement's parts: its shift and its waves in spacings of columns, the
entries of its linear map without unit."""
N_WAVES = 2


def column_positions(x: np.ndarray) -> np.ndarray:
    """Return the columns' positions in a plane, ``(n_columns, 2)``, in units of their spacing.

    Columns that vary together lie side by side (Le Roux et al. 2007, "Learning the 2-D Topology of
    Images", with correlations and Isomap). The order of the columns has no part in it, so a model
    that uses the positions is still permutation-invariant.

    Args:
        x: Rows, shape ``(n, n_columns)``; no column may be constant.
    """
    distances = np.sqrt(np.maximum(2 - 2 * np.corrcoef(x.T), 0))
    # The default solver starts at random; a dense one gives the same positions in every run.
    isomap = Isomap(
        n_neighbors=min(N_NEIGHBORS, len(distances) - 1),
        n_components=2,
        eigen_solver="dense",
        metric="precomputed",
    )
    with warnings.catch_warnings():  # parts of the graph that do not hang together are joined
        warnings.simplefilter("ignore", UserWarning)
        positions: np.ndarray = isomap.fit_transform(distances)
    spacing = np.median(cKDTree(positions).query(positions, 2)[0][:, 1])
    return positions / max(float(spacing), 1e-12)


class Movements:
    """Many random smooth movements of rows: shifts, linear maps and waves of the columns' plane.

    A moved row's column takes the value that the row has at another place, interpolated between
    the three columns around it. What a picture shows hardly changes when its pixels move a little,
    so predictions should not either.

    Args:
        x: Rows, shape ``(n, n_features)``.
        spans: Where the columns lie in a row; only numeric ones move.
        seed: Of the movements.

    Raises:
        UserError: If there are too few numeric columns to have a geometry.
    """

    def __init__(self, x: np.ndarray, spans: Sequence[Span], seed: int) -> None:
        moving = _moving_columns(x, spans)
        positions = column_positions(x[:, moving])
        triangles, tree = Delaunay(positions), cKDTree(positions)
        rng, n_features = np.random.default_rng(seed), x.shape[1]
        sources = np.tile(np.arange(n_features), (N_MOVEMENTS, 3, 1))
        weights = np.zeros((N_MOVEMENTS, 3, n_features), np.float32)
        weights[:, 0] = 1
        for source, weight in zip(sources, weights, strict=True):
            corners, shares = _interpolation(triangles, tree, _moved(positions, rng))
            source[:, moving], weight[:, moving] = moving[corners].T, shares.T
        self.sources, self.weights = torch.from_numpy(sources), torch.from_numpy(weights)

    def __call__(self, x: Tensor) -> Tensor:
        """Return rows ``(n, n_features)``, each moved in one of a few ways drawn anew."""
        if self.sources.device != x.device:
            self.sources, self.weights = self.sources.to(x.device), self.weights.to(x.device)
        drawn = torch.randint(N_MOVEMENTS, (N_PER_BATCH,)).tolist()
        parts = x.chunk(N_PER_BATCH)
        return torch.cat([self._move(part, i) for part, i in zip(parts, drawn, strict=False)])

    def _move(self, x: Tensor, number: int) -> Tensor:
        corners = x[:, self.sources[number].flatten()].view(len(x), 3, -1)
        return (corners * self.weights[number]).sum(1)


def _moving_columns(x: np.ndarray, spans: Sequence[Span]) -> np.ndarray:
    numeric = np.array([span.start for span in spans if span.kind == "numeric"], np.int64)
    spread = x[:, numeric].std(axis=0)
    moving: np.ndarray = numeric[spread > MIN_SPREAD * spread.max(initial=0.0)]
    if len(moving) < MIN_COLUMNS:
        raise UserError(
            f"movement moves values between numeric columns such as pixels, of which the rows have "
            f"{len(moving)} that vary; it takes at least {MIN_COLUMNS}: set movement to 0"
        )
    return moving


def _moved(positions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the places, shape ``(n_columns, 2)``, whose values the columns take."""
    middle = positions.mean(axis=0)
    centered = positions - middle
    linear = np.eye(2) + STRETCH * rng.standard_normal((2, 2))
    places: np.ndarray = centered @ linear.T + SHIFT * rng.standard_normal(2) + middle
    for _ in range(N_WAVES):
        frequency = np.pi * rng.standard_normal(2) / np.abs(centered).max()
        heights = np.sin(centered @ frequency + rng.uniform(0, 2 * np.pi))
        places += WAVE * np.outer(heights, rng.standard_normal(2))
    return places


def _interpolation(
    triangles: Delaunay, tree: cKDTree, places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns around every place and their weights, both ``(n_columns, 3)``.

    A place beside all columns has the value of the nearest one.
    """
    found = triangles.find_simplex(places)
    maps = triangles.transform[found]
    two = np.einsum("nij,nj->ni", maps[:, :2], places - maps[:, 2])
    shares = np.column_stack([two, 1 - two.sum(axis=1)])
    corners = triangles.simplices[found].copy()
    outside = found < 0
    corners[outside] = tree.query(places[outside])[1][:, None]
    shares[outside] = (1.0, 0.0, 0.0)
    return corners, shares
