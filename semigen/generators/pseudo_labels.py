"""Confident pseudo-labels of unlabeled rows, from few labels and a model's features."""

from __future__ import annotations

import numpy as np

from semigen.generators.latent_classes import LatentClasses


def pseudo_label(features: np.ndarray, y: np.ndarray, confidence: float = 0.9) -> np.ndarray:
    """Return class indices where the class is known or all but sure, -1 elsewhere.

    Rows keep the label that they have. Others get the most probable class of a semi-supervised
    Gaussian mixture over the features (``LatentClasses``) if its posterior reaches ``confidence``
    (self-training with a threshold: Lee 2013, "Pseudo-Label").

    Args:
        features: Shape ``(n, n_latent)``.
        y: Class indices, -1 where unlabeled, shape ``(n,)``; at least one is known.
        confidence: Least posterior probability of a pseudo-label.
    """
    unknown = y < 0
    labels = y.astype(np.int64).copy()
    if not unknown.any():
        return labels
    classes = LatentClasses.fit(features, y)
    shares = classes.responsibilities(features[unknown])
    guess = classes.classes[shares.argmax(axis=1)]
    labels[unknown] = np.where(shares.max(axis=1) >= confidence, guess, -1)
    return labels
