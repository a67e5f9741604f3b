"""Weights of a committee's learners, from their out-of-fold likelihoods."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

EVIDENCE_PER_NAT = 1 / 4
"""Power of the likelihood in ``evidence_weights``. Learners are compared on the same few rows, by
models fitted on even fewer, so a difference in log loss counts for less than its nominal value. Of
1, 2, 3, 4, 6 and 12 nats, 3 to 4 gave the best accuracy on the tables where the constant was chosen
(see ``selection.select``); with 1 and 2 the committee fell below labels alone."""
PRIOR_ROWS = 7.5
"""Pseudo-count of the uniform prior in ``mixture_weights``, in rows; 2.5, 5, 7.5, 10 and 20 were
tried. Smaller values are more accurate on average and less safe."""
N_ITERATIONS = 200
MIN_WEIGHT = 0.01
"""Learners with a smaller weight are dropped: they cost time and disk space and change nothing."""


def committee_weights(likelihoods: np.ndarray) -> np.ndarray:
    """Return the learners' weights, which sum to 1.

    The weights are the mean of two estimates with different weaknesses. ``evidence_weights`` rates
    each learner by its own loss and so suppresses a weak learner that complements the others;
    ``mixture_weights`` finds such complements and overfits them if there are few rows.

    Args:
        likelihoods: Probabilities of the true classes of the held-out rows, shape
            ``(n_repeats, n_rows, n_learners)``.

    Returns:
        Shape ``(n_learners,)``.
    """
    weights = (evidence_weights(likelihoods) + mixture_weights(likelihoods)) / 2
    weights[weights < min(MIN_WEIGHT, weights.max())] = 0.0
    return weights / weights.sum()


def evidence_weights(likelihoods: np.ndarray) -> np.ndarray:
    """Return tempered posterior probabilities of the learners under a uniform prior.

    ``w ~ exp(-total log loss / 4)``: the Gibbs posterior of PAC-Bayesian theory (Catoni 2007;
    Dalalyan & Tsybakov 2008, "Aggregation by Exponential Weighting").

    Args:
        likelihoods: Probabilities of the true classes of the held-out rows, shape
            ``(n_repeats, n_rows, n_learners)``.

    Returns:
        Shape ``(n_learners,)``.
    """
    log_evidence = np.log(likelihoods).mean(axis=0).sum(axis=0)
    weights: np.ndarray = softmax(EVIDENCE_PER_NAT * log_evidence)
    return weights


def mixture_weights(likelihoods: np.ndarray) -> np.ndarray:
    """Return the mixture weights of maximum posterior probability.

    Stacking with the log score (Yao et al. 2018, "Using Stacking to Average Bayesian Predictive
    Distributions") under a Dirichlet prior, by expectation-maximization.

    Args:
        likelihoods: Probabilities of the true classes of the held-out rows, shape
            ``(n_repeats, n_rows, n_learners)``.

    Returns:
        Shape ``(n_learners,)``.
    """
    n_repeats, _, n_learners = likelihoods.shape
    rows = likelihoods.reshape(-1, n_learners)
    weights = np.full(n_learners, 1 / n_learners)
    for _ in range(N_ITERATIONS):
        responsibilities = rows * weights
        responsibilities /= responsibilities.sum(axis=1, keepdims=True)
        counts = responsibilities.sum(axis=0) / n_repeats + PRIOR_ROWS / n_learners
        weights = counts / counts.sum()
    return weights
