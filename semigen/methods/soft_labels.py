"""Class probabilities of unlabeled rows from few labels, by the method that the labels favor."""

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

N_FOLDS = 5
N_TREES = 100
LEAST = 1e-4
"""Floor of a probability, of a method's answer before it is tempered."""
TEMPERATURES = np.geomspace(0.2, 5.0, 25)

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""``method(y, asked)``: probabilities ``(n_asked, n_classes)`` given labels, -1 where hidden."""


@dataclass(frozen=True)
class SoftLabels:
    """Class probabilities of rows.

    Attributes:
        classes: Class indices, shape ``(n_classes,)``, int64.
        shares: Probabilities, shape ``(n, n_classes)``, float32; 1 for the class of a labeled row.
    """

    classes: np.ndarray
    shares: np.ndarray


def soft_labels(
    x: np.ndarray, features: Callable[[np.ndarray], np.ndarray], y: np.ndarray, seed: int
) -> SoftLabels:
    """Return class probabilities of all rows, known from the labeled ones alone.

    Three methods compete: randomized trees and logistic regression on the rows, and a
    semi-supervised Gaussian mixture on features learned without labels (``LatentClasses``), which
    wins where classes are clusters. The one whose answers for labeled rows held out in turn have
    the least log loss speaks for the unlabeled rows, tempered so that it is as sure as it was right
    (Guo et al. 2017, "On Calibration of Modern Neural Networks"). Where a class has a single
    labeled row nothing can be held out, and the trees speak.

    Args:
        x: Encoded rows, shape ``(n, n_features)``.
        features: Returns learned features of encoded rows; not called where all are labeled.
        y: Class indices, -1 where unlabeled, shape ``(n,)``; at least one is known.
        seed: Seed of trees and folds.
    """
    classes, codes = np.unique(y[y >= 0], return_inverse=True)
    labels = np.full(len(y), -1)
    labels[y >= 0] = codes
    shares = np.eye(len(classes), dtype=np.float32)[labels]
    unknown = np.flatnonzero(y < 0)
    if len(unknown) and len(classes) > 1:
        shares[unknown] = _answers(x, features(x), labels, unknown, seed)
    return SoftLabels(classes.astype(np.int64), shares)


def _answers(
    x: np.ndarray, features: np.ndarray, labels: np.ndarray, asked: np.ndarray, seed: int
) -> np.ndarray:
    known = np.flatnonzero(labels >= 0)
    n_classes = labels.max() + 1
    methods = _methods(x, features, seed)
    n_folds = min(N_FOLDS, np.bincount(labels[known]).min())
    if n_folds < 2:
        return methods[0](labels, asked)
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    splits = list(folds.split(known, labels[known]))
    best: tuple[float, float, Method] | None = None
    for method in methods:
        answers = np.empty((len(known), n_classes))
        for _, hidden in splits:
            visible = labels.copy()
            visible[known[hidden]] = -1
            answers[hidden] = method(visible, known[hidden])
        loss, temperature = min(
            (_log_loss(_tempered(answers, t), labels[known]), t) for t in TEMPERATURES
        )
        if best is None or loss < best[0]:
            best = (loss, temperature, method)
    assert best is not None
    return _tempered(best[2](labels, asked), best[1])


def _methods(x: np.ndarray, features: np.ndarray, seed: int) -> list[Method]:
    def trees(y: np.ndarray, asked: np.ndarray) -> np.ndarray:
        forest = ExtraTreesClassifier(N_TREES, min_samples_leaf=2, random_state=seed)
        return forest.fit(x[y >= 0], y[y >= 0]).predict_proba(x[asked])

    def regression(y: np.ndarray, asked: np.ndarray) -> np.ndarray:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200))
        return model.fit(x[y >= 0], y[y >= 0]).predict_proba(x[asked])

    def mixture(y: np.ndarray, asked: np.ndarray) -> np.ndarray:
        return LatentClasses.fit(features, y).responsibilities(features[asked])

    return [trees, regression, mixture]


def _tempered(shares: np.ndarray, temperature: float) -> np.ndarray:
    powers = np.maximum(shares, LEAST) ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def _log_loss(shares: np.ndarray, labels: np.ndarray) -> float:
    return float(-np.log(shares[np.arange(len(labels)), labels]).mean())
