"""Regularizers of classifiers on unlabeled rows: virtual adversarial training and information."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from semigen.methods.neighbors import nearest_neighbors

PROBE_LENGTH = 7.0
"""Length, in radii, of the random step from which the adversarial direction is computed. Where a
classifier is confident, a short step changes less than the precision of bf16: the held-out error of
``ssvae`` on MNIST was 4.0 % with 1 after 30 epochs, and 2.9 % with 7 after 14 epochs."""
N_RADIUS_ROWS = 1000
RADIUS_NEIGHBOR = 10


def worst_step(
    classify: Callable[[Tensor], Tensor], x: Tensor, log_probabilities: Tensor, radius: float
) -> Tensor:
    """Return the perturbations that change the class probabilities of the rows most.

    Virtual adversarial training (Miyato et al. 2018, "Virtual Adversarial Training: A
    Regularization Method for Supervised and Semi-Supervised Learning", eq. 9 to 12), with one power
    iteration.

    Args:
        classify: The classifier, which returns log probabilities ``(n, n_classes)`` of rows.
        x: Rows, shape ``(n, n_features)``.
        log_probabilities: Log probabilities of ``x``, without gradients.
        radius: Euclidean length of the perturbation of a row.

    Returns:
        Shape ``(n, n_features)``.
    """
    probe = F.normalize(torch.randn_like(x)).mul_(PROBE_LENGTH * radius).requires_grad_()
    divergence = divergences(log_probabilities, classify(x + probe)).sum()
    (gradient,) = torch.autograd.grad(divergence, probe)
    return radius * F.normalize(gradient.float())


def divergences(first: Tensor, second: Tensor) -> Tensor:
    """Return the divergences ``KL(first || second)`` of rows, in nats, shape ``(n,)``.

    Args:
        first: Log probabilities, shape ``(n, n_classes)``.
        second: Log probabilities of the same shape.
    """
    return (first.exp() * (first - second)).sum(1)


def information(log_probabilities: Tensor, expected: Tensor) -> Tensor:
    """Return the mutual information of rows and predicted classes, weighted and up to a constant.

    Minus the mean entropy of the predictions, minus four times the divergence of their mean from
    the expected class frequencies (Hu et al. 2017, "Learning Discrete Representations via
    Information Maximizing Self-Augmented Training", eq. 10).

    Args:
        log_probabilities: Predicted log probabilities, shape ``(n, n_classes)``.
        expected: Expected class frequencies, shape ``(n_classes,)``.

    Returns:
        Scalar, in nats.
    """
    probabilities = log_probabilities.exp()
    mean = probabilities.mean(0)
    imbalance = (mean * ((mean + 1e-8) / expected).log()).sum()
    return (probabilities * log_probabilities).sum(1).mean() - 4.0 * imbalance


def typical_distance(x: np.ndarray) -> float:
    """Return the median distance of a row to its tenth neighbor.

    Args:
        x: Rows, shape ``(n, n_features)``; at most a thousand of them are queries.
    """
    queries = x[:: math.ceil(len(x) / N_RADIUS_ROWS)]
    k = min(RADIUS_NEIGHBOR + 1, len(x))  # every row is its own nearest neighbor
    return float(np.median(nearest_neighbors(queries, x, k).distances[:, -1]))
