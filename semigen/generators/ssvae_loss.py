"""What a semi-supervised VAE minimizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from semigen.generators.ssvae_network import AuxiliaryDraw, SSVAENetwork
from semigen.methods.vat import (
    divergences,
    information,
    typical_distance,
    worst_step,
)
from semigen.params.generators import SSVAEParams


class SSVAELoss:
    """The mean loss of a batch ``(x, y, guess)``, as the training engine asks for it.

    The sum of

    - ``-bound / alpha``: the evidence lower bound of rows with a label, and of rows without one
      with ``y`` marginalized (Kingma et al. 2014, eq. 6 and 7);
    - the cross-entropy of ``q(y | x)`` at the labels (eq. 9; ``alpha`` is theirs, moved to the
      other term, and counts mean rows). Labels are few, so that every batch gets some;
    - in the first ``guided_epochs``, the cross-entropy at the spread labels, which stand in for
      ``y`` in the bound too;
    - after them ``smoothness`` times the divergence of ``q(y | x)`` from itself a small step away
      in the direction that changes it most (virtual adversarial training: Miyato et al. 2018), and
      minus the information that ``q(y | x)`` carries about ``y``, without which a smooth classifier
      drifts to no answer at all (Hu et al. 2017, "Learning Discrete Representations via Information
      Maximizing Self-Augmented Training", eq. 10).

    In evaluation mode it is the negative bound alone.

    Args:
        network: The network.
        params: Weights of the terms.
        x: All training rows, of which the labeled ones are repeated.
        y: Their class indices, -1 where unlabeled.
    """

    def __init__(
        self, network: SSVAENetwork, params: SSVAEParams, x: np.ndarray, y: np.ndarray
    ) -> None:
        self.network, self.params = network, params
        is_labeled = y >= 0
        self.labeled = [torch.from_numpy(array[is_labeled]) for array in (x, y)]
        shares = np.bincount(y[is_labeled], minlength=network.n_classes) / is_labeled.sum()
        self.shares = torch.from_numpy(shares.astype(np.float32))
        self.radius = params.radius * typical_distance(x) if params.smoothness else 0.0

    def __call__(self, batch: Sequence[Tensor], epoch: int) -> Tensor:
        x, y, guess = batch
        network, params = self.network, self.params
        if not network.training:
            a = network.draw_auxiliary(x)
            log_shares = network.logits(x, a).log_softmax(1)
            return -marginal_bounds(network, x, a, y, log_shares, params.max_classes).mean()

        more_x, more_y = self._more_labeled(x)
        everything = torch.cat([x, more_x])
        a_everything = network.draw_auxiliary(everything)
        logits = network.logits(everything, a_everything)
        a, log_shares = a_everything.first(len(x)), logits[: len(x)].log_softmax(1)
        is_guided = epoch < params.guided_epochs
        warm = min(1.0, (epoch + 1) / (params.warmup_epochs + 1))
        bounds = marginal_bounds(
            network,
            x,
            a,
            torch.where(y < 0, guess, y) if is_guided else y,
            log_shares,
            params.max_classes,
            beta=params.beta * warm,
        )
        loss = _cross_entropy(logits, torch.cat([y, more_y])) - bounds.mean() / params.alpha
        if is_guided:
            return loss + _cross_entropy(log_shares, guess)
        if params.smoothness:
            loss = loss + params.smoothness * self._roughness(x, a, log_shares)
        expected = self.shares.to(x.device)
        return loss - params.information * information(log_shares, expected)

    def _more_labeled(self, x: Tensor) -> Sequence[Tensor]:
        """Return labeled rows drawn anew for every batch, an eighth of its size at most."""
        labeled_x, labeled_y = (tensor.to(x.device) for tensor in self.labeled)
        n_drawn = min(len(labeled_y), max(1, self.params.batch_size // 8))
        drawn = torch.randint(len(labeled_y), (n_drawn,), device=x.device)
        return labeled_x[drawn], labeled_y[drawn]

    def _roughness(self, x: Tensor, a: AuxiliaryDraw, log_shares: Tensor) -> Tensor:
        """Return the mean divergence of ``q(y | x)`` from that at the worst step of the radius."""
        a, target = a.detached(), log_shares.detach()

        def log_shares_of(rows: Tensor) -> Tensor:
            return self.network.logits(rows, a).log_softmax(1)

        step = worst_step(log_shares_of, x, target, self.radius)
        return divergences(target, log_shares_of(x + step)).mean()


def marginal_bounds(
    network: SSVAENetwork,
    x: Tensor,
    a: AuxiliaryDraw,
    y: Tensor,
    log_shares: Tensor,
    max_classes: int,
    beta: float = 1.0,
) -> Tensor:
    """Return a lower bound of ``log p(x, y)`` of labeled rows, of ``log p(x)`` of others.

    ``y`` is marginalized by enumeration: of all classes, or of the ``max_classes`` most probable
    ones. A posterior that is cut off and normalized again is a posterior too, and its bound a bound
    (truncated variational EM: Lücke & Eggert 2010, "Expectation Truncation").

    Args:
        network: The network.
        x: Rows, shape ``(n, n_features)``.
        a: A draw of each row's auxiliary variable.
        y: Class indices, -1 where unlabeled, shape ``(n,)``.
        log_shares: ``log q(y | x)``, shape ``(n, n_classes)``.
        max_classes: Most classes of a row.
        beta: See ``SSVAENetwork.log_weights``.

    Returns:
        Shape ``(n,)``, in nats.
    """
    labeled, unlabeled = (y >= 0).nonzero()[:, 0], (y < 0).nonzero()[:, 0]
    cut, classes = candidate_classes(log_shares[unlabeled], max_classes)
    rows = torch.cat([labeled, unlabeled.repeat_interleave(classes.shape[1])])
    weights = network.log_weights(x, a, rows, torch.cat([y[labeled], classes.flatten()]), beta)
    known, marginalized = weights.split([len(labeled), classes.numel()])
    marginal = (cut.exp() * (marginalized.view_as(cut) - cut)).sum(1)
    bounds = torch.zeros(len(x), dtype=weights.dtype, device=x.device)
    return bounds.index_put((labeled,), known).index_put((unlabeled,), marginal)


def candidate_classes(log_shares: Tensor, max_classes: int) -> tuple[Tensor, Tensor]:
    """Return the log probabilities of each row's most probable classes, normalized, and those."""
    best = log_shares.topk(min(max_classes, log_shares.shape[1]), dim=1)
    return best.values.log_softmax(1), best.indices


def _cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return the mean cross-entropy of rows whose class is known; 0 if there is none."""
    total = F.cross_entropy(logits, y, ignore_index=-1, reduction="sum")
    return total / (y >= 0).sum().clamp(min=1)
