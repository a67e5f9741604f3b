from __future__ import annotations

import numpy as np

from semigen.methods.soft_labels import soft_labels


def clusters(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of two overlapping Gaussian classes, indices 3 and 5, and all labels."""
    rng = np.random.default_rng(seed)
    y = rng.choice([3, 5], n)
    x = rng.normal(np.where(y == 5, 1.0, -1.0)[:, None], 1.0, (n, 2))
    return x.astype(np.float32), y


def mask_labels(y: np.ndarray, n_labeled: int) -> np.ndarray:
    known = y.copy()
    known[n_labeled:] = -1
    return known


def test_labeled_rows_have_probability_one_without_features():
    x, y = clusters(50)
    known = soft_labels(x, None, y, seed=0)
    assert known.classes.tolist() == [3, 5]
    np.testing.assert_array_equal(
        known.probabilities, np.stack([y == 3, y == 5], 1).astype(np.float32)
    )


def test_probabilities_of_unlabeled_rows_are_calibrated():
    x, y = clusters(4000)
    known = soft_labels(x, lambda rows: rows, mask_labels(y, 60), seed=0)
    predicted, truth = known.probabilities[60:, 1], y[60:] == 5
    assert ((predicted > 0.5) == truth).mean() > 0.88  # the best possible is 0.92
    confidence = np.maximum(predicted, 1 - predicted)
    is_right = np.where(predicted > 0.5, truth, ~truth)
    assert abs(confidence.mean() - is_right.mean()) < 0.06
    np.testing.assert_allclose(known.probabilities.sum(1), 1, atol=1e-5)


def test_single_label_of_a_class_or_a_single_class_is_enough():
    x, y = clusters(100)
    first = [np.flatnonzero(y == c)[0] for c in (3, 5)]
    few = np.full(100, -1)
    few[first] = y[first]
    assert np.isfinite(soft_labels(x, lambda rows: rows, few, seed=0).probabilities).all()
    few[first[0]] = -1
    assert (soft_labels(x, lambda rows: rows, few, seed=0).probabilities == 1).all()


def test_masked_labels_do_not_matter():
    x, y = clusters(300)
    once, again = (
        soft_labels(x, lambda rows: rows, mask_labels(labels, 20), seed=0).probabilities
        for labels in (y, np.concatenate([y[:20], y[20:][::-1]]))
    )
    np.testing.assert_array_equal(once, again)
