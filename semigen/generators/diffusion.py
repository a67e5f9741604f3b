"""Diffusion over the codes of all columns by variational flow matching."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor, nn
from torch.nn import functional as F

from semigen.generators.bins import NumericBins, RowBins
from semigen.generators.class_conditioning import ClassConditionedModel, ClassNetwork
from semigen.generators.code_logits import bucket_columns, padding_bias, sample_codes
from semigen.generators.network_model import CHUNK_ROWS
from semigen.params.generators import DiffusionParams
from semigen.training.compute import seeded, uses_bf16

TIME_WIDTH = 64
MAX_TIME = 0.98
"""Last time of the network's input; codes are sampled at this time. By then the bins of numeric
columns can be distinguished, except neighboring ones."""
CATEGORY_SCALE = math.sqrt(2)
"""Factor on one-hot categories: their distance equals that of the boolean values, -1 and 1."""
FEATURE_TIME = 0.8
CLASS_GAIN = 8.0
"""Factor on the shifts of the classes, and thus on their learning rate; see ``autoregressive``."""
N_BOUND_SAMPLES = 16
MIN_LOG_SNR = -6.0
SAMPLING_CHUNK_ROWS = 1024


class FlowNetwork(ClassNetwork):
    """Predicts the code of every column from a noisy row ``x_t = t e + (1 - t) noise``.

    ``e`` contains a point for the code of every column. The noise is independent between columns,
    so the posterior of a code is proportional to the likelihood of its own noisy point, times its
    probability given the other columns. The log-likelihood is added to the logits in closed form,
    and the network learns the rest.

    Args:
        points: Points of the codes of each column, shapes ``(n_codes, dim)``.
        n_classes: Number of classes; 0 for an unconditional network.
        hidden_dim: Width of the residual layers.
        n_layers: Number of residual layers.
        dropout: Dropout probability.

    **Shape**: codes ``(n, n_columns)`` int64; times ``t`` ``(n, 1)``, from 0 (noise) to 1 (data);
    classes ``y`` ``(n,)`` int64 or None; noisy rows ``x`` ``(n, dim)``.

    Examples:
        >>> network = FlowNetwork(
        ...     [torch.eye(3), torch.eye(4)], 2, hidden_dim=8, n_layers=1, dropout=0.0
        ... )
        >>> codes = torch.tensor([[0, 3], [2, 1]])
        >>> network.losses(codes, torch.tensor([0, 1])).shape
        torch.Size([2])
    """

    points: Tensor
    starts: Tensor
    norms: Tensor
    padding: Tensor

    def __init__(
        self,
        points: Sequence[Tensor],
        n_classes: int,
        *,
        hidden_dim: int,
        n_layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.n_codes = tuple(len(table) for table in points)
        self.buckets = bucket_columns(self.n_codes)
        self.dropout, self.hidden_dim = dropout, hidden_dim
        starts, layout = _layout(points, self.buckets)
        self.register_buffer("starts", starts, persistent=False)
        self.register_buffer("points", layout, persistent=False)
        self.register_buffer("norms", layout.square().sum(1), persistent=False)
        biases = [
            padding_bias([self.n_codes[c] for c in columns], width).flatten()
            for width, columns in self.buckets.items()
        ]
        self.register_buffer("padding", torch.cat(biases), persistent=False)
        n_codes, dim = layout.shape
        self.enter = nn.Linear(dim + TIME_WIDTH, hidden_dim)
        self.layers = nn.ModuleList(nn.Linear(hidden_dim, hidden_dim) for _ in range(n_layers))
        self.norm = nn.LayerNorm(hidden_dim)
        self.leave = nn.Linear(hidden_dim, n_codes)
        nn.init.zeros_(self.leave.weight)
        if n_classes:
            self.class_shift = nn.Parameter(torch.zeros(n_layers + 1, n_classes, hidden_dim))

    @property
    def dim(self) -> int:
        """Width of a noisy row."""
        return self.points.shape[1]

    def embed(self, codes: Tensor) -> Tensor:
        """Return the points ``(n, dim)`` of codes ``(n, n_columns)``."""
        return F.embedding_bag(self._indices(codes), self.points, mode="sum")

    def logits(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the logits of all codes given noisy rows, shape ``(n, n_all)``."""
        context = self.leave(self.norm(self.hidden(x, t, y))).float()
        # For t near 1 the likelihood is steep: in bf16 it would be wrong by nats.
        with torch.autocast(x.device.type, enabled=False):
            precision = (1 - t) ** -2
            likelihood = (x.float() * (t * precision)) @ self.points.T
            return context + likelihood + (self.padding - 0.5 * t**2 * precision * self.norms)

    def hidden(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the last hidden layer, shape ``(n, hidden_dim)``."""
        scaled = x / (t**2 + (1 - t) ** 2).sqrt()
        hidden = self.enter(torch.cat([scaled, _time_embedding(t)], 1)) + self._shift(0, y)
        for number, layer in enumerate(self.layers):
            residual = layer(F.silu(hidden)) + self._shift(number + 1, y)
            hidden = hidden + F.dropout(F.silu(residual), self.dropout, self.training)
        return hidden

    def log_probs(self, logits: Tensor) -> Tensor:
        """Return log probabilities of all codes, shape ``(n, n_all)``, normalized by column."""
        return torch.cat([part.log_softmax(2).flatten(1) for part in self._parts(logits)], 1)

    def sample_codes(self, logits: Tensor) -> list[Tensor]:
        """Draw codes from logits ``(n, n_all)``; return a tensor ``(n,)`` for every column."""
        codes: dict[int, Tensor] = {}
        for part, columns in zip(self._parts(logits), self.buckets.values(), strict=True):
            codes |= zip(columns, sample_codes(part).unbind(1), strict=True)
        return [codes[column] for column in range(len(self.n_codes))]

    def losses(self, codes: Tensor, y: Tensor | None) -> Tensor:
        """Return the cross-entropy of every row's codes at a random time, shape ``(n,)``."""
        n = len(codes)
        # Evenly spaced times have less variance than independent ones.
        t = (torch.rand((), device=codes.device) + torch.arange(n, device=codes.device) / n) % 1.0
        t = (MAX_TIME * t)[torch.randperm(n, device=codes.device), None]
        e = self.embed(codes)
        return self.cross_entropy(codes, t * e + (1 - t) * torch.randn_like(e), t, y)

    def cross_entropy(self, codes: Tensor, x: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
        """Return the cross-entropy of codes given noisy rows, summed over columns, ``(n,)``."""
        log_probs = self.log_probs(self.logits(x, t, y))
        return -log_probs.gather(1, self._indices(codes)).sum(1)

    def units(self, codes: Tensor) -> Tensor:
        t = torch.full((len(codes), 1), FEATURE_TIME)
        return self.hidden(t * self.embed(codes), t)

    def bound(self, codes: Tensor) -> Tensor:
        """Return a lower bound of the codes' log probability, shape ``(n,)``, in nats.

        ``-E[CE(t_max)] - 1/2 integral of E|e - E[e | x_t]|^2 d snr``, with the signal-to-noise
        ratio ``snr = (t / (1 - t))^2`` (Kingma et al. 2021, "Variational Diffusion Models", eq. 12
        and 18). The integral over log snr is estimated by stratified sampling.
        """
        e, n = self.embed(codes), len(codes)
        last = torch.full((n, 1), MAX_TIME)
        noisy = last * e + (1 - last) * torch.randn_like(e)
        total = -self.cross_entropy(codes, noisy, last, None)
        span = 2 * math.log(MAX_TIME / (1 - MAX_TIME)) - MIN_LOG_SNR
        for stratum in range(N_BOUND_SAMPLES):
            log_snr = MIN_LOG_SNR + span * (stratum + torch.rand(n, 1)) / N_BOUND_SAMPLES
            ratio = (0.5 * log_snr).exp()
            t = ratio / (1 + ratio)
            x = t * e + (1 - t) * torch.randn_like(e)
            errors = (e - self.expected(x, t)).square().sum(1)
            total -= 0.5 * span / N_BOUND_SAMPLES * log_snr.exp()[:, 0] * errors
        return total

    def expected(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the expected points ``E[e | x_t]`` of noisy rows, shape ``(n, dim)``."""
        parts = self._parts(self.logits(x, t, y))
        points = self.points.split([part.shape[1] * part.shape[2] for part in parts])
        products = [p.softmax(2).flatten(1) @ e for p, e in zip(parts, points, strict=True)]
        return torch.stack(products).sum(0)

    def sample(self, y: Tensor, n_steps: int) -> list[Tensor]:
        """Sample rows; return a tensor of codes ``(n,)`` for every column.

        Euler steps along ``dx/dt = (E[e | x_t] - x_t) / (1 - t)`` from noise (Lipman et al. 2023,
        "Flow Matching for Generative Modeling"), then codes are drawn at the last time.

        Args:
            y: Classes, shape ``(n,)``, int64.
            n_steps: Number of Euler steps.
        """
        x = torch.randn(len(y), self.dim)
        times = np.linspace(0.0, MAX_TIME, n_steps + 1)
        for now, then in pairwise(times):
            t = torch.full((len(y), 1), float(now))
            x += (then - now) / (1 - now) * (self.expected(x, t, y) - x)
        return self.sample_codes(self.logits(x, torch.full((len(y), 1), MAX_TIME), y))

    def _indices(self, codes: Tensor) -> Tensor:
        """Return the indices of codes among all codes, shape ``(n, n_columns)``."""
        return codes + self.starts

    def _parts(self, logits: Tensor) -> list[Tensor]:
        sizes = [width * len(columns) for width, columns in self.buckets.items()]
        parts = zip(logits.split(sizes, 1), self.buckets, strict=True)
        return [part.unflatten(1, (-1, width)) for part, width in parts]

    def _shift(self, layer: int, y: Tensor | None) -> Tensor | float:
        return 0.0 if y is None else CLASS_GAIN * F.embedding(y, self.class_shift[layer])


class Diffusion(ClassConditionedModel[DiffusionParams, FlowNetwork]):
    """Variational flow matching with a categorical endpoint for every column.

    After Guzmán-Cordero et al. (2025, "Exponential Family Variational Flow Matching for Tabular
    Data Generation"), with categories as in Eijkelboom et al. (2024, "Variational Flow Matching for
    Graph Generation"): from a noisy row, a network predicts the distribution of the clean value of
    every column, and thus the velocity of the row. The codes of numeric columns are their bins. The
    point of a bin is its normal score in the column, so that columns of any shape look Gaussian,
    and frequent exact values are reproduced exactly. For the classes see ``ClassConditionedModel``.

    On Adult (32,561 labeled rows), one core of an AMD EPYC with AVX512-BF16 fits the model in 40 s
    and samples 2,300 rows/s. Classifiers trained on these rows have a macro-F1 of 80.9 and a ROC
    AUC of 92.2, those trained on real rows 81.0 and 92.7.

    Examples:
        >>> from semigen.tables.encoding import Encoded, Span
        >>> rng = np.random.default_rng(0)
        >>> rows = Encoded(rng.normal(size=(60, 2)).astype(np.float32), np.arange(60) % 3 - 1)
        >>> spans = [Span("a", 0, 1, "numeric"), Span("b", 1, 2, "numeric")]
        >>> model = Diffusion(spans, DiffusionParams(max_steps=20, class_steps=20, hidden_dim=8))
        >>> _ = model.fit(rows)
        >>> model.classes_
        array([0, 1])
        >>> model.sample(np.array([0, 1, 1]), seed=0).shape
        (3, 2)
    """

    family = "diffusion"
    params_type = DiffusionParams

    def sample(self, y: np.ndarray, seed: int) -> np.ndarray:
        """Return one new encoded row of each class in ``y``, shape ``(len(y), n_features)``."""
        positions, network = self._positions(y), self._conditional
        bf16 = uses_bf16(
            self.compute, torch.device("cpu"), width=self._width, batch_size=CHUNK_ROWS
        )

        def sample_rows(y: Tensor) -> Tensor:
            # Small chunks, so that all logits of a chunk stay in the cache.
            parts = [
                torch.stack(network.sample(part, self.params.sampling_steps), 1)
                for part in y.split(SAMPLING_CHUNK_ROWS)
            ]
            return self.bins.decode(torch.cat(parts).unbind(1))

        with seeded(seed), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return self._map_chunks(sample_rows, positions)

    def score(self, x: np.ndarray) -> np.ndarray:
        """Return a lower bound of the log density of every row, in nats, shape ``(n,)``.

        The noise is the same in every call.
        """
        codes = self.bins.encode(x)
        bound = self._map_chunks(self._unconditional.bound, codes, seed=self.seed)
        return bound + self.bins.log_density(x)

    @property
    def _width(self) -> int:
        return self.params.hidden_dim

    def _new_network(self, n_classes: int) -> FlowNetwork:
        return FlowNetwork(
            _points(self.bins),
            n_classes,
            hidden_dim=self.params.hidden_dim,
            n_layers=self.params.n_layers,
            dropout=self.params.dropout,
        )


def _points(bins: RowBins) -> list[Tensor]:
    """Return the points of the codes of every column.

    Normal scores for numeric columns, -1 and 1 for boolean ones, one-hot vectors for categories.
    """
    return [_column_points(bins.numeric.get(i), n) for i, n in enumerate(bins.n_codes)]


def _column_points(numeric: NumericBins | None, n_codes: int) -> Tensor:
    if numeric is not None:
        mass = np.bincount(numeric.bin_of, numeric.share)
        scores = norm.ppf((np.cumsum(mass) - mass / 2) / mass.sum())
        return torch.from_numpy(scores[:, None].astype(np.float32))
    if n_codes == 2:
        return torch.tensor([[-1.0], [1.0]])
    return CATEGORY_SCALE * torch.eye(n_codes)


def _layout(points: Sequence[Tensor], columns_of: dict[int, list[int]]) -> tuple[Tensor, Tensor]:
    """Return the layout of all codes, in which the columns of a bucket are adjacent.

    Args:
        points: Points of the codes of each column, shapes ``(n_codes, dim)``.
        columns_of: Columns of every bucket, by the width of the bucket.

    Returns:
        Index of the first code of every column, ``(n_columns,)``, and points ``(n_all, dim)``: the
        row of a code is its point in the dimensions of its column, and 0 elsewhere; padding is 0.
    """
    ends = torch.tensor([0] + [table.shape[1] for table in points]).cumsum(0).tolist()
    n_all = sum(width * len(columns) for width, columns in columns_of.items())
    starts, layout = torch.zeros(len(points), dtype=torch.long), torch.zeros(n_all, ends[-1])
    start = 0
    for width, columns in columns_of.items():
        for column in columns:
            starts[column] = start
            table = points[column]
            layout[start : start + len(table), ends[column] : ends[column + 1]] = table
            start += width
    return starts, layout


def _time_embedding(t: Tensor) -> Tensor:
    """Return cosines and sines of times ``(n, 1)``, shape ``(n, TIME_WIDTH)``."""
    angles = t * torch.arange(TIME_WIDTH // 2, device=t.device) * math.pi
    return torch.cat([angles.cos(), angles.sin()], 1)
