"""Autoregressive network over discretized columns."""

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
"""Limits of the total widths of all embeddings and of all hidden units, and lower limit of those of
a column, so that a table of hundreds of columns trains within minutes."""
N_RANGES = 4
CLASS_GAIN = 8.0
"""Factor on the shifts of the classes, and thus on their learning rate. Without it, the classes
were too similar after ten epochs on Adult: a classifier of the rows had a ROC AUC of 91.8, not
92.2."""


T = TypeVar("T")


class AutoregressiveNetwork(ClassNetwork):
    """``p(x) = p(x_1) p(x_2 | x_1) ...`` over columns of codes, with a block of units per column.

    The codes of every column are embedded. The block of hidden units of a column receives the
    embeddings of the columns before it, through one block-triangular matrix for all columns (MADE,
    Germain et al. 2015, "Masked Autoencoder for Distribution Estimation"). A residual layer and the
    logits follow within the block. The class shifts both layers by learned vectors. The columns are
    ordered by their number of codes, fewest first; this order is internal to the network.

    Args:
        n_codes: Number of codes of every column.
        is_ordered: Whether the codes of a column are ordered; the initial embeddings of ordered
            codes are smooth functions of the code.
        n_classes: Number of classes; 0 for an unconditional network.
        hidden_dim: Hidden units of a column.
        embedding_dim: Width of an embedding.
        dropout: Dropout probability of hidden units and of embedded columns.

    **Shape**: codes ``(n, n_columns)`` int64; classes ``y`` ``(n,)`` int64 or None.

    Examples:
        >>> network = AutoregressiveNetwork(
        ...     [3, 4], [False, True], 2, hidden_dim=4, embedding_dim=2, dropout=0.0
        ... )
        >>> codes = torch.cartesian_prod(torch.arange(3), torch.arange(4))
        >>> total = network.log_prob(codes, torch.zeros(12, dtype=torch.long)).exp().sum()
        >>> round(total.item(), 4)
        1.0
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
        # No other column depends on the last column, so its codes are not embedded.
        embedded = list(zip(n_codes, is_ordered, strict=True))[:-1]
        offset = torch.tensor([0, *n_codes[:-1]]).cumsum(0)[:-1]
        self.register_buffer("offset", offset, persistent=False)
        tables = [_embeddings(n, embedding_dim, ordered=ordered) for n, ordered in embedded]
        self.embedding = nn.Parameter(torch.cat([torch.empty(0, embedding_dim), *tables]))
        self.ranges = _ranges(n_columns)
        self.first = nn.ParameterList(self._first_weight(*bounds) for bounds in self.ranges)
        for number, (start, stop) in enumerate(self.ranges):
            mask = _triangular(start, stop, embedding_dim, hidden_dim)
            self.register_buffer(f"mask{number}", mask, persistent=False)
        # Not zero: the first column has no input, and its units would have no gradient at zero.
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
        """Number of hidden units of all columns."""
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
        """Return the logits ``(n, n_codes)`` of every column, given the columns before it."""
        hidden = self._hidden(codes[:, self.order], y)
        logits: dict[int, Tensor] = {}
        for number, columns in enumerate(self.buckets.values()):
            logits |= zip(columns, self._logits(number, hidden[columns]), strict=True)
        ordered = [logits[column][:, :n] for column, n in enumerate(self.n_codes)]
        return _at(ordered, np.argsort(self.order).tolist())

    def _hidden(self, codes: Tensor, y: Tensor | None) -> Tensor:
        """Return the last hidden layer, ``(n_columns, n, hidden_dim)``; codes in internal order."""
        x = F.embedding(codes[:, :-1] + self.offset, self.embedding)
        if self.training and self.dropout:
            is_kept = torch.rand(*x.shape[:2], 1, device=x.device) >= self.dropout
            x = x * is_kept / (1 - self.dropout)
        x = x.flatten(1)
        weights = [w * getattr(self, f"mask{i}") for i, w in enumerate(self.first)]
        parts = [x[:, : len(weight)] @ weight for weight in weights]
        first = torch.cat(parts, 1).unflatten(1, self.first_bias.shape).transpose(0, 1)
        first = first + self.first_bias[:, None] + self._shift(0, y)
        first = self._dropout(F.relu(first))
        second = torch.baddbmm(self.second_bias[:, None], first, self.second) + self._shift(1, y)
        return first + self._dropout(F.relu(second))

    def column_weights(self, column: int) -> tuple[Tensor, ...]:
        """Return the weights and biases of the three layers of a column, in internal order."""
        number = next(i for i, (_, stop) in enumerate(self.ranges) if column < stop)
        start = (column - self.ranges[number][0]) * self.hidden_dim
        n_inputs = column * self.embedding_dim
        first = self.first[number][:n_inputs, start : start + self.hidden_dim]
        bucket, columns = next(
            (i, columns) for i, columns in enumerate(self.buckets.values()) if column in columns
        )
        position, n = columns.index(column), self.n_codes[column]
        return (
            first,
            self.first_bias[column],
            self.second[column],
            self.second_bias[column],
            self.logit_weight[bucket][position, :, :n],
            self.logit_bias[bucket][position, 0, :n],
        )

    def _shift(self, layer: int, y: Tensor | None) -> Tensor | float:
        """Return the shift of a layer by the class, shape ``(n_columns, n, hidden_dim)``."""
        if y is None:
            return 0.0
        shifts = CLASS_GAIN * F.embedding(y, self.class_shift[layer])
        return shifts.unflatten(1, self.first_bias.shape).transpose(0, 1)

    def _dropout(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)

    def _logits(self, bucket: int, hidden: Tensor) -> Tensor:
        return torch.baddbmm(self.logit_bias[bucket], hidden, self.logit_weight[bucket])

    def _first_weight(self, start: int, stop: int) -> nn.Parameter:
        n_inputs = torch.arange(start, stop).clamp(min=1).repeat_interleave(self.hidden_dim)
        shape = ((stop - 1) * self.embedding_dim, (stop - start) * self.hidden_dim)
        return nn.Parameter(torch.randn(shape) * 1.2 / (n_inputs * self.embedding_dim).sqrt())


class Autoregressive(ClassConditionedModel[AutoregressiveParams, AutoregressiveNetwork]):
    """Autoregressive model of discretized columns (Tiwald et al. 2025, "TabularARGN").

    Columns are discretized (``RowBins``) and ordered by their number of codes, fewest first. All
    columns are conditioned on the class; see ``ClassConditionedModel``. Training computes the
    blocks of all columns at once; sampling computes the block of each column once.

    On Adult (32,561 labeled rows), one core of an AMD EPYC with AVX512-BF16 fits the model in 24 s
    and samples 170,000 rows/s. Classifiers trained on these rows have a macro-F1 of 81.0 and a ROC
    AUC of 92.4, those trained on real rows 81.0 and 92.7.

    Examples:
        >>> from semigen.tables.encoding import Encoded, Span
        >>> rng = np.random.default_rng(0)
        >>> rows = Encoded(rng.normal(size=(60, 2)).astype(np.float32), np.arange(60) % 3 - 1)
        >>> spans = [Span("a", 0, 1, "numeric"), Span("b", 1, 2, "numeric")]
        >>> model = Autoregressive(spans, AutoregressiveParams(max_steps=20, class_steps=20))
        >>> _ = model.fit(rows)
        >>> model.classes_
        array([0, 1])
        >>> model.sample(np.array([0, 1, 1]), seed=0).shape
        (3, 2)
    """

    family = "autoregressive"
    params_type = AutoregressiveParams

    def sample(self, y: np.ndarray, seed: int) -> np.ndarray:
        """Return one new encoded row of each class in ``y``, shape ``(len(y), n_features)``."""
        positions, sampler = self._positions(y), Sampler(self._conditional, self.compute)
        with seeded(seed):
            return self._map_chunks(lambda chunk: self.bins.decode(sampler(chunk)), positions)

    def score(self, x: np.ndarray) -> np.ndarray:
        """Return the log density of every row, in nats, shape ``(n,)``.

        It is exact: the log probability of the codes, plus the log density of the numeric values
        within their bins.
        """
        log_prob = self._map_chunks(self._unconditional.log_prob, self.bins.encode(x))
        return log_prob + self.bins.log_density(x)

    @property
    def _width(self) -> int:
        return self._unconditional.n_units

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


class Sampler:
    """Samples codes column by column, with a contiguous copy of the weights of each column.

    Args:
        network: Network conditioned on the class.
        compute: Precision.
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
        self.inverse_order = np.argsort(network.order).tolist()

    def __call__(self, y: Tensor) -> list[Tensor]:
        """Sample rows of classes ``y``, shape ``(n,)``.

        Returns:
            A tensor of codes ``(n,)`` for every column, in the order of the table.
        """
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
        return _at(columns, self.inverse_order)


def _at(values: Sequence[T], positions: Sequence[int]) -> list[T]:
    return [values[position] for position in positions]


def _embeddings(n_codes: int, width: int, *, ordered: bool) -> Tensor:
    """Return initial embeddings ``(n_codes, width)``; cosines of the position of ordered codes."""
    noise = 0.5 * torch.randn(n_codes, width)
    if not ordered:
        return noise
    position, number = torch.linspace(0, 1, n_codes)[:, None], torch.arange(width)
    # Cosines and sines alternate.
    waves = torch.cos(math.pi * (position * ((number + 1) // 2) - 0.5 * (number % 2)))
    return 0.5 * waves + 0.3 * noise


def _ranges(n_columns: int) -> list[tuple[int, int]]:
    """Return ranges of columns; the matrix of a range only has inputs up to its last column."""
    n_ranges = max(1, min(N_RANGES, n_columns // 2))
    edges = np.linspace(0, n_columns, n_ranges + 1).round().astype(int).tolist()
    return list(pairwise(edges))


def _triangular(start: int, stop: int, embedding_dim: int, hidden_dim: int) -> Tensor:
    """Return a mask that is 1 if the input belongs to a column before that of the hidden unit."""
    owner = torch.arange(stop - 1).repeat_interleave(embedding_dim)
    unit = torch.arange(start, stop).repeat_interleave(hidden_dim)
    return (owner[:, None] < unit[None, :]).float()
