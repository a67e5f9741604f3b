"""Diffusion over codes of all columns: flow matching that predicts where a noisy row came from."""

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
"""Latest time that the network sees; from there codes are drawn. Bins of numeric columns are told
apart by then, up to neighbors."""
CATEGORY_SCALE = math.sqrt(2)
"""Two categories are then as far apart as the two values of a yes/no column, -1 and 1."""
FEATURE_TIME = 0.8
CLASS_GAIN = 8.0
"""Factor on the classes' shifts, and so on how fast they are learned; as for ``autoregressive``."""
BOUND_DRAWS = 16
MIN_LOG_SNR = -6.0
SAMPLING_ROWS = 1024


class FlowNetwork(ClassNetwork):
    """Predicts every column's code from a noisy row ``x_t = t e + (1 - t) noise``.

    ``e`` holds a point for every column's code. As noise is independent between columns, a code's
    posterior is what the other columns say of it times the likelihood of its own noisy point; the
    likelihood is added to the logits exactly, and the network left to learn the rest.

    Args:
        points: Each column's codes as points, shapes ``(n_codes, dim)``.
        n_classes: Classes; 0 for a network that knows none.
        hidden_dim: Width of the residual layers.
        n_layers: Residual layers.
        dropout: Share of the units that a training step leaves out.

    **Shape**: codes ``(n, n_columns)`` int64; ``t`` ``(n, 1)``; ``y`` ``(n,)`` int64 or None.
    """

    points: Tensor
    starts: Tensor
    norms: Tensor
    ruling: Tensor

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
        self.register_buffer("ruling", torch.cat(biases), persistent=False)
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
        """Width of a row of points."""
        return self.points.shape[1]

    def embedded(self, codes: Tensor) -> Tensor:
        """Return the points ``(n, dim)`` of codes ``(n, n_columns)``."""
        return F.embedding_bag(self._places(codes), self.points, mode="sum")

    def logits(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the logits of all codes, shape ``(n, n_places)``, of noisy rows ``(n, dim)``."""
        context = self.leave(self.norm(self.hidden(x, t, y))).float()
        # Near the end of time the likelihood is steep: bf16 would shift it by nats.
        with torch.autocast(x.device.type, enabled=False):
            precision = (1 - t) ** -2
            own = (x.float() * (t * precision)) @ self.points.T
            return context + own + (self.ruling - 0.5 * t**2 * precision * self.norms)

    def hidden(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the last hidden layer, shape ``(n, hidden_dim)``."""
        scaled = x / (t**2 + (1 - t) ** 2).sqrt()
        hidden = self.enter(torch.cat([scaled, _waves(t)], 1)) + self._shift(0, y)
        for number, layer in enumerate(self.layers):
            inner = layer(F.silu(hidden)) + self._shift(number + 1, y)
            hidden = hidden + F.dropout(F.silu(inner), self.dropout, self.training)
        return hidden

    def log_probs(self, logits: Tensor) -> Tensor:
        """Return log probabilities of all codes, normalized within each column."""
        return torch.cat([part.log_softmax(2).flatten(1) for part in self._parts(logits)], 1)

    def sample_codes(self, logits: Tensor) -> list[Tensor]:
        """Return a tensor of codes ``(n,)`` a column, drawn from logits."""
        found: dict[int, Tensor] = {}
        for part, columns in zip(self._parts(logits), self.buckets.values(), strict=True):
            found |= zip(columns, sample_codes(part).unbind(1), strict=True)
        return [found[column] for column in range(len(self.n_codes))]

    def losses(self, codes: Tensor, y: Tensor | None) -> Tensor:
        """Return the cross-entropy of every row's codes at a random time, shape ``(n,)``."""
        n = len(codes)
        # Times spread evenly over the batch tell more than independent ones.
        t = (torch.rand((), device=codes.device) + torch.arange(n, device=codes.device) / n) % 1.0
        t = (MAX_TIME * t)[torch.randperm(n, device=codes.device), None]
        e = self.embedded(codes)
        return self.cross_entropy(codes, t * e + (1 - t) * torch.randn_like(e), t, y)

    def cross_entropy(self, codes: Tensor, x: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
        """Return the cross-entropy of codes given noisy rows, summed over columns, ``(n,)``."""
        log_probs = self.log_probs(self.logits(x, t, y))
        return -log_probs.gather(1, self._places(codes)).sum(1)

    def units(self, codes: Tensor) -> Tensor:
        t = torch.full((len(codes), 1), FEATURE_TIME)
        return self.hidden(t * self.embedded(codes), t)

    def bound(self, codes: Tensor) -> Tensor:
        """Return a lower bound of the codes' log probability, shape ``(n,)``, in nats.

        ``-E[CE(t_max)] - 1/2 integral of E|e - E[e | x_t]|^2 d snr``, with the signal-to-noise
        ratio ``snr = (t / (1 - t))^2`` (Kingma et al. 2021, "Variational Diffusion Models", eq. 12
        and 18). The integral over log snr is a mean over evenly spread draws.
        """
        e, n = self.embedded(codes), len(codes)
        latest = torch.full((n, 1), MAX_TIME)
        noisy = latest * e + (1 - latest) * torch.randn_like(e)
        total = -self.cross_entropy(codes, noisy, latest, None)
        span = 2 * math.log(MAX_TIME / (1 - MAX_TIME)) - MIN_LOG_SNR
        for draw in range(BOUND_DRAWS):
            log_snr = MIN_LOG_SNR + span * (draw + torch.rand(n, 1)) / BOUND_DRAWS
            ratio = (0.5 * log_snr).exp()
            t = ratio / (1 + ratio)
            x = t * e + (1 - t) * torch.randn_like(e)
            misses = (e - self.expected(x, t)).square().sum(1)
            total -= 0.5 * span / BOUND_DRAWS * log_snr.exp()[:, 0] * misses
        return total

    def expected(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the expected points ``E[e | x_t]`` of noisy rows, shape ``(n, dim)``."""
        parts = self._parts(self.logits(x, t, y))
        points = self.points.split([part.shape[1] * part.shape[2] for part in parts])
        products = [p.softmax(2).flatten(1) @ e for p, e in zip(parts, points, strict=True)]
        return torch.stack(products).sum(0)

    def sample(self, y: Tensor, n_steps: int) -> list[Tensor]:
        """Return a tensor of codes ``(n,)`` a column, for classes ``y``.

        Euler steps along ``dx/dt = (E[e | x_t] - x_t) / (1 - t)`` from noise (Lipman et al. 2023),
        and codes drawn at the last time.
        """
        x = torch.randn(len(y), self.dim)
        times = np.linspace(0.0, MAX_TIME, n_steps + 1)
        for now, then in pairwise(times):
            t = torch.full((len(y), 1), float(now))
            x += (then - now) / (1 - now) * (self.expected(x, t, y) - x)
        return self.sample_codes(self.logits(x, torch.full((len(y), 1), MAX_TIME), y))

    def _places(self, codes: Tensor) -> Tensor:
        """Return where each column's codes stand among all, shape ``(n, n_columns)``."""
        return codes + self.starts

    def _parts(self, logits: Tensor) -> list[Tensor]:
        sizes = [width * len(columns) for width, columns in self.buckets.items()]
        parts = zip(logits.split(sizes, 1), self.buckets, strict=True)
        return [part.unflatten(1, (-1, width)) for part, width in parts]

    def _shift(self, layer: int, y: Tensor | None) -> Tensor | float:
        return 0.0 if y is None else CLASS_GAIN * F.embedding(y, self.class_shift[layer])


class Diffusion(ClassConditionedModel[DiffusionParams, FlowNetwork]):
    """Flow matching with a categorical endpoint for every column.

    After Guzmán-Cordero et al. (2025, "Exponential Family Variational Flow Matching for Tabular
    Data Generation"), with categories as in Eijkelboom et al. (2024, "Variational Flow Matching for
    Graph Generation"): a network predicts, from a row mixed with noise, the distribution of every
    column's clean value, and so where to move the row. Numeric columns are codes too, their bins; a
    bin's point is its place in the column's normal quantiles, so that columns of any shape look
    Gaussian and frequent exact values (atoms) are met exactly. Classes: ``ClassConditionedModel``.

    ``score`` is a variational bound of the log density, with the same noise for every call.

    On Adult (32,561 labeled rows) one core of an AMD EPYC with AVX512-BF16 fits it in 40 s and
    draws 2,300 rows/s; classifiers of such rows reach 80.9 macro-F1 and 92.2 ROC AUC where those of
    the real rows reach 81.0 and 92.7.
    """

    family = "diffusion"
    params_type = DiffusionParams

    def sample(self, y: np.ndarray, seed: int) -> np.ndarray:
        """Return one new encoded row of each class in ``y``, shape ``(len(y), n_features)``."""
        told, steps = self._told, self.params.sampling_steps
        bf16 = uses_bf16(
            self.compute, torch.device("cpu"), width=self._width, batch_size=CHUNK_ROWS
        )

        def rows(y: Tensor) -> Tensor:
            # Few rows at a time, so that all their logits stay in the cache.
            parts = [torch.stack(told.sample(part, steps), 1) for part in y.split(SAMPLING_ROWS)]
            return self.bins.decode(torch.cat(parts).unbind(1))

        with seeded(seed), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return self._map_chunks(rows, self._positions(y))

    def score(self, x: np.ndarray) -> np.ndarray:
        """Return a lower bound of every row's log density, in nats, shape ``(n,)``."""
        with seeded(self.seed):
            bound = self._map_chunks(self.network.free.bound, self.bins.encode(x))
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
    """Return every column's codes as points: normal scores, -1 and 1, or corners of a simplex."""
    return [_column_points(bins.numeric.get(i), n) for i, n in enumerate(bins.n_codes)]


def _column_points(numeric: NumericBins | None, n_codes: int) -> Tensor:
    if numeric is not None:
        shares = np.bincount(numeric.bin_of, numeric.share)
        scores = norm.ppf((np.cumsum(shares) - shares / 2) / shares.sum())
        return torch.from_numpy(scores[:, None].astype(np.float32))
    if n_codes == 2:
        return torch.tensor([[-1.0], [1.0]])
    return CATEGORY_SCALE * torch.eye(n_codes)


def _layout(points: Sequence[Tensor], columns_of: dict[int, list[int]]) -> tuple[Tensor, Tensor]:
    """Return where every column's codes begin, and all codes' points, by width of column.

    Returns:
        Starts ``(n_columns,)``, and points ``(n_places, dim)``: a code's row is its point in its
        column's own dimensions and 0 elsewhere; rows that no code has are 0.
    """
    ends = torch.tensor([0] + [table.shape[1] for table in points]).cumsum(0).tolist()
    n_places = sum(width * len(columns) for width, columns in columns_of.items())
    starts, layout = torch.zeros(len(points), dtype=torch.long), torch.zeros(n_places, ends[-1])
    place = 0
    for width, columns in columns_of.items():
        for column in columns:
            starts[column] = place
            table = points[column]
            layout[place : place + len(table), ends[column] : ends[column + 1]] = table
            place += width
    return starts, layout


def _waves(t: Tensor) -> Tensor:
    """Return cosines and sines of times ``(n, 1)``, shape ``(n, TIME_WIDTH)``."""
    angles = t * torch.arange(TIME_WIDTH // 2, device=t.device) * math.pi
    return torch.cat([angles.cos(), angles.sin()], 1)
