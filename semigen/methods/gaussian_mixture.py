"""Semi-supervised Gaussian mixture: one Gaussian for each class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from semigen.methods.class_index import class_positions

MAX_UNLABELED = 10_000
"""Maximum number of unlabeled codes in the fit, evenly spaced. More take time and gain nothing."""


@dataclass(frozen=True)
class LatentClasses:
    """A mixture of one Gaussian per class in a latent space.

    Attributes:
        classes: Class indices, ascending, shape ``(n_classes,)``, int64.
        log_priors: Logarithms of the class priors, shape ``(n_classes,)``.
        means: Means, shape ``(n_classes, latent_dim)``.
        factors: Cholesky factors of the covariances, shape ``(n_classes, latent_dim, latent_dim)``.

    Examples:
        >>> codes = np.array([[0.0], [0.2], [5.0], [5.2], [0.1]])
        >>> mixture = LatentClasses.fit(codes, np.array([3, 3, 7, 7, -1]))
        >>> mixture.responsibilities(np.array([[0.1], [5.1]])).round(2)
        array([[1., 0.],
               [0., 1.]])
        >>> mixture.sample(np.array([7, 3]), np.random.default_rng(0)).shape
        (2, 1)
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

        The class of a labeled code is fixed. An unlabeled code belongs to the classes by its
        responsibilities, and has the weight ``weight`` (EM-lambda of Nigam et al. 2000, "Text
        Classification from Labeled and Unlabeled Documents using EM"). Covariances are shrunk
        towards the pooled covariance, more so the fewer rows a class has, so they are invertible
        even with a single labeled row. The priors are the frequencies of the labeled rows.

        Args:
            codes: Latent codes, shape ``(n, latent_dim)``.
            y: Class indices, -1 where unlabeled, shape ``(n,)``.
            n_iterations: Number of EM steps; 0 gives the shrunk moments of the labeled rows.
            weight: Weight of an unlabeled row, relative to a labeled one.
        """
        kept = rows_of_fit(y)
        codes, y, classes = codes[kept].astype(np.float64), y[kept], np.unique(y[y >= 0])
        labeled, unlabeled = codes[y >= 0], codes[y < 0]
        one_hot = (y[y >= 0][:, None] == classes[None, :]).astype(float)
        log_priors = np.log(one_hot.mean(axis=0))
        all_codes = np.concatenate([labeled, unlabeled])
        variance = np.var(all_codes, axis=0).mean()
        fitted = cls(classes.astype(np.int64), log_priors, *_moments(labeled, one_hot, variance))
        for _ in range(n_iterations if len(unlabeled) else 0):
            weights = np.concatenate([one_hot, weight * fitted.responsibilities(unlabeled)])
            moments = _moments(all_codes, weights, variance)
            fitted = cls(fitted.classes, log_priors, *moments)
        return fitted

    def responsibilities(self, codes: np.ndarray) -> np.ndarray:
        """Return the posterior probabilities of the classes, shape ``(n, n_classes)``.

        Args:
            codes: Latent codes, shape ``(n, latent_dim)``.
        """
        columns = []
        for log_prior, mean, factor in zip(self.log_priors, self.means, self.factors, strict=True):
            # The factors are small and well conditioned, and the codes many: invert once.
            standardized = (codes - mean) @ np.linalg.inv(factor).T
            log_determinant = np.log(np.diag(factor)).sum()
            columns.append(log_prior - log_determinant - 0.5 * (standardized**2).sum(axis=1))
        joint = np.stack(columns, axis=1)
        return np.exp(joint - logsumexp(joint, axis=1, keepdims=True))

    def sample(self, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return one latent code of each class in ``y``, shape ``(len(y), latent_dim)``, float32.

        Args:
            y: Class indices, shape ``(n,)``.
            rng: Random generator.

        Raises:
            UserError: If ``y`` holds a class that had no labeled row.
        """
        position = class_positions(y, self.classes)
        noise = rng.standard_normal((len(y), self.means.shape[1]))
        codes = self.means[position] + np.einsum("nij,nj->ni", self.factors[position], noise)
        return codes.astype(np.float32)


def _moments(
    codes: np.ndarray, weights: np.ndarray, variance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return means and Cholesky factors of the shrunk covariances of the classes.

    Args:
        codes: Latent codes, shape ``(n, latent_dim)``.
        weights: Weights of the codes in the classes, shape ``(n, n_classes)``.
        variance: Mean variance of the dimensions.
    """
    latent_dim, n_rows = codes.shape[1], weights.sum(axis=0)
    means = weights.T @ codes / n_rows[:, None]
    scatters = np.stack(
        [
            (codes - mean).T @ (weight[:, None] * (codes - mean))
            for mean, weight in zip(means, weights.T, strict=True)
        ]
    )
    # The pooled covariance is shrunk towards a sphere with half the variance, with the weight of
    # latent_dim + 2 rows. The covariance of a class is shrunk towards the pooled one, with the
    # weight of 2 * latent_dim rows.
    n_prior = latent_dim + 2
    sphere = 0.5 * variance * np.eye(latent_dim)
    pooled = (scatters.sum(axis=0) + n_prior * sphere) / (n_rows.sum() + n_prior)
    own_weight = (n_rows / (n_rows + 2 * latent_dim))[:, None, None]
    covariances = own_weight * scatters / n_rows[:, None, None] + (1 - own_weight) * pooled
    return means, np.linalg.cholesky(covariances)


def rows_of_fit(y: np.ndarray) -> np.ndarray:
    """Return the indices of the rows that ``LatentClasses.fit`` uses, ascending.

    The labeled rows, and at most ``MAX_UNLABELED`` evenly spaced unlabeled rows. The fit to these
    rows alone is the same.

    Args:
        y: Class indices, -1 where unlabeled, shape ``(n,)``.
    """
    unlabeled = np.flatnonzero(y < 0)
    step = -(-len(unlabeled) // MAX_UNLABELED) or 1
    return np.sort(np.concatenate([np.flatnonzero(y >= 0), unlabeled[::step]]))
