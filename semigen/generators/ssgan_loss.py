"""Losses of the semi-supervised GAN."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.parametrize import cached

from semigen.generators.collapse import describe_collapse, first_checked_epoch, subsample
from semigen.generators.ssgan_network import SSGANNetwork
from semigen.methods.column_warps import ColumnWarps
from semigen.methods.vat import divergences, information, typical_distance, worst_step
from semigen.params.generators import SSGANParams

MIN_LABELED_BATCH = 64
"""If there are fewer labeled rows, each enters a step several times, with different noise."""


class SSGANLosses:
    """Losses of discriminator and generator, and the check for mode collapse.

    Batches are ``(x, guesses)``: rows ``(n, n_features)``, and their spread labels ``(n,)``, -1
    where there is none.

    Args:
        network: Both networks.
        params: Weights of the terms.
        labeled: Labeled rows, shape ``(n_labeled, n_features)``; every step uses some of them.
        targets: Their positions in the classes, shape ``(n_labeled,)``, int64.
        x: All training rows, shape ``(n, n_features)``.
        warps: Random warps of the columns; None for none.
    """

    def __init__(
        self,
        network: SSGANNetwork,
        params: SSGANParams,
        labeled: Tensor,
        targets: Tensor,
        x: Tensor,
        warps: ColumnWarps | None = None,
    ) -> None:
        self.network, self.params, self.warps = network, params, warps
        self.labeled, self.targets, self.real = labeled, targets, subsample(x)
        self.warmup_epochs = max(1e-9, params.consistency_warmup * params.epochs)
        self.first_checked = first_checked_epoch(params.epochs, params.n_steps(len(x)))
        self.radius = params.radius * typical_distance(x.numpy()) if params.smoothness else 0.0
        self.epoch = 0

    def discriminator_loss(self, batch: Sequence[Tensor], epoch: int) -> Tensor:
        """Return the loss on labeled, unlabeled and generated rows, with all regularizers."""
        (x, guesses), network, self.epoch = batch, self.network, epoch
        labeled, targets = self._labeled_batch(x)
        with torch.no_grad():
            fake = network.generator(network.sample_classes(len(x)))
        with cached():  # computes the normalized weights once for all passes
            _, logits = network.discriminator(torch.cat([labeled, x, fake]), noisy=True)
            labeled_logits, real_logits, fake_logits = logits.split(
                [len(labeled), len(x), len(fake)]
            )
            loss = unsupervised_loss(real_logits, fake_logits)
            if len(labeled):
                loss = loss + F.cross_entropy(labeled_logits, targets)
                loss = loss + self._guidance(real_logits, guesses)
                loss = loss + self._regularization(x, real_logits)
        return loss

    def _guidance(self, logits: Tensor, guesses: Tensor) -> Tensor:
        """Return the cross-entropy at the spread labels; its weight falls from epoch to epoch."""
        weight = max(0.0, 1 - self.epoch / max(1, self.params.guided_epochs))
        total = F.cross_entropy(logits, guesses, ignore_index=-1, reduction="sum")
        return weight * total / (guesses >= 0).sum().clamp_min(1)

    def _regularization(self, x: Tensor, noisy_logits: Tensor) -> Tensor:
        """Return consistency under noise, perturbations and warps, minus mutual information.

        Perturbed rows have noise too: a run without it merged classes (49 % held-out error on
        MNIST), though that run also had fewer guided epochs and a larger radius.

        Args:
            x: Rows, shape ``(n, n_features)``.
            noisy_logits: Their class logits with noise, shape ``(n, n_classes)``.
        """
        params, discriminator = self.params, self.network.discriminator

        def log_probabilities(rows: Tensor, *, noisy: bool = False) -> Tensor:
            return discriminator(rows, noisy=noisy)[1].log_softmax(1)

        with torch.no_grad():
            clean = log_probabilities(x)
        noisy = noisy_logits.log_softmax(1)
        loss = params.consistency * divergences(clean, noisy).mean()
        if params.smoothness:
            perturbed = x + worst_step(log_probabilities, x, clean, self.radius)
            predicted = log_probabilities(perturbed, noisy=True)
            loss = loss + params.smoothness * divergences(clean, predicted).mean()
        if self.warps:
            predicted = log_probabilities(self.warps(x), noisy=True)
            loss = loss + params.movement * divergences(clean, predicted).mean()
        mutual_information = information(noisy, self.network.log_shares.exp())
        warmup = min(1.0, self.epoch / self.warmup_epochs)
        return warmup * (loss - params.information * mutual_information)

    def generator_loss(self, batch: Sequence[Tensor], _epoch: int) -> Tensor:
        """Return the feature matching loss over all rows and over each class."""
        (x, _), network = batch, self.network
        one_hot = network.sample_classes(len(x))
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

    def check_collapse(self) -> str | None:
        """Return a description of a mode collapse, or None."""
        if self.epoch < self.first_checked:
            return None
        generator = self.network.generator
        one_hot = self.network.sample_classes(len(self.real))
        generated = generator.head.harden(generator(one_hot))
        return describe_collapse(self.real.to(one_hot.device), generated)

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
        return self.warps(labeled) if self.warps else labeled, targets


def unsupervised_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return the mean cross-entropy of discriminating unlabeled from generated rows.

    With ``Z(x)`` the sum of the exponentials of the K class logits, a row is real with probability
    ``Z / (Z + 1)``: the logit of an additional class "generated" is fixed to 0 (Salimans et al.
    2016, "Improved Techniques for Training GANs", section 5).

    Args:
        real_logits: Class logits of unlabeled rows, shape ``(n, n_classes)``.
        fake_logits: Class logits of generated rows, shape ``(m, n_classes)``.

    Returns:
        Scalar, in nats.
    """
    real_loss = F.softplus(-real_logits.logsumexp(1)).mean()
    fake_loss = F.softplus(fake_logits.logsumexp(1)).mean()
    return 0.5 * (real_loss + fake_loss)


def feature_matching(real: Tensor, fake: Tensor) -> Tensor:
    """Return the mean squared difference between the mean features of two batches.

    Salimans et al. (2016), section 3.1. It gives a good classifier, but rows of lower quality.

    Args:
        real: Features of real rows, shape ``(n, n_hidden)``.
        fake: Features of generated rows, shape ``(m, n_hidden)``.

    Returns:
        Scalar.
    """
    return (real.mean(0) - fake.mean(0)).square().mean()


def class_feature_matching(
    real: Tensor, probabilities: Tensor, fake: Tensor, one_hot: Tensor
) -> Tensor:
    """Return the mean squared difference between the mean features of each class.

    The term makes generated rows belong to their class (Bao et al. 2017, "CVAE-GAN", eq. 8); the
    classes of unlabeled rows are those that the discriminator predicts. A class has few rows in a
    batch, so the mean of its generated rows varies, and the squared difference contains this
    variance. Minimizing it would reward collapse, so an unbiased estimate of the variance is
    subtracted. The value may therefore be negative.

    Args:
        real: Features of real rows, shape ``(n, n_hidden)``.
        probabilities: Class probabilities of real rows, shape ``(n, n_classes)``.
        fake: Features of generated rows, shape ``(m, n_hidden)``.
        one_hot: Classes of generated rows, shape ``(m, n_classes)``.

    Returns:
        Scalar.
    """
    n_real, n_fake = probabilities.sum(0)[:, None], one_hot.sum(0)[:, None]
    real_means = probabilities.T @ real / n_real.clamp_min(1e-3)
    fake_means = one_hot.T @ fake / n_fake.clamp_min(1)
    variances = one_hot.T @ fake.square() / n_fake.clamp_min(1) - fake_means.square()
    excess = (fake_means - real_means).square() - variances / (n_fake - 1).clamp_min(1)
    # The mean of a class with very few real rows in the batch is unreliable.
    weights = n_real / (n_real + 3) * (n_fake > 1)
    return (weights * excess).mean()
