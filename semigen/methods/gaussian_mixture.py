"""Where the classes lie in a latent space, learned from few labels and many unlabeled codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from semigen.methods.class_index import class_positions

MAX_UNLABELED = 10_000
"""Unlabeled codes that the fit looks at, evenly spaced; more would only cost time."""


@dataclass(frozen=True)
class LatentClasses:
    """A Gaussian a class over latent codes: the class's aggregate posterior.

    Attributes:
        classes: Class indices, shape ``(n_classes,)``.
        log_priors: Logs of the classes' shares, shape ``(n_classes,)``.
        means: Shape ``(n_classes, latent_dim)``.
        factors: Cholesky factors of the covariances, shape ``(n_classes, latent_dim, latent_dim)``.
    """

    classes: np.ndarray
    log_priors: np.ndarray
    means: np.ndarray
    factors: np.ndarray

    @classmethod
    def fit(
        cls, codes: np.ndarray, y: np.ndarray, *, n_iterations: int = 20, weight: float = 0.3
    ) -> LatentClasses:
        """Fit by semi-supervised expectation-maximization.

        Labeled codes keep their class; unlabeled ones belong to the classes by their
        responsibilities and count ``weight`` of a labeled one (EM-lambda of Nigam et al. 2000,
        "Text Classification from Labeled and Unlabeled Documents using EM"). Covariances are drawn
        towards the pooled one as far as a class has few rows, and so stay invertible down to a
        single labeled row. Classes keep the shares that they have among the labeled rows.

        Args:
            codes: Shape ``(n, latent_dim)``.
            y: Class indices, -1 where unlabeled, shape ``(n,)``.
            n_iterations: EM steps; none gives the labeled rows' own moments.
            weight: Weight of an unlabeled row.
        """
        codes, classes = codes.astype(np.float64), np.unique(y[y >= 0])
        labeled, hidden = codes[y >= 0], _thinned(codes[y < 0])
        own_shares = (y[y >= 0][:, None] == classes[None, :]).astype(float)
        log_priors = np.log(own_shares.mean(axis=0))
        everything = np.concatenate([labeled, hidden])
        spread = np.var(everything, axis=0).mean()
        fitted = cls(classes.astype(np.int64), log_priors, *_moments(labeled, own_shares, spread))
        for _ in range(n_iterations if len(hidden) else 0):
            shares = np.concatenate([own_shares, weight * fitted.responsibilities(hidden)])
            moments = _moments(everything, shares, spread)
            fitted = cls(fitted.classes, log_priors, *moments)
        return fitted

    def responsibilities(self, codes: np.ndarray) -> np.ndarray:
        """Return the classes' posterior probabilities ``(n, n_classes)`` of codes."""
        columns = []
        for log_prior, mean, factor in zip(self.log_priors, self.means, self.factors, strict=True):
            # Factors are small and well conditioned, codes many: invert once.
            standardized = (codes - mean) @ np.linalg.inv(factor).T
            log_determinant = np.log(np.diag(factor)).sum()
            columns.append(log_prior - log_determinant - 0.5 * (standardized**2).sum(axis=1))
        joint = np.stack(columns, axis=1)
        return np.exp(joint - logsumexp(joint, axis=1, keepdims=True))

    def sample(self, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return one code of each class in ``y``, shape ``(len(y), latent_dim)``, float32.

        Raises:
            UserError: If ``y`` holds a class that had no labeled row.
        """
        position = class_positions(y, self.classes)
        noise = rng.standard_normal((len(y), self.means.shape[1]))
        codes = self.means[position] + np.einsum("nij,nj->ni", self.factors[position], noise)
        return codes.astype(np.float32)


def _moments(codes: np.ndarray, shares: np.ndarray, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Return means and factors of shrunk covariances of classes with weighted members."""
    latent_dim, weights = codes.shape[1], shares.sum(axis=0)
    means = shares.T @ codes / weights[:, None]
    scatters = np.stack(
        [
            (codes - mean).T @ (share[:, None] * (codes - mean))
            for mean, share in zip(means, shares.T, strict=True)
        ]
    )
    # The pooled covariance starts from a sphere of half the codes' variance, worth as many rows as
    # it has dimensions; a class's own covariance counts as its rows outnumber its dimensions.
    n_prior = latent_dim + 2
    sphere = 0.5 * spread * np.eye(latent_dim)
    pooled = (scatters.sum(axis=0) + n_prior * sphere) / (weights.sum() + n_prior)
    trust = (weights / (weights + 2 * latent_dim))[:, None, None]
    covariances = trust * scatters / weights[:, None, None] + (1 - trust) * pooled
    return means, np.linalg.cholesky(covariances)


def _thinned(codes: np.ndarray) -> np.ndarray:
    step = -(-len(codes) // MAX_UNLABELED) or 1
    return codes[::step]
