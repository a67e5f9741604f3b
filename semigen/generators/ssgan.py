"""Semi-supervised GAN: its discriminator tells the classes, and real rows from generated ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import cached

from semigen.generators.collapse import collapse, first_judged_epoch, thinned
from semigen.generators.network_model import NetworkModel
from semigen.generators.row_head import RowHead
from semigen.methods.class_index import class_positions, find_classes
from semigen.methods.column_warps import Movements
from semigen.methods.label_spreading import guess_labels
from semigen.methods.vat import (
    divergences,
    information,
    typical_distance,
    worst_step,
)
from semigen.params.config import ComputeParams
from semigen.params.generators import SSGANParams
from semigen.tables.encoding import Encoded, Span
from semigen.training.averaging import averaging_decay
from semigen.training.compute import seeded
from semigen.training.engine import train
from semigen.training.plan import History, Player
from semigen.training.progress import Progress

GRAPH_COMPONENTS = 60
"""Principal components of wide rows in the graph that spreads the labels. On MNIST the graph takes
20 s, and of the surest 90 % of its labels 1.5 % are wrong; that of the pixels was not done after a
minute."""
N_INITIAL = 500
"""Rows whose moments set the discriminator's first biases and scales."""
MIN_LABELED_BATCH = 64
"""Fewer labeled rows than that enter a step more than once, each time with noise of its own."""
TEMPERATURE = 0.5
"""Of the generator's relaxed draws."""
NOISE_POOL = 2**22
MIN_AVERAGING, MAX_AVERAGING = 0.5, 1 - 1 / 1000
"""Decay, per step, of the moving average of the weights in very short and in long trainings."""


def unsupervised_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return the mean cross-entropy of telling unlabeled rows from generated ones.

    With ``Z(x)`` the sum of the exponentials of the K class logits, a row is real with probability
    ``Z / (Z + 1)``: the logit of a further class "generated" is fixed to 0 (Salimans et al. 2016,
    "Improved Techniques for Training GANs", section 5).

    Args:
        real_logits: Class logits of unlabeled rows, shape ``(n, n_classes)``.
        fake_logits: Class logits of generated rows, shape ``(m, n_classes)``.
    """
    is_real = F.softplus(-real_logits.logsumexp(1)).mean()
    is_fake = F.softplus(fake_logits.logsumexp(1)).mean()
    return 0.5 * (is_real + is_fake)


def feature_matching(real: Tensor, fake: Tensor) -> Tensor:
    """Return the mean squared difference between the mean features of two batches.

    Salimans et al. (2016), section 3.1. It makes a good classifier and poor rows.

    Args:
        real: Features of real rows, shape ``(n, n_hidden)``.
        fake: Features of generated rows, shape ``(m, n_hidden)``.
    """
    return (real.mean(0) - fake.mean(0)).square().mean()


def class_feature_matching(real: Tensor, shares: Tensor, fake: Tensor, one_hot: Tensor) -> Tensor:
    """Return the mean squared difference between the classes' mean features, per class.

    What holds generated rows to their class (Bao et al. 2017, "CVAE-GAN", eq. 8), with the classes
    of unlabeled real rows given by the discriminator. A class has few rows in a batch, so the mean
    of its generated rows varies; squaring would charge that variance and so reward collapse, which
    is why an unbiased estimate of it is taken off. The value may therefore be below 0.

    Args:
        real: Features of real rows, shape ``(n, n_hidden)``.
        shares: Their class probabilities, shape ``(n, n_classes)``.
        fake: Features of generated rows, shape ``(m, n_hidden)``.
        one_hot: Classes that they were asked for, shape ``(m, n_classes)``.
    """
    n_real, n_fake = shares.sum(0)[:, None], one_hot.sum(0)[:, None]
    real_means = shares.T @ real / n_real.clamp_min(1e-3)
    fake_means = one_hot.T @ fake / n_fake.clamp_min(1)
    variances = one_hot.T @ fake.square() / n_fake.clamp_min(1) - fake_means.square()
    excess = (fake_means - real_means).square() - variances / (n_fake - 1).clamp_min(1)
    # A class that is hardly there among the real rows of a batch has no mean worth matching.
    weights = n_real / (n_real + 3) * (n_fake > 1)
    return (weights * excess).mean()


class NoisePool(nn.Module):
    """Standard normal noise as slices, at random places, of a pool drawn once.

    Drawing every number afresh took a quarter of a training step.
    """

    pool: Tensor

    def __init__(self) -> None:
        super().__init__()
        pool = torch.randn(NOISE_POOL).bfloat16()
        self.register_buffer("pool", pool, persistent=False)

    def forward(self, x: Tensor, scale: float) -> Tensor:
        """Return rows ``(n, n_features)`` with noise of a standard deviation added."""
        if x.numel() > len(self.pool):
            return x + scale * torch.randn_like(x)
        start = int(torch.randint(len(self.pool) - x.numel() + 1, ()))
        return torch.add(x, self.pool[start : start + x.numel()].view(x.shape), alpha=scale)


class Discriminator(nn.Module):
    """Class logits of rows, through weight-normalized layers with noise before each of them.

    The architecture of Salimans et al. (2016) for MNIST: the scales of the hidden layers are set
    from data and fixed (Salimans & Kingma 2016, "Weight Normalization", section 3), the last
    layer's are learned.
    """

    def __init__(self, n_features: int, params: SSGANParams, n_classes: int) -> None:
        super().__init__()
        widths = (n_features, *params.hidden_dims)
        self.hidden = nn.ModuleList(_weight_normalized(*pair) for pair in pairwise(widths))
        for layer in self.hidden:
            _scale(layer).requires_grad_(False)
        self.out = _weight_normalized(widths[-1], n_classes)
        self.noise = NoisePool()
        self.scales = (params.input_noise, *[params.hidden_noise] * len(params.hidden_dims))

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Set scales and biases so that rows ``x``, with noise, give outputs of variance 1.

        Without the noise the scales would be larger, by layer more so, and the noise of the deeper
        layers small beside their signals.
        """
        x = x + self.scales[0] * torch.randn_like(x)
        for layer, scale in zip((*self.hidden, self.out), (*self.scales[1:], 0.0), strict=True):
            layer.bias.zero_()
            outputs = layer(x)
            spread = outputs.std(0).clamp_min(1e-2)
            _scale(layer).div_(spread[:, None])
            layer.bias.copy_(-outputs.mean(0) / spread)
            features = F.relu(layer(x))
            x = features + scale * torch.randn_like(features)

    def forward(self, x: Tensor, *, noisy: bool) -> tuple[Tensor, Tensor]:
        """Return features ``(n, hidden_dims[-1])`` and class logits ``(n, n_classes)``."""
        features = x
        x = self.noise(x, self.scales[0]) if noisy else x
        for layer, scale in zip(self.hidden, self.scales[1:], strict=True):
            features = F.relu(layer(x))
            x = self.noise(features, scale) if noisy else features
        return features.float(), self.out(x).float()


class Generator(nn.Module):
    """Relaxed rows from uniform codes and classes; batch-normalized, softplus (Salimans et al.)."""

    def __init__(self, spans: Sequence[Span], params: SSGANParams, n_classes: int) -> None:
        super().__init__()
        self.latent_dim, layers = params.latent_dim, []
        n_in = params.latent_dim + n_classes
        for width in params.generator_dims:
            layers += [nn.Linear(n_in, width, bias=False), nn.BatchNorm1d(width), nn.Softplus()]
            n_in = width
        self.body = nn.Sequential(*layers)
        self.out = _weight_normalized(n_in, spans[-1].stop)
        self.head = RowHead(spans, TEMPERATURE)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Let rows be bounded as training rows ``x`` are, and start near their mean."""
        self.out.bias.copy_(self.head.learn_bounds(x))

    def forward(self, one_hot: Tensor) -> Tensor:
        """Return rows ``(n, n_features)`` of classes ``(n, n_classes)``."""
        codes = torch.rand(len(one_hot), self.latent_dim, device=one_hot.device)
        return self.head(self.out(self.body(torch.cat([codes, one_hot], 1))))


class SSGANNetwork(nn.Module):
    """Discriminator and generator; without labels there is one class, of all rows."""

    log_shares: Tensor

    def __init__(self, spans: Sequence[Span], params: SSGANParams, n_classes: int) -> None:
        super().__init__()
        self.discriminator = Discriminator(spans[-1].stop, params, n_classes)
        self.generator = Generator(spans, params, n_classes)
        self.register_buffer("log_shares", torch.zeros(n_classes))

    def random_classes(self, n: int) -> Tensor:
        """Return classes with the shares that they have among labeled rows, one-hot.

        Spread as evenly over the batch as whole rows allow: a class's mean needs rows.
        """
        ends = self.log_shares.exp().cumsum(0)
        places = (torch.arange(n, device=ends.device) + float(torch.rand(()))) / n * ends[-1]
        drawn = torch.searchsorted(ends, places, right=True).clamp_max(len(ends) - 1)
        return F.one_hot(drawn, len(ends)).float()


class SSGAN(NetworkModel[SSGANParams]):
    """Semi-supervised GAN of Salimans et al. (2016): its discriminator is the classifier.

    The discriminator tells K classes of labeled rows, and real rows of any class from generated
    ones; the generator matches its mean features. Dai et al. (2017, "Good Semi-supervised Learning
    That Requires a Bad GAN") say why that helps: generated rows between the classes push the
    boundary there. Added to the paper's recipe: labels spread over the graph of nearest neighbors
    (``label_graph``) lead the first epochs, for 100 labels alone put many rows into wrong classes
    that later epochs would confirm. The prediction for an unlabeled row is drawn to the one without
    noise, under noise (``consistency``; Wei et al. 2018, "Improving the Improved Training of
    Wasserstein GANs", join such a term to a semi-supervised GAN) and under noise a step away in the
    worst direction (``smoothness``; Miyato et al. 2018, "Virtual Adversarial Training"), and to
    that of the row moved along the geometry of its columns (``movements``). Historical
    averaging has its modern form, an exponential moving average of the weights, with which the
    network predicts (Yazıcı et al. 2019, "The Unusual Effectiveness of Averaging in GAN Training").

    The generator takes the class as an input and matches each class's mean features: asked for 500
    rows of a class, it makes 500 rows of that class in one pass, as the discriminator sees it (Bao
    et al. 2017, "CVAE-GAN"). Matched means are no matched distributions: digits come out well, but
    rows of mixed tables are poorer than those of the other families.
    """

    family = "ssgan"
    params_type = SSGANParams
    network: SSGANNetwork

    def __init__(
        self,
        spans: Sequence[Span],
        params: SSGANParams,
        compute: ComputeParams | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(spans, params, compute, seed)
        self._build()

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Return probabilities of ``classes_``, shape ``(n, n_classes)``."""
        _ = self.classes_
        return self._map_chunks(lambda c: self._see(c)[1].softmax(1), x)

    def features(self, x: np.ndarray) -> np.ndarray:
        """Return the discriminator's last hidden layer, shape ``(n, hidden_dims[-1])``."""
        return self._map_chunks(lambda chunk: self._see(chunk)[0], x)

    def sample(self, y: np.ndarray, seed: int) -> np.ndarray:
        """Return one new encoded row of each class in ``y``, shape ``(len(y), n_features)``."""
        positions = self._positions(y)
        with seeded(seed):
            return self._map_chunks(self._rows_of, positions)

    def score(self, x: np.ndarray) -> np.ndarray:
        """Return the log-odds of each row being real rather than generated, shape ``(n,)``."""
        return self._map_chunks(lambda chunk: self._see(chunk)[1].logsumexp(1), x)

    def _fit(
        self,
        training: Encoded,
        held_out: Encoded,  # noqa: ARG002
        checkpoint: Path | None,
        progress: Progress | None,
    ) -> History:
        x, is_labeled = torch.from_numpy(training.x), training.y >= 0
        self._classes = np.unique(training.y[is_labeled]) if is_labeled.any() else None
        self._build()
        self._prepare(x, training.y[is_labeled])
        guess = torch.from_numpy(self._guess(training))
        labeled = torch.from_numpy(training.x[is_labeled])
        targets = torch.zeros(0, dtype=torch.int64)
        if self._classes is not None:
            targets = torch.from_numpy(class_positions(training.y[is_labeled], self._classes))
        n_epochs = self.params.n_epochs(len(x))
        n_steps = n_epochs * -(-len(x) // self.params.batch_size)
        moved = Movements(training.x, self.spans, self.seed) if self.params.movement else None
        game = _Game(self.network, self.params, labeled, targets, x, n_epochs, moved)
        players = [
            Player(self.network.discriminator, game.discriminator_loss),
            Player(self.network.generator, game.generator_loss, self.params.generator_rate),
        ]
        plan = self._plan(
            len(x),
            schedule="late",
            betas=(0.5, 0.999),
            averaging=averaging_decay(n_steps, MAX_AVERAGING, MIN_AVERAGING),
            objective=f"ssgan {self.params.model_dump_json()} {_digest(labeled, targets)}",
        )
        return train(
            self.network,
            players,
            [x, guess],
            plan,
            check=game.problem,
            compute=self.compute,
            width=max(self.params.hidden_dims),
            checkpoint=checkpoint,
            progress=progress,
        )

    def _learn_classes(self, training: Encoded, held_out: Encoded) -> None:
        """Train anew: every weight of the discriminator depends on the labels."""
        self._fit(training, held_out, None, None)
        self._set_held_out_scores(held_out.x)

    def _build(self) -> None:
        n_classes = 1 if self._classes is None else len(self._classes)
        with seeded(self.seed):
            self.network = SSGANNetwork(self.spans, self.params, n_classes)

    def _prepare(self, x: Tensor, y: np.ndarray) -> None:
        """Set what depends on the training rows ``x`` and the known labels ``y`` but is no loss."""
        if len(y):
            shares = np.unique(y, return_counts=True)[1] / len(y)
            self.network.log_shares.copy_(torch.from_numpy(np.log(shares)))
        with seeded(self.seed):
            self.network.discriminator.initialize(x[torch.randperm(len(x))[:N_INITIAL]])
        self.network.generator.initialize(x)

    def _guess(self, training: Encoded) -> np.ndarray:
        """Return places in ``classes_`` of the surest rows by spread labels, -1 elsewhere."""
        params = self.params
        if self._classes is None or not params.guided_epochs:
            return np.full(len(training.y), -1)
        return guess_labels(
            _principal_scores(training.x),
            find_classes(training.y, self._classes),
            n_neighbors=params.n_neighbors,
            confident_share=params.confident_share,
        )

    def _see(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.discriminator(x, noisy=False)

    def _rows_of(self, position: Tensor) -> Tensor:
        generator = self.network.generator
        return generator.head.harden(generator(F.one_hot(position, len(self.classes_)).float()))

    def _arrays(self) -> dict[str, np.ndarray]:
        return {"classes": np.zeros(0, np.int64) if self._classes is None else self._classes}

    def _restore(self, arrays: dict[str, np.ndarray]) -> None:  # noqa: ARG002
        self._build()


class _Game:
    """The losses of both players, and the labeled rows that every step of the first one sees."""

    def __init__(
        self,
        network: SSGANNetwork,
        params: SSGANParams,
        labeled: Tensor,
        targets: Tensor,
        x: Tensor,
        n_epochs: int,
        moved: Movements | None = None,
    ) -> None:
        self.network, self.params, self.moved = network, params, moved
        self.labeled, self.targets, self.real = labeled, targets, thinned(x)
        self.warmup_epochs = max(1e-9, params.consistency_warmup * n_epochs)
        self.first_judged = first_judged_epoch(n_epochs, len(x), params.batch_size)
        self.radius = params.radius * typical_distance(x.numpy()) if params.smoothness else 0.0
        self.epoch = 0

    def discriminator_loss(self, batch: Sequence[Tensor], epoch: int) -> Tensor:
        """Classes of labeled rows, real against generated, spread labels and smoothness."""
        (x, guess), network, self.epoch = batch, self.network, epoch
        labeled, targets = self._labeled_batch(x)
        with torch.no_grad():
            fake = network.generator(network.random_classes(len(x)))
        with cached():  # the normalized weights serve all passes
            _, logits = network.discriminator(torch.cat([labeled, x, fake]), noisy=True)
            known, real, generated = logits.split([len(labeled), len(x), len(fake)])
            loss = unsupervised_loss(real, generated)
            if len(labeled):
                loss = loss + F.cross_entropy(known, targets)
                loss = loss + self._guidance(real, guess) + self._smoothness(x, real)
        return loss

    def _guidance(self, logits: Tensor, guess: Tensor) -> Tensor:
        """Return the cross-entropy at the spread labels, which matter less and less."""
        weight = max(0.0, 1 - self.epoch / max(1, self.params.guided_epochs))
        total = F.cross_entropy(logits, guess, ignore_index=-1, reduction="sum")
        return weight * total / (guess >= 0).sum().clamp_min(1)

    def _smoothness(self, x: Tensor, noisy: Tensor) -> Tensor:
        """Return what it costs to answer otherwise under noise, a step away or moved, or unsurely.

        The rows a step away have noise too: the one run without it merged classes (49 % held-out
        error on MNIST), though it had fewer guided epochs and a longer step as well.

        Args:
            x: Rows, shape ``(n, n_features)``.
            noisy: Their class logits with noise, shape ``(n, n_classes)``.
        """
        params, discriminator = self.params, self.network.discriminator

        def log_shares_of(rows: Tensor, *, noisy: bool = False) -> Tensor:
            return discriminator(rows, noisy=noisy)[1].log_softmax(1)

        with torch.no_grad():
            clean = log_shares_of(x)
        log_shares = noisy.log_softmax(1)
        loss = params.consistency * divergences(clean, log_shares).mean()
        if params.smoothness:
            moved = x + worst_step(log_shares_of, x, clean, self.radius)
            shares_there = log_shares_of(moved, noisy=True)
            loss = loss + params.smoothness * divergences(clean, shares_there).mean()
        if self.moved:
            shares_moved = log_shares_of(self.moved(x), noisy=True)
            loss = loss + params.movement * divergences(clean, shares_moved).mean()
        known = information(log_shares, self.network.log_shares.exp())
        return min(1.0, self.epoch / self.warmup_epochs) * (loss - params.information * known)

    def generator_loss(self, batch: Sequence[Tensor], _epoch: int) -> Tensor:
        """Mean features of all rows and of every class."""
        (x, _), network = batch, self.network
        one_hot = network.random_classes(len(x))
        generated = network.generator(one_hot)
        with cached():
            fake, _ = network.discriminator(generated, noisy=True)
            with torch.no_grad():
                real, logits = network.discriminator(x, noisy=True)
        loss = feature_matching(real, fake)
        if len(self.labeled):
            by_class = class_feature_matching(real, logits.softmax(1), fake, one_hot)
            loss = loss + self.params.class_matching * by_class
        return loss

    def problem(self) -> str | None:
        """Return in which way the generator has collapsed, if it has."""
        if self.epoch < self.first_judged:
            return None
        generator = self.network.generator
        one_hot = self.network.random_classes(len(self.real))
        return collapse(self.real.to(one_hot.device), generator.head.harden(generator(one_hot)))

    def _labeled_batch(self, x: Tensor) -> tuple[Tensor, Tensor]:
        n_labeled, device = len(self.labeled), x.device
        if n_labeled == 0:
            return x[:0], self.targets
        if self.labeled.device != device:
            self.labeled, self.targets = self.labeled.to(device), self.targets.to(device)
        if n_labeled <= len(x):
            copies = -(-min(MIN_LABELED_BATCH, len(x)) // n_labeled)
            labeled, targets = self.labeled.repeat(copies, 1), self.targets.repeat(copies)
        else:
            rows = torch.randint(n_labeled, (len(x),)).to(device)
            labeled, targets = self.labeled[rows], self.targets[rows]
        return self.moved(labeled) if self.moved else labeled, targets


def _principal_scores(x: np.ndarray) -> np.ndarray:
    """Return the leading principal components ``(n, GRAPH_COMPONENTS)`` of rows, or narrow rows."""
    n_components = min(GRAPH_COMPONENTS, len(x))
    if x.shape[1] <= n_components:
        return x
    return PCA(n_components, svd_solver="covariance_eigh").fit_transform(x)


def _weight_normalized(n_in: int, n_out: int) -> nn.Linear:
    layer = nn.Linear(n_in, n_out)
    nn.init.normal_(layer.weight, std=0.1)
    nn.init.zeros_(layer.bias)
    layer = weight_norm(layer)
    _scale(layer).data.fill_(1.0)
    return layer


def _scale(layer: nn.Module) -> nn.Parameter:
    """Return the norms of a weight-normalized layer's rows, shape ``(n_out, 1)``."""
    return layer.parametrizations.weight.original0  # type: ignore[union-attr,return-value]


def _digest(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
