"""Conditional GAN for tables: rows as codes, categories and the class as conditions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn import functional as F

from semigen.generators.bins import RowBins
from semigen.generators.code_logits import drawn
from semigen.generators.collapse import collapse, first_judged_epoch, thinned
from semigen.generators.network_model import CHUNK_ROWS, NetworkModel
from semigen.generators.row_head import RowHead
from semigen.methods.soft_labels import soft_labels
from semigen.params.generators import GANParams
from semigen.tables.encoding import Encoded, Span
from semigen.training.averaging import averaging_decay
from semigen.training.compute import seeded
from semigen.training.engine import train
from semigen.training.plan import History, Player
from semigen.training.progress import Progress

MIN_AVERAGING, MAX_AVERAGING = 0.5, 1 - 1 / 500
"""Decay, per step, of the moving average of the weights in very short and in long trainings."""
TEMPERATURE = 0.2
"""Of the Gumbel-softmax draws, as in CTGAN. In single runs on Adult a classifier learned no more
from rows of a generator with 0.5, or with one-hot rows and straight-through gradients."""
N_LEADING = 16
"""Principal components of the critic's features that help to find the classes."""
MIN_CLASS_STEPS = 0.25
"""Steps of the second training with few labels, as a share of those where all rows are labeled:
cross-validation teaches the classes anew for every fold."""
PRIOR_ROWS = 10
"""Rows with the shares of all classes that every class's own shares start from."""


class Conditions:
    """One known cell of a row: what the generator is told, drawn as in training by sampling.

    A column is drawn with equal chance, then one of its codes by the log of its frequency, then a
    row that has it (Xu et al. 2019, "Modeling Tabular Data using Conditional GAN", section 4.3), so
    that rare categories are seen. Numeric columns take part by their bins. As often as any one
    column, none is known.

    Args:
        codes: Training rows as codes, shape ``(n, n_columns)``, int64.
        n_codes: Codes of every column.
    """

    def __init__(self, codes: Tensor, n_codes: Sequence[int]) -> None:
        counts = [torch.bincount(c, minlength=n) for c, n in zip(codes.T, n_codes, strict=True)]
        widest = max(n_codes)
        padded = torch.stack([F.pad(c, (0, widest - len(c))) for c in counts])
        self.codes, self.counts = codes, padded
        self.order = codes.argsort(dim=0, stable=True).T.contiguous()
        self.starts = padded.cumsum(1) - padded
        self.log_frequencies = (1.0 + padded).log() * (padded > 0)

    def draw(self, n: int) -> tuple[Tensor, Tensor]:
        """Return the column known of each row ``(n,)``, -1 for none, and its index ``(n,)``."""
        n_rows, n_columns = self.codes.shape
        columns = torch.randint(-1, n_columns, (n,)).to(self.codes.device)
        code = torch.multinomial(self.log_frequencies[columns], 1)[:, 0]
        count = self.counts[columns, code]
        place = torch.rand(n).to(count.device)
        within = (place * count).long().clamp_max(count - 1)
        rows = self.order[columns, self.starts[columns, code] + within]
        anywhere = (place * n_rows).long().clamp_max(n_rows - 1)
        return columns, torch.where(columns < 0, anywhere, rows)

    def to(self, device: torch.device) -> None:
        """Move everything to a device."""
        for name, tensor in vars(self).items():
            setattr(self, name, tensor.to(device))


class Critic(nn.Module):
    """Score of a row given its class and the column of its condition."""

    def __init__(self, n_in: int, hidden_dims: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in hidden_dims:
            layers += [nn.Linear(n_in, width), nn.LeakyReLU(0.2)]
            n_in = width
        self.body, self.out = nn.Sequential(*layers), nn.Linear(n_in, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return features ``(n, hidden_dims[-1])`` and scores ``(n,)``."""
        features = self.body(x)
        return features, self.out(features)[:, 0].float()


class Generator(nn.Module):
    """Outputs from codes and conditions; every layer sees all before it, as in CTGAN."""

    def __init__(self, n_in: int, hidden_dims: Sequence[int], n_out: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for width in hidden_dims:
            linear = nn.Linear(n_in, width, bias=False)
            self.layers.append(nn.Sequential(linear, nn.BatchNorm1d(width), nn.ReLU()))
            n_in += width
        self.out = nn.Linear(n_in, n_out)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return self.out(x)


class GANNetwork(nn.Module):
    """Both players, and the layout of rows as joined one-hot codes.

    Args:
        bins: Codes of every column.
        params: Architecture.
        n_classes: Classes that rows may be asked for; 0 for none.
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
        self.register_buffer("centers", _centers(bins, starts, n_all), persistent=False)

    def one_hot(self, codes: Tensor) -> Tensor:
        """Return joined one-hot codes ``(n, n_all)`` of codes ``(n, n_columns)``."""
        hot = torch.zeros(len(codes), len(self.owner), device=codes.device)
        return hot.scatter_(1, codes + self.starts, 1.0)

    def generate(self, columns: Tensor, known: Tensor, classes: Tensor) -> Tensor:
        """Return relaxed rows ``(n, n_all)``.

        Args:
            columns: The column that is known of each row, -1 for none, shape ``(n,)``.
            known: Rows as joined one-hot codes of which that column is used, ``(n, n_all)``.
            classes: Shape ``(n, n_classes)``.
        """
        is_known = self.owner == columns[:, None]
        condition = known * is_known
        z = torch.randn(len(known), self.latent_dim, device=known.device)
        rows = self.head(self.generator(torch.cat([z, classes, condition], 1)))
        return torch.where(is_known, condition, rows)

    def judge(self, columns: Tensor, rows: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the critic's features and scores of rows ``(n, n_all)``."""
        where = F.one_hot(columns + 1, len(self.n_codes) + 1).float()
        return self.critic(torch.cat([where, classes, rows @ self.centers, rows], 1))

    def with_classes(self, other: GANNetwork) -> None:
        """Take the weights of a network without classes; the classes' inputs start at zero."""
        state = other.state_dict()
        with torch.no_grad():
            for name, value in self.state_dict().items():
                old = state[name]
                if value.shape == old.shape:
                    value.copy_(old)
                    continue
                value.zero_()
                first = self._first_class_input(name)
                value[:, :first] = old[:, :first]
                value[:, first + self.n_classes :] = old[:, first:]

    def _first_class_input(self, name: str) -> int:
        if name.startswith("critic"):
            return len(self.n_codes) + 1
        return self.latent_dim


def _centers(bins: RowBins, starts: np.ndarray, n_all: int) -> Tensor:
    """Return a matrix ``(n_all, n_numeric)`` that takes one-hot codes to standardized numbers.

    One-hot bins alone would tell the critic nothing of which bins are neighbors.
    """
    matrix = torch.zeros(n_all, len(bins.numeric))
    for place, (column, cells) in enumerate(bins.numeric.items()):
        middle = (cells.low.astype(np.float64) + cells.high) / 2
        rows = np.bincount(cells.bin_of, cells.share)
        center = np.bincount(cells.bin_of, cells.share * middle) / rows
        mean = (rows * center).sum() / rows.sum()
        spread = max(np.sqrt((rows * (center - mean) ** 2).sum() / rows.sum()), 1e-6)
        first = int(starts[column])
        standardized = torch.from_numpy((center - mean) / spread)
        matrix[first : first + len(center), place] = standardized.clamp(-5, 5).float()
    return matrix


def gradient_penalty(score: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """Return the mean squared deviation of the critic's slope from 1, between real and fake rows.

    Gulrajani et al. (2017, "Improved Training of Wasserstein GANs", eq. 3): at points drawn on the
    lines between the rows of two batches.

    Args:
        score: The critic, from rows ``(n, n_all)`` to scores ``(n,)``.
        real: Real rows, shape ``(n, n_all)``.
        fake: Generated rows, same shape.
    """
    share = torch.rand(len(real), 1, device=real.device)
    between = (share * real + (1 - share) * fake).requires_grad_()
    (slope,) = torch.autograd.grad(score(between).sum(), between, create_graph=True)
    return (slope.norm(dim=1) - 1).square().mean()


class GAN(NetworkModel[GANParams]):
    """Conditional tabular GAN: CTGAN (Xu et al. 2019) on codes of all columns.

    Columns of numbers are cut into bins of about equal mass, with a bin of its own for a value that
    many rows share: modes that take no mixture to fit. The generator draws codes by Gumbel-softmax,
    and a value within its bin is drawn as the training rows lie there. The critic is that of
    WGAN-GP (Gulrajani et al. 2017); the kept weights are a moving average (Yazıcı et al. 2019).

    One cell of every row is given, drawn as in training by sampling; so the column that is given
    keeps the shares of the training rows. The class is one more input. A first training knows no
    labels. In a second, briefer one the class of an unlabeled row is drawn anew in each step from
    what the labels say of it (``soft_labels``; GANs on labels predicted from few: Lucic et al.
    2019, "High-Fidelity Image Generation With Fewer Labels"). Asked for 500 rows of a class, the
    generator makes 500 rows of that class in one pass.
    """

    family = "gan"
    params_type = GANParams
    network: GANNetwork
    bins: RowBins
    base: GANNetwork
    shares: np.ndarray

    def features(self, x: np.ndarray) -> np.ndarray:
        """Return the last hidden layer of the critic without labels, ``(n, hidden_dims[-1])``."""
        return self._map_chunks(lambda codes: self._judge(codes)[0], self.bins.encode(x))

    def score(self, x: np.ndarray) -> np.ndarray:
        """Return the score of each row by the critic that saw no label, shape ``(n,)``."""
        return self._map_chunks(lambda codes: self._judge(codes)[1], self.bins.encode(x))

    def sample(self, y: np.ndarray, seed: int) -> np.ndarray:
        """Return one new encoded row of each class in ``y``, shape ``(len(y), n_features)``."""
        positions = self._positions(y)
        with seeded(seed):
            return self._map_chunks(self._rows_of, positions)

    def _fit(
        self,
        training: Encoded,
        held_out: Encoded,
        checkpoint: Path | None,
        progress: Progress | None,
    ) -> History:
        self.bins = RowBins.fit(training.x, self.spans, self.params.max_bins)
        with seeded(self.seed):
            self.base = self.network = GANNetwork(self.bins, self.params, 0)
        self._classes, self.shares = None, np.zeros((0, len(self.base.owner)))
        codes = torch.from_numpy(self.bins.encode(training.x))
        no_class = torch.zeros(len(codes), 0)
        history = self._train(
            self.base, codes, no_class, 1.0, checkpoint and checkpoint / "all", progress
        )
        if (training.y >= 0).any():
            self._learn_classes(training, held_out, checkpoint and checkpoint / "classes", progress)
        return history

    def _learn_classes(
        self,
        training: Encoded,
        held_out: Encoded,  # noqa: ARG002
        checkpoint: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        known = soft_labels(training.x, self._leading_features, training.y, self.seed)
        self._classes, shares = known.classes, torch.from_numpy(known.shares)
        codes = torch.from_numpy(self.bins.encode(training.x))
        with seeded(self.seed):
            self.network = GANNetwork(self.bins, self.params, len(known.classes))
        self.network.with_classes(self.base)
        self.shares = _code_shares(self.network.one_hot, codes, shares)
        length = self.params.class_share * max(MIN_CLASS_STEPS, float(np.mean(training.y >= 0)))
        self._train(self.network, codes, shares.log(), length, checkpoint, progress)

    def _leading_features(self, x: np.ndarray) -> np.ndarray:
        features = self.features(x)
        n_components = min(N_LEADING, *features.shape)
        return PCA(n_components, whiten=True, random_state=self.seed).fit_transform(features)

    def _train(
        self,
        network: GANNetwork,
        codes: Tensor,
        log_shares: Tensor,
        length: float,
        checkpoint: Path | None,
        progress: Progress | None,
    ) -> History:
        """Train a network, for ``length`` times the steps of the parameters.

        ``log_shares`` are the logs of rows' class probabilities, ``(n, n_classes)``.
        """
        epochs = max(1, round(length * self.params.n_epochs(len(codes))))
        n_steps = epochs * -(-len(codes) // self.params.batch_size)
        conditions = Conditions(codes, self.bins.n_codes)
        game = _Game(network, self.params, conditions, log_shares, epochs)
        players = [
            Player(network.critic, game.critic_loss),
            Player(network.generator, game.generator_loss),
        ]
        plan = self._plan(
            len(codes),
            epochs=epochs,
            betas=(0.5, 0.9),
            averaging=averaging_decay(n_steps, MAX_AVERAGING, MIN_AVERAGING),
        )
        return train(
            network,
            players,
            [codes, log_shares],
            plan,
            check=game.problem,
            compute=self.compute,
            width=max(self.params.hidden_dims),
            checkpoint=checkpoint,
            progress=progress,
        )

    def _judge(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        nothing = torch.full((len(codes),), -1)
        rows = self.base.one_hot(codes)
        return self.base.judge(nothing, rows, rows[:, :0])

    def _rows_of(self, position: Tensor) -> Tensor:
        network, n = self.network, len(position)
        columns = torch.randint(len(network.n_codes), (n,))
        # A code of the known column by the class's shares: the largest of exponential races.
        races = self._log_shares[position].masked_fill(
            network.owner != columns[:, None], -torch.inf
        )
        known = F.one_hot(
            races.sub_(torch.empty_like(races).exponential_().log_()).argmax(1), races.shape[1]
        )
        classes = F.one_hot(position, network.n_classes).float()
        rows = network.generate(columns, known.float(), classes)
        return self.bins.decode([block.argmax(1) for block in rows.split(network.n_codes, dim=1)])

    def _arrays(self) -> dict[str, np.ndarray]:
        base = {f"base.{name}": value.numpy() for name, value in self.base.state_dict().items()}
        classes = np.zeros(0, np.int64) if self._classes is None else self._classes
        own = {"classes": classes, "shares": self.shares}
        return own | base | self.bins.arrays()

    def _restore(self, arrays: dict[str, np.ndarray]) -> None:
        self.bins = RowBins.from_arrays(arrays, self.spans)
        self.shares = arrays["shares"]
        self.base = GANNetwork(self.bins, self.params, 0)
        state = {n: torch.from_numpy(arrays[f"base.{n}"]) for n in self.base.state_dict()}
        self.base.load_state_dict(state)
        self.base.eval()
        self.network = self.base
        if self._classes is not None:
            self.network = GANNetwork(self.bins, self.params, len(self._classes))

    @property
    def _log_shares(self) -> Tensor:
        return torch.from_numpy(self.shares).log()


class _Game:
    """The losses of both players; batches give the numbers of rows, conditions choose the rows."""

    def __init__(
        self,
        network: GANNetwork,
        params: GANParams,
        conditions: Conditions,
        log_shares: Tensor,
        n_epochs: int,
    ) -> None:
        self.network, self.params = network, params
        self.conditions, self.log_shares = conditions, log_shares
        self.first_judged = first_judged_epoch(n_epochs, len(log_shares), params.batch_size)
        self.epoch = 0

    def critic_loss(self, batch: Sequence[Tensor], epoch: int) -> Tensor:
        """How far the critic tells real rows from generated ones, with a penalty on its slope."""
        self.epoch = epoch
        columns, real, classes = self._real(batch)
        with torch.no_grad():
            fake = self.network.generate(columns, real, classes)
        _, scores = self.network.judge(
            columns.repeat(2), torch.cat([real, fake]), classes.repeat(2, 1)
        )
        of_real, of_fake = scores.chunk(2)
        penalty = gradient_penalty(
            lambda rows: self.network.judge(columns, rows, classes)[1], real, fake
        )
        return of_fake.mean() - of_real.mean() + self.params.gradient_penalty * penalty

    def generator_loss(self, batch: Sequence[Tensor], _epoch: int) -> Tensor:
        """How bad the critic finds generated rows."""
        columns, real, classes = self._real(batch)
        fake = self.network.generate(columns, real, classes)
        return -self.network.judge(columns, fake, classes)[1].mean()

    def problem(self) -> str | None:
        """Return in which way the generator has collapsed, if it has."""
        if self.epoch < self.first_judged:
            return None
        codes = thinned(self.conditions.codes)
        real = self.network.one_hot(codes)
        nothing = codes.new_full((len(codes),), -1)
        classes = drawn_classes(thinned(self.log_shares).to(codes.device))
        fake = self.network.generate(nothing, real, classes)
        return collapse(real, self.network.head.harden(fake))

    def _real(self, batch: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return known columns, real rows that have them, and their classes."""
        device = batch[0].device
        if self.log_shares.device != device:
            self.conditions.to(device)
            self.log_shares = self.log_shares.to(device)
        columns, rows = self.conditions.draw(len(batch[0]))
        real = self.network.one_hot(self.conditions.codes[rows])
        return columns, real, drawn_classes(self.log_shares[rows])


def drawn_classes(log_shares: Tensor) -> Tensor:
    """Return one class a row, one-hot, of logs of probabilities, both ``(n, n_classes)``."""
    if log_shares.shape[1] == 0:
        return log_shares
    return F.one_hot(drawn(log_shares), log_shares.shape[1]).float()


def _code_shares(one_hot: Callable[[Tensor], Tensor], codes: Tensor, shares: Tensor) -> np.ndarray:
    """Return each class's shares of each column's codes, ``(n_classes, n_all)``.

    Args:
        one_hot: Joins codes, one-hot, to rows ``(n, n_all)``; all rows at once are 5 GB of MNIST.
        codes: Codes of rows, shape ``(n, n_columns)``.
        shares: The rows' class probabilities, shape ``(n, n_classes)``.
    """
    weights = torch.cat([torch.ones(len(codes), 1), shares], 1).double()
    chunks = zip(codes.split(CHUNK_ROWS), weights.split(CHUNK_ROWS), strict=True)
    counts = torch.stack([some.T @ one_hot(rows).double() for rows, some in chunks]).sum(0)
    prior = PRIOR_ROWS * counts[0] / len(codes)
    return ((counts[1:] + prior) / (weights.sum(0)[1:, None] + PRIOR_ROWS)).float().numpy()
