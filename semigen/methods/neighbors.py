"""Exact nearest neighbors and counts of balls around rows, by chunked matrix products.

With ``|a - b|² = |a|² + |b|² - 2 a·b``, all distances of a chunk of rows are one matrix product,
which a CPU computes near its peak performance. The subtraction loses digits if ``a`` is close to
``b``, so the products only select candidates; ``nearest_neighbors`` says what is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

CHUNK_ELEMENTS = 2**24
"""Number of distances in memory at once: 128 MiB."""
MAX_CHUNK_ROWS = 1024
N_SPARE = 4
"""Candidates beyond ``k``, in case rounding changes the order of the first ``k`` neighbors."""
ROUNDING = 1e-12
"""Bound of the error of a squared distance by products, relative to the squared norms of the rows
after centering; it holds for a thousand columns."""


@dataclass(frozen=True)
class Neighbors:
    """The nearest rows of each query, sorted by distance, then by index.

    Attributes:
        distances: Euclidean distances, shape ``(n_queries, k)``, float64.
        indices: Indices of the rows, shape ``(n_queries, k)``, int64.

    Examples:
        >>> rows = np.array([[0.0], [1.0], [1.2]])
        >>> nearest_neighbors(rows, rows, exclude_self=True).indices[:, 0]
        array([1, 2, 1])
    """

    distances: np.ndarray
    indices: np.ndarray


def nearest_neighbors(
    queries: np.ndarray, rows: np.ndarray, k: int = 1, *, exclude_self: bool = False
) -> Neighbors:
    """Return the ``k`` nearest rows of every query.

    The distances are exact: those of ``k + 4`` candidates are computed from the differences in
    float64, so only copies of a row have distance 0. The candidates are selected by float64
    products of centered rows, whose squared distances have errors below ``1e-12 * (|a|² + |b|²)``.
    A nearer row can be missed only if more than four others have the same distance up to this
    error. If more than ``k + 4`` rows are equally distant, any of them may be returned.

    30,000 queries in 30,000 rows of 100 columns take about 6 s on one core. The memory is that of
    ``CHUNK_ELEMENTS`` distances for all sizes.

    Args:
        queries: Shape ``(n_queries, n_features)``, finite.
        rows: Shape ``(n_rows, n_features)``, finite.
        k: Number of neighbors.
        exclude_self: Whether ``queries`` are the ``rows``, and a row is not its own neighbor.

    Raises:
        ValueError: If the shapes disagree, values are not finite, or there are fewer than ``k``
            rows.

    Examples:
        >>> found = nearest_neighbors(np.array([[0.9]]), np.array([[0.0], [1.0], [3.0]]), k=2)
        >>> found.indices, found.distances.round(1)
        (array([[1, 0]]), array([[0.1, 0.9]]))
    """
    queries, rows = _checked(queries, rows)
    n_choices = len(rows) - exclude_self
    if not 1 <= k <= n_choices:
        raise ValueError(f"{k=} neighbors of {n_choices} rows: k must be between 1 and {n_choices}")
    if exclude_self and len(queries) != len(rows):
        raise ValueError(f"exclude_self: {len(queries)} queries are not the {len(rows)} rows")
    a, b = torch.from_numpy(queries), torch.from_numpy(rows)
    n_candidates = min(k + N_SPARE, n_choices)
    found = [(torch.empty(0, k, dtype=a.dtype), torch.empty(0, k, dtype=torch.int64))]
    for start, squares in _squared_distances(a, b):
        if exclude_self:
            squares.diagonal(start).fill_(torch.inf)
        candidates = squares.topk(n_candidates, dim=1, largest=False, sorted=False).indices
        found.append(_exact(a[start : start + len(squares)], b, candidates.sort(dim=1).values, k))
    distances, indices = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
    return Neighbors(distances, indices)


def count_in_balls(queries: np.ndarray, centers: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Return the number of closed balls that contain each query, shape ``(n_queries,)``, int64.

    A query on the surface is inside; rounding errors of the squared distance of up to
    ``1e-12 * (|a|² + |b|²)`` are tolerated.

    Args:
        queries: Shape ``(n_queries, n_features)``, finite.
        centers: Shape ``(n_balls, n_features)``, finite.
        radii: Shape ``(n_balls,)``.

    Raises:
        ValueError: If the shapes disagree or values are not finite.
    """
    queries, centers = _checked(queries, centers)
    if radii.shape != (len(centers),):
        raise ValueError(f"expected a radius for each of {len(centers)} balls, got {radii.shape=}")
    a, b = torch.from_numpy(queries), torch.from_numpy(centers)
    origin = b.mean(0)
    reach = torch.from_numpy(radii.astype(np.float64)) ** 2
    reach += ROUNDING * (b - origin).square().sum(1)
    slack = ROUNDING * (a - origin).square().sum(1)
    counts = [torch.empty(0, dtype=torch.int64)]
    for start, squares in _squared_distances(a, b):
        squares -= slack[start : start + len(squares), None]
        counts.append((squares <= reach).sum(1))
    return torch.cat(counts).numpy()


def _checked(queries: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if queries.ndim != 2 or rows.ndim != 2 or queries.shape[1] != rows.shape[1] or not len(rows):
        raise ValueError(
            "expected queries (n, n_features) and at least one of rows (m, n_features), "
            f"got {queries.shape=}, {rows.shape=}"
        )
    for name, values in (("queries", queries), ("rows", rows)):
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values).all(1))[0])
            raise ValueError(f"{name}: row {row} is not finite: {values[row]}")
    return queries.astype(np.float64), rows.astype(np.float64)


def _squared_distances(a: Tensor, b: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield ``(start, squares)`` of chunks of ``a``; the memory of a chunk is reused."""
    origin = b.mean(0)  # without centering, the difference of large products would be inexact
    a, b = a - origin, b - origin
    size = max(1, min(CHUNK_ELEMENTS // len(b), MAX_CHUNK_ROWS, len(a)))
    buffer = torch.empty(size, len(b), dtype=a.dtype)
    norms = b.square().sum(1)
    for start in range(0, len(a), size):
        chunk = a[start : start + size]
        squares = torch.addmm(norms, chunk, b.T, alpha=-2, out=buffer[: len(chunk)])
        squares += chunk.square().sum(1, keepdim=True)
        yield start, squares


def _exact(queries: Tensor, rows: Tensor, candidates: Tensor, k: int) -> tuple[Tensor, Tensor]:
    differences = rows[candidates] - queries[:, None, :]
    distances = differences.square().sum(2).sqrt()
    order = distances.argsort(dim=1, stable=True)[:, :k]
    return distances.gather(1, order), candidates.gather(1, order)
