"""How much each learner of a committee counts, from its out-of-fold probabilities."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

EVIDENCE_PER_NAT = 1 / 4
"""Power of the likelihood in ``evidence_weights``. Learners are compared on the same few rows, by
models fitted on fewer still, so that a nat less is worth less than its face. Of 1, 2, 3, 4, 6 and
12 nats, 3 to 4 gave the best accuracy on the tables where it was chosen (see ``selection.select``);
with 1 and 2 the committee fell below labels alone."""
PRIOR_ROWS = 7.5
"""Rows' worth of the uniform prior in ``mixture_weights``; 2.5, 5, 7.5, 10 and 20 were tried. Less
is more accurate, and less safe."""
N_ITERATIONS = 200
MIN_WEIGHT = 0.01
"""Learners below this weight are left out: they cost time and disk and change nothing."""


def committee_weights(likelihoods: np.ndarray) -> np.ndarray:
    """Return the learners' weights, shape ``(n_learners,)``, adding up to 1.

    They are the mean of two estimates that fail in different ways: ``evidence_weights`` trusts
    each learner by its own loss and crowds out a weak learner that would complement the others;
    ``mixture_weights`` finds such complements, and overfits them where rows are few.

    Args:
        likelihoods: Probabilities that the learners gave the right class of rows held out, shape
            ``(n_repeats, n_rows, n_learners)``.
    """
    weights = (evidence_weights(likelihoods) + mixture_weights(likelihoods)) / 2
    weights[weights < min(MIN_WEIGHT, weights.max())] = 0.0
    return weights / weights.sum()


def evidence_weights(likelihoods: np.ndarray) -> np.ndarray:
    """Return tempered posterior probabilities of the learners under a uniform prior.

    ``w ~ exp(-total log loss / 4)``: the Gibbs posterior of PAC-Bayesian theory (Catoni 2007;
    Dalalyan & Tsybakov 2008, "Aggregation by Exponential Weighting").
    """
    log_evidence = np.log(likelihoods).mean(axis=0).sum(axis=0)
    weights: np.ndarray = softmax(EVIDENCE_PER_NAT * log_evidence)
    return weights


def mixture_weights(likelihoods: np.ndarray) -> np.ndarray:
    """Return the weights under which the mixture of learners explains the rows best.

    Stacking with the log score (Yao et al. 2018, "Using Stacking to Average Bayesian Predictive
    Distributions") under a Dirichlet prior, by expectation-maximization.
    """
    n_repeats, _, n_learners = likelihoods.shape
    rows = likelihoods.reshape(-1, n_learners)
    weights = np.full(n_learners, 1 / n_learners)
    for _ in range(N_ITERATIONS):
        shares = rows * weights
        shares /= shares.sum(axis=1, keepdims=True)
        counts = shares.sum(axis=0) / n_repeats + PRIOR_ROWS / n_learners
        weights = counts / counts.sum()
    return weights
