"""Class probabilities of unlabeled rows, predicted from few labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from semigen.methods.gaussian_mixture import LatentClasses
from semigen.methods.temperature_scaling import log_loss, scale_temperature

N_FOLDS = 5
N_TREES = 100
MIN_PROBABILITY = 1e-4
"""Lower bound of a predicted probability, before temperature scaling."""
TEMPERATURES = np.geomspace(0.2, 5.0, 25)

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""``method(y, rows)``: probabilities ``(n_rows, n_classes)`` of the rows with these indices, given
labels ``y``, -1 where unlabeled."""


@dataclass(frozen=True)
class SoftLabels:
    """Class probabilities of rows; see ``soft_labels``.

    Attributes:
        classes: Class indices, shape ``(n_classes,)``, int64.
        probabilities: Shape ``(n, n_classes)``, float32; 1 for the class of a labeled row.

    Examples:
        >>> labels = SoftLabels(np.array([3, 7]), np.array([[1.0, 0.0], [0.25, 0.75]]))
        >>> labels.classes[labels.probabilities.argmax(axis=1)]
        array([3, 7])
    """

    classes: np.ndarray
    probabilities: np.ndarray


def soft_labels(
    x: np.ndarray, features: Callable[[np.ndarray], np.ndarray], y: np.ndarray, seed: int
) -> SoftLabels:
    """Return class probabilities of all rows, learned from the labeled ones.

    The best of three methods is used: extremely randomized trees or logistic regression on the
    encoded rows, or a semi-supervised Gaussian mixture on features learned without labels
    (``LatentClasses``), which is best if the classes are clusters. The methods are compared by the
    log loss of cross-validated predictions after temperature scaling (Guo et al. 2017, "On
    Calibration of Modern Neural Networks"). If a class has a single labeled row, cross-validation
    is impossible, and the trees are used.

    Args:
        x: Encoded rows, shape ``(n, n_features)``.
        features: Returns learned features of encoded rows; not called if all rows are labeled.
        y: Class indices, -1 where unlabeled, shape ``(n,)``; at least one row is labeled.
        seed: Seed of the trees and folds.

    Examples:
        >>> x = np.array([[0.0], [0.1], [0.9], [1.0], [0.95]], dtype=np.float32)
        >>> labels = soft_labels(x, lambda rows: rows, np.array([3, 3, 7, 7, -1]), seed=0)
        >>> labels.classes
        array([3, 7])
        >>> labels.probabilities[-1].round() # an unlabeled row next to rows of class 7
        array([0., 1.], dtype=float32)
    """
    classes, codes = np.unique(y[y >= 0], return_inverse=True)
    labels = np.full(len(y), -1)
    labels[y >= 0] = codes
    probabilities = np.eye(len(classes), dtype=np.float32)[labels]
    unlabeled = np.flatnonzero(y < 0)
    if len(unlabeled) and len(classes) > 1:
        probabilities[unlabeled] = _predict(x, features(x), labels, unlabeled, seed)
    return SoftLabels(classes.astype(np.int64), probabilities)


def _predict(
    x: np.ndarray, features: np.ndarray, labels: np.ndarray, rows: np.ndarray, seed: int
) -> np.ndarray:
    """Return calibrated probabilities of rows by the method with the lowest log loss."""
    labeled = np.flatnonzero(labels >= 0)
    n_classes = labels.max() + 1
    methods = _methods(x, features, seed)
    n_folds = min(N_FOLDS, np.bincount(labels[labeled]).min())
    if n_folds < 2:
        return methods[0](labels, rows)
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    splits = list(folds.split(labeled, labels[labeled]))
    best: tuple[float, float, Method] | None = None
    for method in methods:
        predicted = np.empty((len(labeled), n_classes))
        for _, held_out in splits:
            y_masked = labels.copy()
            y_masked[labeled[held_out]] = -1
            predicted[held_out] = method(y_masked, labeled[held_out])
        loss, temperature = min(
            (log_loss(scale_temperature(predicted, t, MIN_PROBABILITY), labels[labeled]), t)
            for t in TEMPERATURES
        )
        if best is None or loss < best[0]:
            best = (loss, temperature, method)
    assert best is not None
    return scale_temperature(best[2](labels, rows), best[1], MIN_PROBABILITY)


def _methods(x: np.ndarray, features: np.ndarray, seed: int) -> list[Method]:
    def trees(y: np.ndarray, rows: np.ndarray) -> np.ndarray:
        forest = ExtraTreesClassifier(N_TREES, min_samples_leaf=2, random_state=seed)
        return forest.fit(x[y >= 0], y[y >= 0]).predict_proba(x[rows])

    def regression(y: np.ndarray, rows: np.ndarray) -> np.ndarray:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200))
        return model.fit(x[y >= 0], y[y >= 0]).predict_proba(x[rows])

    def mixture(y: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return LatentClasses.fit(features, y).responsibilities(features[rows])

    return [trees, regression, mixture]
