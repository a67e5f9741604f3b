"""Class probabilities as sure as they are right."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

SMOOTHING = 0.01
"""Weight of the uniform distribution in every prediction, so that a forest's zero is not final."""
TINY = 1e-30
"""Least probability whose logarithm is scaled."""


def calibrate(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return temperature-scaled, then smoothed probabilities, shape ``(n, n_classes)``."""
    log_powers = np.log(probabilities.clip(min=TINY)) / temperature
    powers = np.exp(log_powers - log_powers.max(axis=1, keepdims=True))
    scaled = powers / powers.sum(axis=1, keepdims=True)
    return (1 - SMOOTHING) * scaled + SMOOTHING / probabilities.shape[1]


def fit_temperature(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Return the temperature in [0.1, 10] at which the log loss of predictions is least.

    Temperature scaling is that of Guo et al. 2017, "On Calibration of Modern Neural Networks".

    Args:
        probabilities: Shape ``(n, n_classes)``.
        truth: Column of the right class, shape ``(n,)``.
    """
    picked = np.arange(len(truth))

    def log_loss(log_temperature: float) -> float:
        calibrated = calibrate(probabilities, float(np.exp(log_temperature)))
        return float(-np.log(calibrated[picked, truth]).mean())

    bounds = (np.log(0.1), np.log(10.0))
    return float(np.exp(minimize_scalar(log_loss, bounds=bounds, method="bounded").x))


def align(probabilities: np.ndarray, known: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Spread columns of the classes that a learner saw over all classes; others get 0."""
    aligned = np.zeros((len(probabilities), len(classes)))
    aligned[:, np.searchsorted(classes, known)] = probabilities
    return aligned
