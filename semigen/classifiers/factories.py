"""Factories of the learners' estimators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.kernel_approximation import RBFSampler
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from semigen.estimators.consistency import ConsistencyNetwork
from semigen.estimators.graph import GraphClassifier
from semigen.estimators.latent_mixture import LatentMixtureClassifier
from semigen.estimators.naive_bayes import SemiSupervisedNaiveBayes
from semigen.estimators.posterior import PosteriorClassifier
from semigen.estimators.self_training import BalancedSelfTraining
from semigen.params.config import TrainParams

N_TREES = 100
N_FOURIER_FEATURES = 2000
"""Random features of the kernel machine; 500 lost 4 to 10 points on tables of 241 columns."""


@dataclass(frozen=True)
class FitContext:
    """What an estimator may depend on.

    Attributes:
        params: Section ``train`` of the parameters.
        seed: Seed of the estimator.
        n_rows: Number of training rows.

    Examples:
        >>> mlp(FitContext(TrainParams(hidden_dims=(16,)), seed=0, n_rows=20)).batch_size
        20
    """

    params: TrainParams
    seed: int
    n_rows: int


def logistic(context: FitContext) -> LogisticRegression:
    return LogisticRegression(max_iter=3000, random_state=context.seed)


def standard_logistic(context: FitContext, *, C: float = 1.0) -> Any:
    """Logistic regression on standardized columns.

    Columns that share a unit are encoded in [0, 1], where the penalty is far stronger.
    """
    return make_pipeline(
        StandardScaler(), LogisticRegression(C=C, max_iter=3000, random_state=context.seed)
    )


def sparse_logistic(context: FitContext) -> Any:
    return make_pipeline(
        StandardScaler(),
        LogisticRegression(C=0.3, l1_ratio=1.0, solver="saga", tol=1e-2, random_state=context.seed),
    )


def naive_bayes(_context: FitContext, **settings: Any) -> SemiSupervisedNaiveBayes:
    return SemiSupervisedNaiveBayes(**settings)


def extra_trees(context: FitContext, **settings: Any) -> ExtraTreesClassifier:
    return ExtraTreesClassifier(N_TREES, random_state=context.seed, **settings)


def random_forest(context: FitContext) -> RandomForestClassifier:
    return RandomForestClassifier(N_TREES, random_state=context.seed)


def boosted_trees(
    context: FitContext, *, min_samples_leaf: int = 5, **settings: Any
) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        max_iter=60, min_samples_leaf=min_samples_leaf, random_state=context.seed, **settings
    )


def kernel_machine(
    context: FitContext, *, C: float = 10.0, n_components: int = N_FOURIER_FEATURES
) -> Any:
    """Logistic regression on random Fourier features (Rahimi & Recht 2007).

    A support vector machine would store training rows.
    """
    return make_pipeline(
        StandardScaler(),
        RBFSampler(gamma="scale", n_components=n_components, random_state=context.seed),
        LogisticRegression(C=C, max_iter=1000, random_state=context.seed),
    )


def mlp(context: FitContext, *, width: int | None = None, **settings: Any) -> MLPClassifier:
    """Multilayer perceptron of ``train.hidden_dims``, or of one hidden layer of ``width`` units."""
    params = context.params
    return MLPClassifier(
        params.hidden_dims if width is None else (width,),
        batch_size=min(params.batch_size, context.n_rows),
        learning_rate_init=params.learning_rate,
        random_state=context.seed,
        **{"max_iter": params.epochs, "n_iter_no_change": params.epochs} | settings,
    )


def latent_mixture(_context: FitContext) -> LatentMixtureClassifier:
    return LatentMixtureClassifier()


def graph(
    context: FitContext, *, n_diffusions: int, n_neighbors: int | None = None
) -> GraphClassifier:
    return GraphClassifier(
        n_neighbors=n_neighbors or context.params.n_neighbors,
        n_diffusions=n_diffusions,
        random_state=context.seed,
    )


def posterior(_context: FitContext) -> PosteriorClassifier:
    return PosteriorClassifier()


def self_training(_context: FitContext) -> Any:
    return make_pipeline(StandardScaler(), BalancedSelfTraining())


def consistency(context: FitContext, **settings: Any) -> ConsistencyNetwork:
    return ConsistencyNetwork(random_state=context.seed, **settings)
