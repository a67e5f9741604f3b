"""Networks of the conditional tabular GAN."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from semigen.generators.bins import RowBins
from semigen.generators.row_head import RowHead
from semigen.params.generators import GANParams
from semigen.tables.encoding import Span

TEMPERATURE = 0.2
"""Temperature of the Gumbel-softmax, as in CTGAN. In single runs on Adult a classifier learned no
more from the rows of a generator with 0.5, or with one-hot rows and straight-through gradients."""


class Critic(nn.Module):
    """Critic of WGAN-GP (Gulrajani et al. 2017): a score of a row given its condition and class.

    Args:
        n_in: Width of the input.
        hidden_dims: Widths of the hidden layers.
    """

    def __init__(self, n_in: int, hidden_dims: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in hidden_dims:
            layers += [nn.Linear(n_in, width), nn.LeakyReLU(0.2)]
            n_in = width
        self.body, self.out = nn.Sequential(*layers), nn.Linear(n_in, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return features ``(n, hidden_dims[-1])`` and scores ``(n,)`` of inputs ``(n, n_in)``."""
        features = self.body(x)
        return features, self.out(features)[:, 0].float()


class Generator(nn.Module):
    """Generator whose layers receive the outputs of all layers before them, as in CTGAN.

    Args:
        n_in: Width of the input: latent code, classes and condition.
        hidden_dims: Widths of the hidden layers.
        n_out: Width of the output.
    """

    def __init__(self, n_in: int, hidden_dims: Sequence[int], n_out: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for width in hidden_dims:
            linear = nn.Linear(n_in, width, bias=False)
            self.layers.append(nn.Sequential(linear, nn.BatchNorm1d(width), nn.ReLU()))
            n_in += width
        self.out = nn.Linear(n_in, n_out)

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs ``(n, n_out)`` of inputs ``(n, n_in)``."""
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return self.out(x)


class GANNetwork(nn.Module):
    """Generator and critic of rows that are represented by concatenated one-hot codes.

    Args:
        bins: Codes of every column.
        params: Architecture.
        n_classes: Number of classes; 0 for a network without labels.

    **Shape**: relaxed rows ``(n, n_all)``, where ``n_all`` is the number of codes of all columns.

    Examples:
        >>> x = np.array([[1, 0, 0, 1], [0, 1, 0, 0]], dtype=np.float32)
        >>> bins = RowBins.fit(x, [Span("a", 0, 1, "boolean"), Span("b", 1, 4, "category")], 10)
        >>> network = GANNetwork(bins, GANParams(), n_classes=2)
        >>> rows = network.one_hot(torch.from_numpy(bins.encode(x)))
        >>> rows
        tensor([[0., 1., 0., 0., 1.],
                [1., 0., 1., 0., 0.]])
        >>> network.generate(torch.tensor([0, 1]), rows, torch.eye(2)).shape
        torch.Size([2, 5])
    """

    centers: Tensor
    owner: Tensor
    starts: Tensor

    def __init__(self, bins: RowBins, params: GANParams, n_classes: int) -> None:
        super().__init__()
        ends = np.cumsum(bins.n_codes)
        starts = ends - bins.n_codes
        n_columns, n_all = len(ends), int(ends[-1])
        spans = [
            Span(str(i), int(start), int(end), "category")
            for i, (start, end) in enumerate(zip(starts, ends, strict=True))
        ]
        self.n_codes, self.n_classes, self.latent_dim = bins.n_codes, n_classes, params.latent_dim
        self.head = RowHead(spans, TEMPERATURE)
        self.generator = Generator(
            params.latent_dim + n_all + n_classes, params.generator_dims, n_all
        )
        self.critic = Critic(
            n_all + len(bins.numeric) + n_classes + n_columns + 1, params.hidden_dims
        )
        owner = np.repeat(np.arange(n_columns), bins.n_codes)
        self.register_buffer("owner", torch.from_numpy(owner), persistent=False)
        self.register_buffer("starts", torch.from_numpy(starts), persistent=False)
        self.register_buffer("centers", _bin_centers(bins, starts, n_all), persistent=False)

    def one_hot(self, codes: Tensor) -> Tensor:
        """Return concatenated one-hot codes ``(n, n_all)`` of codes ``(n, n_columns)``."""
        one_hot = torch.zeros(len(codes), len(self.owner), device=codes.device)
        return one_hot.scatter_(1, codes + self.starts, 1.0)

    def generate(self, columns: Tensor, rows: Tensor, classes: Tensor) -> Tensor:
        """Return new relaxed rows, shape ``(n, n_all)``, given one column of each row.

        Args:
            columns: The column that is given, -1 for none, shape ``(n,)``.
            rows: Rows of which that column is used, shape ``(n, n_all)``.
            classes: One-hot classes, shape ``(n, n_classes)``.
        """
        is_given = self.owner == columns[:, None]
        condition = rows * is_given
        z = torch.randn(len(rows), self.latent_dim, device=rows.device)
        generated = self.head(self.generator(torch.cat([z, classes, condition], 1)))
        return torch.where(is_given, condition, generated)

    def criticize(self, columns: Tensor, rows: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the critic's features ``(n, hidden_dims[-1])`` and scores ``(n,)`` of rows.

        The arguments are those of ``generate``.
        """
        condition = F.one_hot(columns + 1, len(self.n_codes) + 1).float()
        return self.critic(torch.cat([condition, classes, rows @ self.centers, rows], 1))

    def copy_weights(self, other: GANNetwork) -> None:
        """Copy the weights of a network without classes; the weights of the classes become zero."""
        state = other.state_dict()
        with torch.no_grad():
            for name, value in self.state_dict().items():
                source = state[name]
                if value.shape == source.shape:
                    value.copy_(source)
                    continue
                value.zero_()
                first = self._first_class_input(name)
                value[:, :first] = source[:, :first]
                value[:, first + self.n_classes :] = source[:, first:]

    def _first_class_input(self, name: str) -> int:
        if name.startswith("critic"):
            return len(self.n_codes) + 1
        return self.latent_dim


def _bin_centers(bins: RowBins, starts: np.ndarray, n_all: int) -> Tensor:
    """Return a matrix ``(n_all, n_numeric)`` that maps one-hot codes to standardized numbers.

    From one-hot bins alone the critic could not know which bins are neighbors.
    """
    matrix = torch.zeros(n_all, len(bins.numeric))
    for number, (column, cells) in enumerate(bins.numeric.items()):
        middle = (cells.low.astype(np.float64) + cells.high) / 2
        mass = np.bincount(cells.bin_of, cells.share)
        center = np.bincount(cells.bin_of, cells.share * middle) / mass
        mean = (mass * center).sum() / mass.sum()
        deviation = max(np.sqrt((mass * (center - mean) ** 2).sum() / mass.sum()), 1e-6)
        first = int(starts[column])
        standardized = torch.from_numpy((center - mean) / deviation)
        matrix[first : first + len(center), number] = standardized.clamp(-5, 5).float()
    return matrix
