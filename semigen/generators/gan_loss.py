"""Losses of the conditional tabular GAN, and the sampling of its conditions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from semigen.generators.code_logits import sample_codes
from semigen.generators.collapse import describe_collapse, first_checked_epoch, subsample
from semigen.generators.gan_network import GANNetwork
from semigen.params.generators import GANParams


class ConditionSampler:
    """Training by sampling: conditions, each a column and a row that gives the column's code.

    A column is drawn with equal probability, then one of its codes by the logarithm of its
    frequency, then a row that has this code (Xu et al. 2019, "Modeling Tabular Data using
    Conditional GAN", section 4.3), so that rare categories are seen. Numeric columns take part with
    their bins. No column at all has the probability of one column.

    Args:
        codes: Codes of the training rows, shape ``(n, n_columns)``, int64.
        n_codes: Number of codes of every column.

    Examples:
        >>> conditions = ConditionSampler(torch.tensor([[0, 1], [1, 0], [1, 2]]), (2, 3))
        >>> columns, rows = conditions.sample(5)
        >>> columns.shape, rows.shape
        (torch.Size([5]), torch.Size([5]))
    """

    def __init__(self, codes: Tensor, n_codes: Sequence[int]) -> None:
        counts = [torch.bincount(c, minlength=n) for c, n in zip(codes.T, n_codes, strict=True)]
        widest = max(n_codes)
        padded = torch.stack([F.pad(c, (0, widest - len(c))) for c in counts])
        self.codes, self.counts = codes, padded
        self.order = codes.argsort(dim=0, stable=True).T.contiguous()
        self.starts = padded.cumsum(1) - padded
        self.log_frequencies = (1.0 + padded).log() * (padded > 0)

    def sample(self, n: int) -> tuple[Tensor, Tensor]:
        """Return ``n`` columns, -1 for none, and row numbers, both of shape ``(n,)``."""
        n_rows, n_columns = self.codes.shape
        columns = torch.randint(-1, n_columns, (n,)).to(self.codes.device)
        code = torch.multinomial(self.log_frequencies[columns], 1)[:, 0]
        count = self.counts[columns, code]
        uniform = torch.rand(n).to(count.device)
        within = (uniform * count).long().clamp_max(count - 1)
        with_code = self.order[columns, self.starts[columns, code] + within]
        anywhere = (uniform * n_rows).long().clamp_max(n_rows - 1)
        return columns, torch.where(columns < 0, anywhere, with_code)

    def to(self, device: torch.device) -> None:
        """Move all tensors to a device."""
        for name, tensor in vars(self).items():
            setattr(self, name, tensor.to(device))


class GANLosses:
    """Losses of critic and generator, and the check for mode collapse.

    The batches of the training loop only set the number of rows; the rows are those of the sampled
    conditions.

    Args:
        network: Both networks.
        params: Weight of the gradient penalty, and the batch size.
        conditions: Sampler of conditions, with the codes of the training rows.
        log_probabilities: Logarithms of the class probabilities of the training rows, shape
            ``(n, n_classes)``.
        n_epochs: Number of epochs that the losses count.
        n_steps: Steps of the training.
    """

    def __init__(
        self,
        network: GANNetwork,
        params: GANParams,
        conditions: ConditionSampler,
        log_probabilities: Tensor,
        n_epochs: int,
        n_steps: int,
    ) -> None:
        self.network, self.params = network, params
        self.conditions, self.log_probabilities = conditions, log_probabilities
        self.first_checked = first_checked_epoch(n_epochs, n_steps)
        self.epoch = 0

    def critic_loss(self, batch: Sequence[Tensor], epoch: int) -> Tensor:
        """Return the Wasserstein loss of the critic, plus the gradient penalty."""
        self.epoch = epoch
        columns, real, classes = self._sample_rows(batch)
        with torch.no_grad():
            fake = self.network.generate(columns, real, classes)
        _, scores = self.network.criticize(
            columns.repeat(2), torch.cat([real, fake]), classes.repeat(2, 1)
        )
        real_scores, fake_scores = scores.chunk(2)
        penalty = gradient_penalty(
            lambda rows: self.network.criticize(columns, rows, classes)[1], real, fake
        )
        return fake_scores.mean() - real_scores.mean() + self.params.gradient_penalty * penalty

    def generator_loss(self, batch: Sequence[Tensor], _epoch: int) -> Tensor:
        """Return minus the mean score of generated rows."""
        columns, real, classes = self._sample_rows(batch)
        fake = self.network.generate(columns, real, classes)
        return -self.network.criticize(columns, fake, classes)[1].mean()

    def check_collapse(self) -> str | None:
        """Return a description of a mode collapse, or None."""
        if self.epoch < self.first_checked:
            return None
        codes = subsample(self.conditions.codes)
        real = self.network.one_hot(codes)
        no_column = codes.new_full((len(codes),), -1)
        classes = sample_classes(subsample(self.log_probabilities).to(codes.device))
        fake = self.network.generate(no_column, real, classes)
        return describe_collapse(real, self.network.head.harden(fake))

    def _sample_rows(self, batch: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return given columns, real rows that give them, and classes of the rows."""
        device = batch[0].device
        if self.log_probabilities.device != device:
            self.conditions.to(device)
            self.log_probabilities = self.log_probabilities.to(device)
        columns, rows = self.conditions.sample(len(batch[0]))
        real = self.network.one_hot(self.conditions.codes[rows])
        return columns, real, sample_classes(self.log_probabilities[rows])


def gradient_penalty(score: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """Return the mean squared deviation of the critic's gradient norm from 1.

    Gulrajani et al. (2017, "Improved Training of Wasserstein GANs", eq. 3): at points drawn on the
    lines between real and generated rows.

    Args:
        score: The critic, which maps rows ``(n, n_all)`` to scores ``(n,)``.
        real: Real rows, shape ``(n, n_all)``.
        fake: Generated rows, same shape.

    Returns:
        Scalar.
    """
    weight = torch.rand(len(real), 1, device=real.device)
    points = (weight * real + (1 - weight) * fake).requires_grad_()
    (gradient,) = torch.autograd.grad(score(points).sum(), points, create_graph=True)
    return (gradient.norm(dim=1) - 1).square().mean()


def sample_classes(log_probabilities: Tensor) -> Tensor:
    """Draw a class for every row.

    Args:
        log_probabilities: Shape ``(n, n_classes)``; ``n_classes`` may be 0.

    Returns:
        One-hot classes of the same shape.
    """
    n_classes = log_probabilities.shape[1]
    if n_classes == 0:
        return log_probabilities
    return F.one_hot(sample_codes(log_probabilities), n_classes).float()
