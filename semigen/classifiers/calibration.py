"""Calibration of class probabilities by temperature scaling and smoothing."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

from semigen.methods.temperature_scaling import log_loss, scale_temperature

SMOOTHING = 0.01
"""Weight of the uniform distribution in every prediction, so that no class has probability 0."""
MIN_PROBABILITY = 1e-30
"""Lower bound of the probabilities whose logarithm is scaled."""


def calibrate(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return temperature-scaled and smoothed probabilities.

    Args:
        probabilities: Class probabilities, shape ``(n, n_classes)``.
        temperature: Divisor of the log probabilities; above 1 lowers the confidence.

    Returns:
        Shape ``(n, n_classes)``.

    Examples:
        >>> calibrate(np.array([[1.0, 0.0]]), temperature=1.0).tolist()
        [[0.995, 0.005]]
    """
    scaled = scale_temperature(probabilities, temperature, MIN_PROBABILITY)
    return (1 - SMOOTHING) * scaled + SMOOTHING / probabilities.shape[1]


def fit_temperature(probabilities: np.ndarray, y: np.ndarray) -> float:
    """Return the temperature in [0.1, 10] that minimizes the log loss.

    Temperature scaling is that of Guo et al. 2017, "On Calibration of Modern Neural Networks".

    Args:
        probabilities: Out-of-fold class probabilities, shape ``(n, n_classes)``.
        y: Column of each row's class, shape ``(n,)``.

    Examples:
        >>> overconfident = np.array([[0.99, 0.01]] * 4)
        >>> fit_temperature(overconfident, np.array([0, 0, 0, 1])) > 1
        True
    """

    def objective(log_temperature: float) -> float:
        return log_loss(calibrate(probabilities, float(np.exp(log_temperature))), y)

    bounds = (np.log(0.1), np.log(10.0))
    return float(np.exp(minimize_scalar(objective, bounds=bounds, method="bounded").x))


def align(probabilities: np.ndarray, known: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return probabilities with a column for every class; classes not in ``known`` get 0.

    Args:
        probabilities: Class probabilities, shape ``(n, n_known)``.
        known: Class of each column, shape ``(n_known,)``.
        classes: All classes, sorted, shape ``(n_classes,)``.

    Returns:
        Shape ``(n, n_classes)``.
    """
    aligned = np.zeros((len(probabilities), len(classes)))
    aligned[:, np.searchsorted(classes, known)] = probabilities
    return aligned
