from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis

from semigen.errors import UserError
from semigen.methods.gaussian_mixture import LatentClasses, rows_of_fit

MEANS = np.array([[0.0, 0.0, 0.0], [4.0, 0.0, 1.0], [0.0, 5.0, -1.0]])


def codes(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    mixing = np.array([[1.0, 0.3, 0.0], [0.0, 0.8, 0.2], [0.0, 0.0, 0.6]])
    return MEANS[y] + rng.normal(size=(n, 3)) @ mixing, y


def test_em_without_unlabeled_rows_keeps_the_moments():
    z, y = codes(60)
    one, other = (LatentClasses.fit(z, y, n_iterations=n) for n in (0, 20))
    np.testing.assert_array_equal(one.means, other.means)
    np.testing.assert_array_equal(one.factors, other.factors)


def test_equals_quadratic_discriminant_analysis_if_all_rows_are_labeled():
    z, y = codes(60_000)
    ours = LatentClasses.fit(z, y).responsibilities(z[:500])
    reference = QuadraticDiscriminantAnalysis().fit(z, y).predict_proba(z[:500])
    np.testing.assert_allclose(ours, reference, atol=0.01)


def test_unlabeled_rows_improve_the_means():
    errors = {"labels": [], "all": []}
    for seed in range(20):
        z, y = codes(1000, seed)
        y_my = np.where(np.arange(1000) < 9, y, -1)
        y_my[:3], z[:3] = [0, 1, 2], z[[np.flatnonzero(y == c)[-1] for c in range(3)]]
        alone = LatentClasses.fit(z[y_my >= 0], y_my[y_my >= 0])
        with_all = LatentClasses.fit(z, y_my)
        errors["labels"].append(np.abs(alone.means - MEANS).mean())
        errors["all"].append(np.abs(with_all.means - MEANS).mean())
    wins = np.less(errors["all"], errors["labels"]).sum()
    assert wins >= 18  # by chance with probability 0.0002
    assert np.mean(errors["all"]) < 0.5 * np.mean(errors["labels"])


def test_samples_have_the_moments_of_their_classes():
    fitted = LatentClasses.fit(*codes(3000))
    y = np.repeat([2, 0, 1], [5000, 1, 2])
    samples = fitted.sample(y, np.random.default_rng(0))
    assert samples.shape == (5003, 3) and samples.dtype == np.float32
    of_two = samples[:5000]
    np.testing.assert_allclose(of_two.mean(0), fitted.means[2], atol=5 * 1.3 / np.sqrt(5000))
    covariance = fitted.factors[2] @ fitted.factors[2].T
    np.testing.assert_allclose(np.cov(of_two.T), covariance, atol=0.12)


def test_one_labeled_row_of_each_class_is_enough():
    fitted = LatentClasses.fit(np.array(MEANS), np.array([0, 1, 2]))
    assert np.isfinite(fitted.factors).all()
    assert (fitted.responsibilities(MEANS).argmax(1) == [0, 1, 2]).all()


def test_rejects_unknown_class():
    z, y = codes(50)
    fitted = LatentClasses.fit(z, np.where(y == 1, 7, y))
    with pytest.raises(UserError, match="class 1"):
        fitted.sample(np.array([0, 1]), np.random.default_rng(0))


def test_fit_to_the_rows_that_it_uses_is_the_same(monkeypatch):
    monkeypatch.setattr("semigen.methods.gaussian_mixture.MAX_UNLABELED", 20)
    rng = np.random.default_rng(0)
    codes, y = rng.normal(size=(100, 2)), np.where(np.arange(100) % 9 == 4, np.arange(100) % 2, -1)
    rows = rows_of_fit(y)
    assert set(np.flatnonzero(y >= 0)) <= set(rows) and len(rows) <= 20 + (y >= 0).sum()
    whole, part = LatentClasses.fit(codes, y), LatentClasses.fit(codes[rows], y[rows])
    for name in ("means", "factors", "log_priors"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name))
