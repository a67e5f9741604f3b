"""Discretization of encoded rows: every column as a finite number of codes, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from torch import Tensor

from semigen.tables.encoding import Span
from semigen.tables.shared_statistics import shared_bounds

MIN_ROWS = 5
"""Minimum number of training rows of an atom, of an interval and behind the outer ends, so that
none reveals a single row; ``privacy.min_rows`` may be larger. With 10, rare amounts of capital gain
in Adult were no longer reproduced, and a classifier of the income lost 0.7 points of macro-F1."""
MIN_ATOM_SHARE = 1 / 8000
MAX_INTERVALS = 1000


@dataclass(frozen=True)
class NumericBins:
    """Bins of about equal mass of a numeric column.

    A bin consists of one or more cells. A cell is an atom, that is a value that many rows share
    (zero, an integer, an upper limit), or an interval of other values. A sufficiently frequent
    value has its own bin; other cells share bins with their neighbors. Within a bin, the cells have
    the frequencies of the training rows, and the values of an interval are uniform.

    Attributes:
        low: Smallest value of every cell, shape ``(n_cells,)``, float32; the cells of a bin are
            adjacent.
        high: Largest value, shape ``(n_cells,)``, float32; equal to ``low`` for an atom.
        share: Fraction of the training rows in every cell, shape ``(n_cells,)``, float32.
        width: Length over which the mass of a cell is spread in the density, shape ``(n_cells,)``,
            float32. The length of an interval; for an atom, half the distances to its neighbors, so
            that a column of integers has about the density of a smooth column.
        bin_of: Bin of every cell, shape ``(n_cells,)``, int64, ascending.
        scale: Distance from the outermost cell over which the log density falls by one nat, shape
            ``(1,)``, float32.

    Examples:
        >>> values = np.repeat([0.0, 1.0, 5.0], [50, 30, 20]).astype(np.float32)
        >>> bins = NumericBins.fit(values, max_bins=10)
        >>> bins.low, bins.share
        (array([0., 1., 5.], dtype=float32), array([0.5, 0.3, 0.2], dtype=float32))
        >>> bins.cells(np.array([0.0, 4.9], dtype=np.float32))
        array([0, 2])
    """

    low: np.ndarray
    high: np.ndarray
    share: np.ndarray
    width: np.ndarray
    bin_of: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, values: np.ndarray, max_bins: int, min_rows: int = MIN_ROWS) -> Self:
        """Return the bins of a column.

        Args:
            values: Values of the training rows, shape ``(n,)``, float32, finite.
            max_bins: Maximum number of bins.
            min_rows: Minimum number of training rows of an atom, an interval and an outer end.
        """
        distinct, counts = np.unique(values, return_counts=True)
        is_atom = counts >= max(min_rows, MIN_ATOM_SHARE * len(values))
        if len(distinct) == 1:
            is_atom[:] = True
        low, high, rows = _intervals(
            distinct[~is_atom], counts[~is_atom], shared_bounds(values, min_rows), min_rows
        )
        low = np.concatenate([distinct[is_atom], low])
        high = np.concatenate([distinct[is_atom], high])
        rows = np.concatenate([counts[is_atom], rows])
        by_center = np.lexsort((high - low, (low + high) / 2))
        low, high, rows = low[by_center], high[by_center], rows[by_center]
        width = _widths(low, high)
        bin_of = _assign_bins(rows, max_bins)
        by_bin = np.argsort(bin_of, kind="stable")
        return cls(
            low=low[by_bin].astype(np.float32),
            high=high[by_bin].astype(np.float32),
            share=(rows / len(values))[by_bin].astype(np.float32),
            width=width[by_bin].astype(np.float32),
            bin_of=bin_of[by_bin].astype(np.int64),
            scale=np.array([0.1 * max(float(values.std()), 1e-3)], np.float32),
        )

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return int(self.bin_of[-1]) + 1

    def cells(self, values: np.ndarray) -> np.ndarray:
        """Return the cell of every value, shape ``(n,)``; outside all cells, the nearest one."""
        found = np.full(len(values), -1)
        (atoms,) = np.nonzero(self.low == self.high)
        if len(atoms):
            atoms = atoms[np.argsort(self.low[atoms])]
            position = np.searchsorted(self.low[atoms], values).clip(max=len(atoms) - 1)
            found = np.where(self.low[atoms][position] == values, atoms[position], -1)
        (intervals,) = np.nonzero(self.low < self.high)
        if not len(intervals):
            midpoints = (self.low[atoms][1:] + self.low[atoms][:-1]) / 2
            return np.where(found < 0, atoms[np.searchsorted(midpoints, values)], found)
        intervals = intervals[np.argsort(self.low[intervals])]
        position = np.searchsorted(self.high[intervals], values).clip(max=len(intervals) - 1)
        return np.where(found < 0, intervals[position], found)

    def log_density(self, values: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """Return the log density of values given their bins, in nats, shape ``(n,)``.

        Args:
            values: Values, shape ``(n,)``.
            cells: Their cells, shape ``(n,)``.
        """
        mass = np.bincount(self.bin_of, self.share)
        within = np.log(self.share / mass[self.bin_of]) - np.log(self.width)
        outside = np.maximum(values - self.high[cells], self.low[cells] - values).clip(min=0)
        return (within[cells] - outside / self.scale).astype(np.float32)


class RowBins:
    """Converts the columns of encoded rows to codes ``0 ... n_codes - 1``, and back.

    The code of a numeric column is its bin, that of a boolean or missing column 0 or 1, and that of
    a category its position in the one-hot block.

    Attributes:
        spans: Layout of an encoded row.
        numeric: Bins of the numeric columns, by the position of the span.
        n_codes: Number of codes of every column.

    Examples:
        >>> spans = [Span("a", 0, 1, "boolean"), Span("b", 1, 4, "category")]
        >>> x = np.array([[1, 0, 0, 1], [0, 1, 0, 0]], dtype=np.float32)
        >>> bins = RowBins.fit(x, spans, max_bins=10)
        >>> bins.encode(x)
        array([[1, 2],
               [0, 0]])
        >>> bins.decode([torch.tensor([1, 0]), torch.tensor([2, 0])])
        tensor([[1., 0., 0., 1.],
                [0., 1., 0., 0.]])
    """

    def __init__(self, spans: Sequence[Span], numeric: dict[int, NumericBins]) -> None:
        self.spans, self.numeric = tuple(spans), numeric
        self.n_codes = tuple(
            numeric[i].n_bins if span.kind == "numeric" else max(2, span.stop - span.start)
            for i, span in enumerate(spans)
        )
        self._samplers = {i: _ValueSampler(bins) for i, bins in numeric.items()}

    @classmethod
    def fit(
        cls, x: np.ndarray, spans: Sequence[Span], max_bins: int, min_rows: int = MIN_ROWS
    ) -> Self:
        """Return the bins of training rows.

        Args:
            x: Training rows, shape ``(n, n_features)``.
            spans: Layout of an encoded row.
            max_bins: Maximum number of bins of a numeric column.
            min_rows: Minimum number of rows of an atom, an interval and an outer end.
        """
        numeric = {
            i: NumericBins.fit(x[:, span.start], max_bins, min_rows)
            for i, span in enumerate(spans)
            if span.kind == "numeric"
        }
        return cls(spans, numeric)

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Return the codes ``(n, n_columns)``, int64, of encoded rows ``(n, n_features)``."""
        codes = np.empty((len(x), len(self.spans)), np.int64)
        for i, span in enumerate(self.spans):
            if span.kind == "numeric":
                codes[:, i] = self.numeric[i].bin_of[self.numeric[i].cells(x[:, span.start])]
            elif span.kind == "category":
                codes[:, i] = x[:, span.start : span.stop].argmax(axis=1)
            else:
                codes[:, i] = x[:, span.start] > 0.5
        return codes

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """Return the log density of rows given their codes, in nats, shape ``(n,)``."""
        total = np.zeros(len(x), np.float32)
        for i, bins in self.numeric.items():
            values = x[:, self.spans[i].start]
            total += bins.log_density(values, bins.cells(values))
        return total

    def decode(self, codes: Sequence[Tensor]) -> Tensor:
        """Return encoded rows ``(n, n_features)``; values within the bins are drawn at random.

        Args:
            codes: A tensor of codes ``(n,)`` for every column.
        """
        n = len(codes[0])
        # Fill the transposed array: every write to a strided column would cost a cache line.
        x = torch.zeros(self.spans[-1].stop, n)
        for i, (span, code) in enumerate(zip(self.spans, codes, strict=True)):
            if span.kind == "numeric":
                x[span.start] = self._samplers[i](code)
            elif span.kind == "category":
                x[span.start : span.stop].scatter_(0, code[None], 1.0)
            else:
                x[span.start] = code.float()
        return x.T.contiguous()

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the bins as arrays, from which ``from_arrays`` restores them."""
        return {
            f"bins.{i}.{field.name}": getattr(bins, field.name)
            for i, bins in self.numeric.items()
            for field in fields(bins)
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], spans: Sequence[Span]) -> Self:
        """Return the bins that ``arrays`` described; other arrays are ignored."""
        numeric = {
            i: NumericBins(**{f.name: arrays[f"bins.{i}.{f.name}"] for f in fields(NumericBins)})
            for i, span in enumerate(spans)
            if span.kind == "numeric"
        }
        return cls(spans, numeric)


class _ValueSampler:
    """Draws values of bins by inverting the distribution function of the cells."""

    def __init__(self, bins: NumericBins) -> None:
        ends = np.cumsum(bins.share, dtype=np.float64)
        starts = ends - bins.share
        first = np.searchsorted(bins.bin_of, np.arange(bins.n_bins))
        last = np.append(first[1:], len(ends)) - 1
        self.first, self.last = torch.from_numpy(first), torch.from_numpy(last)
        self.ends = _float(ends)
        self.starts = _float(starts)
        self.bin_start = _float(starts[first])
        self.bin_share = _float(ends[last] - starts[first])
        self.low, self.high = torch.from_numpy(bins.low), torch.from_numpy(bins.high)
        self.slope = _float((bins.high.astype(np.float64) - bins.low) / bins.share)
        self.is_trivial = len(bins.low) == bins.n_bins

    def __call__(self, code: Tensor) -> Tensor:
        """Draw a value of each bin in ``code``, shape ``(n,)``."""
        level = torch.rand(len(code)).mul_(self.bin_share[code]).add_(self.bin_start[code])
        cell = code
        if not self.is_trivial:
            cell = torch.bucketize(level, self.ends, right=True)
            # Rounding may move the level beyond the edge of its bin.
            cell = torch.minimum(torch.maximum(cell, self.first[code]), self.last[code])
        offset = level.sub_(self.starts[cell]).clamp_(min=0)
        low = self.low[cell]
        return torch.minimum(offset.mul_(self.slope[cell]).add_(low), self.high[cell])


def _float(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))


def _intervals(
    distinct: np.ndarray, counts: np.ndarray, ends: tuple[float, float], min_rows: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return intervals of about equal mass.

    Args:
        distinct: Sorted values that are no atoms.
        counts: Training rows of each value.
        ends: Lower end of the first interval, upper end of the last one.
        min_rows: Minimum number of rows of an interval.

    Returns:
        Lower ends, upper ends and numbers of rows of the intervals.
    """
    if not len(distinct):
        return np.empty(0), np.empty(0), np.empty(0, np.int64)
    total = counts.sum()
    n_cells = int(np.clip(total // min_rows, 1, MAX_INTERVALS))
    # All rows of a value belong to the interval of its first row.
    owner = (np.cumsum(counts) - counts) * n_cells // total
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    edges = np.concatenate(
        [ends[:1], (distinct[starts[1:] - 1] + distinct[starts[1:]]) / 2, ends[1:]]
    )
    return edges[:-1], edges[1:], np.add.reduceat(counts, starts)


def _widths(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the widths of cells that are sorted by their centers."""
    centers = (low.astype(np.float64) + high) / 2
    if len(centers) == 1:
        gaps = np.array([1.0])
    else:
        halves = np.diff(centers) / 2
        gaps = np.append(halves, halves[-1]) + np.append(halves[0], halves)
    widths = np.where(high > low, high.astype(np.float64) - low, gaps)
    return np.maximum(widths, 1e-6)


def _assign_bins(rows: np.ndarray, max_bins: int) -> np.ndarray:
    """Return the bin of every cell; cells with many rows have their own bins.

    Args:
        rows: Training rows of every cell, sorted by the centers of the cells.
        max_bins: Maximum number of bins.
    """
    is_single = np.zeros(len(rows), bool)
    while True:
        n_shared = max_bins - is_single.sum()
        is_frequent = ~is_single & (rows * n_shared >= rows[~is_single].sum())
        if not is_frequent.any() or len(rows) == is_single.sum():
            break
        is_single |= is_frequent
    others = rows[~is_single]
    group = np.zeros(len(rows), np.int64)
    if len(others):
        middle = np.cumsum(others) - others / 2
        group[~is_single] = (middle * max(n_shared, 1) / others.sum()).astype(np.int64)
    group[is_single] = max_bins + np.arange(is_single.sum())
    # Number the bins in the order of their first cells.
    _, first, number = np.unique(group, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number]
