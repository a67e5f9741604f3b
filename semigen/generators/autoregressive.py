"""An autoregressive network over discretised columns: one training pass, one sampling pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from semigen.generators.class_conditioning import ClassConditionedModel, ClassNetwork
from semigen.generators.code_logits import bucket_columns, padding_bias, sample_codes
from semigen.generators.network_model import CHUNK_ROWS
from semigen.params.config import ComputeParams
from semigen.params.generators import AutoregressiveParams
from semigen.training.compute import seeded, uses_bf16

MAX_INPUT_WIDTH = 1024
MAX_HIDDEN_WIDTH = 2048
MIN_WIDTH = 4
"""Bounds on all columns' embedding widths and hidden units together, and on one column's: a table
of hundreds of columns trains within minutes."""
N_RANGES = 4
CLASS_GAIN = 8.0
"""Factor on the classes' shifts, and so on how fast they are learned. Without it ten passes over
Adult left the classes too alike: a classifier of the rows had 91.8 ROC AUC in place of 92.2."""


T = TypeVar("T")


class AutoregressiveNetwork(ClassNetwork):
    """``p(x) = p(x_1) p(x_2 | x_1) ...`` over columns of codes, one block of units a column.

    Every column has an embedding of its codes, and a block of hidden units that sees the embeddings
    of the columns before it: one block-triangular matrix for all (MADE, Germain et al. 2015). A
    residual layer and the logits follow within the block. Classes shift both layers by vectors of
    their own. Columns with fewer codes come before those with more; nothing outside the network
    sees that order.

    Args:
        n_codes: Codes of every column.
        is_ordered: Which columns' codes have an order: their embeddings start as smooth functions
            of it.
        n_classes: Classes; 0 for a network that knows none.
        hidden_dim: Units of a column's block.
        embedding_dim: Width of a code's embedding.
        dropout: Share of the units, and of the columns seen, that a training step leaves out.

    **Shape**: codes ``(n, n_columns)`` int64; ``y`` ``(n,)`` int64 or None.
    """

    offset: Tensor

    def __init__(
        self,
        n_codes: Sequence[int],
        is_ordered: Sequence[bool],
        n_classes: int,
        *,
        hidden_dim: int,
        embedding_dim: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.order: list[int] = np.argsort(n_codes, kind="stable").tolist()
        n_codes, is_ordered = _at(n_codes, self.order), _at(is_ordered, self.order)
        self.n_codes, self.dropout, n_columns = tuple(n_codes), dropout, len(n_codes)
        self.hidden_dim, self.embedding_dim = hidden_dim, embedding_dim
        # Nothing comes after the last column, so nothing sees its codes.
        seen = list(zip(n_codes, is_ordered, strict=True))[:-1]
        offset = torch.tensor([0, *n_codes[:-1]]).cumsum(0)[:-1]
        self.register_buffer("offset", offset, persistent=False)
        tables = [_embeddings(n, embedding_dim, ordered=ordered) for n, ordered in seen]
        self.embedding = nn.Parameter(torch.cat([torch.empty(0, embedding_dim), *tables]))
        self.ranges = _ranges(n_columns)
        self.first = nn.ParameterList(self._first_weight(*bounds) for bounds in self.ranges)
        for number, (start, stop) in enumerate(self.ranges):
            mask = _triangular(start, stop, embedding_dim, hidden_dim)
            self.register_buffer(f"mask{number}", mask, persistent=False)
        # Not zero: the first column sees nothing, and units at exactly zero would never learn.
        self.first_bias = nn.Parameter(0.1 * torch.randn(n_columns, hidden_dim))
        scale = hidden_dim**-0.5
        self.second = nn.Parameter(torch.randn(n_columns, hidden_dim, hidden_dim) * scale)
        self.second_bias = nn.Parameter(0.1 * torch.randn(n_columns, hidden_dim))
        self.buckets = bucket_columns(n_codes)
        self.logit_weight = nn.ParameterList(
            nn.Parameter(0.02 * torch.randn(len(columns), hidden_dim, width))
            for width, columns in self.buckets.items()
        )
        self.logit_bias = nn.ParameterList(
            nn.Parameter(padding_bias(_at(n_codes, columns), width)[:, None])
            for width, columns in self.buckets.items()
        )
        if n_classes:
            shape = (2, n_classes, n_columns * hidden_dim)
            self.class_shift = nn.Parameter(torch.zeros(shape))

    @property
    def n_units(self) -> int:
        """Hidden units of all columns."""
        return self.first_bias.numel()

    def losses(self, codes: Tensor, y: Tensor | None) -> Tensor:
        return -self.log_prob(codes, y)

    def units(self, codes: Tensor) -> Tensor:
        return self._hidden(codes[:, self.order], None).transpose(0, 1).flatten(1)

    def log_prob(self, codes: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the log probability of every row of codes, shape ``(n,)``, in nats."""
        codes = codes[:, self.order]
        hidden = self._hidden(codes, y)
        total = torch.zeros(len(codes), device=codes.device)
        for number, columns in enumerate(self.buckets.values()):
            logits = self._logits(number, hidden[columns]).float()
            targets = codes[:, columns].T
            losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
            total = total - losses.view_as(targets).sum(0)
        return total

    def logits(self, codes: Tensor, y: Tensor | None = None) -> list[Tensor]:
        """Return every column's logits ``(n, n_codes)``, given the columns before it in order."""
        hidden = self._hidden(codes[:, self.order], y)
        found: dict[int, Tensor] = {}
        for number, columns in enumerate(self.buckets.values()):
            found |= zip(columns, self._logits(number, hidden[columns]), strict=True)
        ordered = [found[column][:, :n] for column, n in enumerate(self.n_codes)]
        return _at(ordered, np.argsort(self.order).tolist())

    def _hidden(self, codes: Tensor, y: Tensor | None) -> Tensor:
        """Return the last hidden layer ``(n_columns, n, hidden_dim)`` for codes in order."""
        x = F.embedding(codes[:, :-1] + self.offset, self.embedding)
        if self.training and self.dropout:
            is_kept = torch.rand(*x.shape[:2], 1, device=x.device) >= self.dropout
            x = x * is_kept / (1 - self.dropout)
        x = x.flatten(1)
        weights = [w * getattr(self, f"mask{i}") for i, w in enumerate(self.first)]
        parts = [x[:, : len(weight)] @ weight for weight in weights]
        first = torch.cat(parts, 1).unflatten(1, self.first_bias.shape).transpose(0, 1)
        first = first + self.first_bias[:, None] + self._shift(0, y)
        first = self._dropped(F.relu(first))
        second = torch.baddbmm(self.second_bias[:, None], first, self.second) + self._shift(1, y)
        return first + self._dropped(F.relu(second))

    def column_weights(self, column: int) -> tuple[Tensor, ...]:
        """Return weights and biases of the three layers of a column, counted in order."""
        number = next(i for i, (_, stop) in enumerate(self.ranges) if column < stop)
        start = (column - self.ranges[number][0]) * self.hidden_dim
        n_seen = column * self.embedding_dim
        first = self.first[number][:n_seen, start : start + self.hidden_dim]
        bucket, columns = next(
            (i, columns) for i, columns in enumerate(self.buckets.values()) if column in columns
        )
        place, n = columns.index(column), self.n_codes[column]
        return (
            first,
            self.first_bias[column],
            self.second[column],
            self.second_bias[column],
            self.logit_weight[bucket][place, :, :n],
            self.logit_bias[bucket][place, 0, :n],
        )

    def _shift(self, layer: int, y: Tensor | None) -> Tensor | float:
        """Return what the class adds to a layer's units, shape ``(n_columns, n, hidden_dim)``."""
        if y is None:
            return 0.0
        shifts = CLASS_GAIN * F.embedding(y, self.class_shift[layer])
        return shifts.unflatten(1, self.first_bias.shape).transpose(0, 1)

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)

    def _logits(self, bucket: int, hidden: Tensor) -> Tensor:
        return torch.baddbmm(self.logit_bias[bucket], hidden, self.logit_weight[bucket])

    def _first_weight(self, start: int, stop: int) -> nn.Parameter:
        n_seen = torch.arange(start, stop).clamp(min=1).repeat_interleave(self.hidden_dim)
        shape = ((stop - 1) * self.embedding_dim, (stop - start) * self.hidden_dim)
        return nn.Parameter(torch.randn(shape) * 1.2 / (n_seen * self.embedding_dim).sqrt())


class Autoregressive(ClassConditionedModel[AutoregressiveParams, AutoregressiveNetwork]):
    """Rows as codes, drawn column by column (Tiwald et al. 2025, "TabularARGN").

    Columns are discretised (``RowBins``) and ordered by their number of codes, fewest first. The
    class comes before all columns, so that rows of a class need no rejection; how it is learned
    from few labels: ``ClassConditionedModel``. Sampling computes each column's block once, for all
    rows; training all columns' blocks at once.

    ``score`` is the exact log density: the log probability of the codes, and the density of the
    numeric values within their bins.

    On Adult (32,561 labeled rows) one core of an AMD EPYC with AVX512-BF16 fits it in 24 s and
    draws 170,000 rows/s; classifiers of such rows reach 81.0 macro-F1 and 92.4 ROC AUC where those
    of the real rows reach 81.0 and 92.7.
    """

    family = "autoregressive"
    params_type = AutoregressiveParams

    def sample(self, y: np.ndarray, seed: int) -> np.ndarray:
        """Return one new encoded row of each class in ``y``, shape ``(len(y), n_features)``."""
        sampler = _Sampler(self._told, self.compute)
        with seeded(seed):
            return self._map_chunks(
                lambda chunk: self.bins.decode(sampler(chunk)), self._positions(y)
            )

    def score(self, x: np.ndarray) -> np.ndarray:
        """Return every row's exact log density, in nats, shape ``(n,)``."""
        log_prob = self._map_chunks(self.network.free.log_prob, self.bins.encode(x))
        return log_prob + self.bins.log_density(x)

    @property
    def _width(self) -> int:
        return self.network.free.n_units

    @property
    def _block_width(self) -> int:
        # A step on Adult took 1.25 times as long on two threads as on one.
        return self.params.hidden_dim

    def _new_network(self, n_classes: int) -> AutoregressiveNetwork:
        params, n_columns = self.params, len(self.spans)
        return AutoregressiveNetwork(
            self.bins.n_codes,
            [span.kind == "numeric" for span in self.spans],
            n_classes,
            hidden_dim=min(params.hidden_dim, max(MIN_WIDTH, MAX_HIDDEN_WIDTH // n_columns)),
            embedding_dim=min(params.embedding_dim, max(MIN_WIDTH, MAX_INPUT_WIDTH // n_columns)),
            dropout=params.dropout,
        )


class _Sampler:
    """Draws codes column by column, with each column's weights laid out for it.

    Args:
        network: Network with classes.
        compute: Whether bf16 may be used.
    """

    def __init__(self, network: AutoregressiveNetwork, compute: ComputeParams) -> None:
        device = network.second.device
        bf16 = uses_bf16(compute, device, width=network.n_units, batch_size=CHUNK_ROWS)
        self.dtype = torch.bfloat16 if bf16 else torch.float32
        with torch.no_grad():
            self.layers = [
                tuple(part.to(self.dtype).contiguous() for part in network.column_weights(column))
                for column in range(len(network.n_codes))
            ]
            shifts = CLASS_GAIN * network.class_shift.unflatten(2, network.first_bias.shape)
            self.shifts = shifts.permute(2, 0, 1, 3).contiguous().to(self.dtype)
            tables = network.embedding.to(self.dtype).split(list(network.n_codes[:-1]))
        self.tables, self.embedding_dim = tables, network.embedding_dim
        self.back = np.argsort(network.order).tolist()

    def __call__(self, y: Tensor) -> list[Tensor]:
        """Return a tensor of codes ``(n,)`` a column, in the table's order, for classes ``y``."""
        width = self.embedding_dim
        x = torch.empty(len(y), width * len(self.tables), dtype=self.dtype)
        columns = []
        for column, (first, b1, second, b2, logit, b3) in enumerate(self.layers):
            shift = self.shifts[column]
            hidden = torch.addmm(b1, x[:, : len(first)], first).add_(shift[0][y]).relu_()
            residual = torch.addmm(b2, hidden, second).add_(shift[1][y]).relu_()
            code = sample_codes(torch.addmm(b3, hidden.add_(residual), logit))
            if column < len(self.tables):
                x[:, len(first) : len(first) + width] = self.tables[column][code]
            columns.append(code)
        return _at(columns, self.back)


def _at(values: Sequence[T], places: Sequence[int]) -> list[T]:
    return [values[place] for place in places]


def _embeddings(n_codes: int, width: int, *, ordered: bool) -> Tensor:
    """Return initial embeddings ``(n_codes, width)``; cosines of the place of ordered codes."""
    noise = 0.5 * torch.randn(n_codes, width)
    if not ordered:
        return noise
    place, frequency = torch.linspace(0, 1, n_codes)[:, None], torch.arange(width)
    # Cosine and sine of each frequency in turn.
    waves = torch.cos(math.pi * (place * ((frequency + 1) // 2) - 0.5 * (frequency % 2)))
    return 0.5 * waves + 0.3 * noise


def _ranges(n_columns: int) -> list[tuple[int, int]]:
    """Return ranges of columns, each of which needs the inputs up to its own last column only."""
    n_ranges = max(1, min(N_RANGES, n_columns // 2))
    edges = np.linspace(0, n_columns, n_ranges + 1).round().astype(int).tolist()
    return list(pairwise(edges))


def _triangular(start: int, stop: int, embedding_dim: int, hidden_dim: int) -> Tensor:
    """Return 1 where an input belongs to a column before that of the hidden unit."""
    owner = torch.arange(stop - 1).repeat_interleave(embedding_dim)
    unit = torch.arange(start, stop).repeat_interleave(hidden_dim)
    return (owner[:, None] < unit[None, :]).float()
