"""Temperature scaling of class probabilities (Guo et al. 2017), and their log loss."""

from __future__ import annotations

import numpy as np


def scale_temperature(
    probabilities: np.ndarray, temperature: float, min_probability: float
) -> np.ndarray:
    """Return probabilities whose logarithms are divided by a temperature, normalized to sum to 1.

    Guo et al. 2017, "On Calibration of Modern Neural Networks".

    Args:
        probabilities: Class probabilities, shape ``(n, n_classes)``.
        temperature: Divisor; above 1 lowers the confidence.
        min_probability: Lower bound of the probabilities before scaling.

    Returns:
        Shape ``(n, n_classes)``.

    Examples:
        >>> scale_temperature(np.array([[0.8, 0.2]]), 2.0, 1e-30).round(3).tolist()
        [[0.667, 0.333]]
    """
    logits = np.log(probabilities.clip(min=min_probability)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def log_loss(probabilities: np.ndarray, y: np.ndarray) -> float:
    """Return the mean negative log probability of the true classes, in nats.

    Args:
        probabilities: Class probabilities, shape ``(..., n, n_classes)``.
        y: Column of each row's class, shape ``(n,)``.

    Examples:
        >>> round(log_loss(np.array([[0.5, 0.5], [0.2, 0.8]]), np.array([0, 1])), 3)
        0.458
    """
    return float(-np.log(probabilities[..., np.arange(len(y)), y]).mean())
