"""Loss of semi-supervised VAEs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from semigen.generators.ssvae_network import AuxiliarySample, SSVAENetwork
from semigen.generators.vae import kl_warmup
from semigen.methods.vat import (
    divergences,
    information,
    typical_distance,
    worst_step,
)
from semigen.params.generators import SSVAEParams


class SSVAELoss:
    """The mean loss of a batch ``(x, y, guesses)``.

    The sum of

    - ``-bound / alpha``: the evidence lower bound; for unlabeled rows, ``y`` is marginalized
      (Kingma et al. 2014, eq. 6 and 7);
    - the cross-entropy of ``q(y | x)`` at the labels (eq. 9; their ``alpha`` is moved to the other
      term, and the losses are means over rows). Every batch contains additional labeled rows;
    - in the first ``guided_epochs``, the cross-entropy at the spread labels, which also replace
      ``y`` in the bound;
    - in later epochs, ``smoothness`` times the divergence between ``q(y | x)`` and its value at an
      adversarial perturbation of ``x`` (virtual adversarial training; Miyato et al. 2018), minus
      ``information`` times the mutual information of ``x`` and ``y``, without which a smooth
      classifier converges to the same prediction for all rows (Hu et al. 2017, "Learning Discrete
      Representations via Information Maximizing Self-Augmented Training", eq. 10).

    In evaluation mode the loss is the negative bound.

    Args:
        network: The network.
        params: Weights of the terms.
        x: Inputs of all training rows, shape ``(n, n_inputs)``.
        y: Their positions in the classes, -1 where unlabeled, shape ``(n,)``.

    **Shape**: of a batch, ``x`` ``(n, n_inputs)``, ``y`` and ``guesses`` ``(n,)`` int64, -1 where
    there is none.
    """

    def __init__(
        self, network: SSVAENetwork, params: SSVAEParams, x: np.ndarray, y: np.ndarray
    ) -> None:
        self.network, self.params = network, params
        is_labeled = y >= 0
        self.labeled = [torch.from_numpy(array[is_labeled]) for array in (x, y)]
        frequencies = np.bincount(y[is_labeled], minlength=network.n_classes) / is_labeled.sum()
        self.class_frequencies = torch.from_numpy(frequencies.astype(np.float32))
        self.radius = params.radius * typical_distance(x) if params.smoothness else 0.0

    def __call__(self, batch: Sequence[Tensor], epoch: int) -> Tensor:
        x, y, guesses = batch
        network, params = self.network, self.params
        if not network.training:
            a = network.sample_auxiliary(x)
            log_probabilities = network.logits(x, a).log_softmax(1)
            return -marginal_bounds(network, x, a, y, log_probabilities, params.max_classes).mean()

        labeled_x, labeled_y = self._labeled_batch(x)
        all_x = torch.cat([x, labeled_x])
        all_a = network.sample_auxiliary(all_x)
        logits = network.logits(all_x, all_a)
        a, log_probabilities = all_a.first(len(x)), logits[: len(x)].log_softmax(1)
        is_guided = epoch < params.guided_epochs
        warmup = kl_warmup(epoch, params.warmup_epochs, params.epochs)
        bounds = marginal_bounds(
            network,
            x,
            a,
            torch.where(y < 0, guesses, y) if is_guided else y,
            log_probabilities,
            params.max_classes,
            beta=params.beta * warmup,
        )
        loss = _cross_entropy(logits, torch.cat([y, labeled_y])) - bounds.mean() / params.alpha
        if is_guided:
            return loss + _cross_entropy(log_probabilities, guesses)
        if params.smoothness:
            loss = loss + params.smoothness * self._adversarial_divergence(x, a, log_probabilities)
        expected = self.class_frequencies.to(x.device)
        return loss - params.information * information(log_probabilities, expected)

    def _labeled_batch(self, x: Tensor) -> Sequence[Tensor]:
        """Draw labeled rows, at most an eighth of the batch size."""
        labeled_x, labeled_y = (tensor.to(x.device) for tensor in self.labeled)
        n_rows = min(len(labeled_y), max(1, self.params.batch_size // 8))
        rows = torch.randint(len(labeled_y), (n_rows,), device=x.device)
        return labeled_x[rows], labeled_y[rows]

    def _adversarial_divergence(
        self, x: Tensor, a: AuxiliarySample, log_probabilities: Tensor
    ) -> Tensor:
        """Return the mean divergence of ``q(y | x)`` from its value at a perturbed ``x``."""
        a, target = a.detach(), log_probabilities.detach()

        def classify(rows: Tensor) -> Tensor:
            return self.network.logits(rows, a).log_softmax(1)

        perturbation = worst_step(classify, x, target, self.radius)
        return divergences(target, classify(x + perturbation)).mean()


def marginal_bounds(
    network: SSVAENetwork,
    x: Tensor,
    a: AuxiliarySample,
    y: Tensor,
    log_probabilities: Tensor,
    max_classes: int,
    beta: float = 1.0,
) -> Tensor:
    """Return a lower bound of ``log p(x, y)`` of labeled rows, and of ``log p(x)`` of others.

    ``y`` is marginalized by enumerating all classes, or the ``max_classes`` most probable ones. The
    truncated and normalized posterior is a variational posterior too, so the result is a lower
    bound (Lücke & Eggert 2010, "Expectation Truncation").

    Args:
        network: The network.
        x: Rows, shape ``(n, n_inputs)``.
        a: Sample of the auxiliary variable of each row.
        y: Positions in the classes, -1 where unlabeled, shape ``(n,)``.
        log_probabilities: ``log q(y | x)``, shape ``(n, n_classes)``.
        max_classes: Maximum number of classes that are enumerated.
        beta: See ``SSVAENetwork.log_weights``.

    Returns:
        Shape ``(n,)``, in nats.
    """
    labeled, unlabeled = (y >= 0).nonzero()[:, 0], (y < 0).nonzero()[:, 0]
    log_posterior, classes = candidate_classes(log_probabilities[unlabeled], max_classes)
    rows = torch.cat([labeled, unlabeled.repeat_interleave(classes.shape[1])])
    weights = network.log_weights(x, a, rows, torch.cat([y[labeled], classes.flatten()]), beta)
    labeled_bounds, by_class = weights.split([len(labeled), classes.numel()])
    terms = log_posterior.exp() * (by_class.view_as(log_posterior) - log_posterior)
    bounds = torch.zeros(len(x), dtype=weights.dtype, device=x.device)
    return bounds.index_put((labeled,), labeled_bounds).index_put((unlabeled,), terms.sum(1))


def candidate_classes(log_probabilities: Tensor, max_classes: int) -> tuple[Tensor, Tensor]:
    """Return the most probable classes of each row.

    Args:
        log_probabilities: Shape ``(n, n_classes)``.
        max_classes: Maximum number of classes of a row.

    Returns:
        Normalized log probabilities and positions of the classes, both ``(n, n_candidates)``.

    Examples:
        >>> log_posterior, classes = candidate_classes(torch.tensor([[0.1, 0.6, 0.3]]).log(), 2)
        >>> classes, log_posterior.exp()
        (tensor([[1, 2]]), tensor([[0.6667, 0.3333]]))
    """
    best = log_probabilities.topk(min(max_classes, log_probabilities.shape[1]), dim=1)
    return best.values.log_softmax(1), best.indices


def _cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return the mean cross-entropy of the labeled rows; 0 if there are none."""
    total = F.cross_entropy(logits, y, ignore_index=-1, reduction="sum")
    return total / (y >= 0).sum().clamp(min=1)
