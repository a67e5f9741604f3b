"""The learners among which ``train`` selects: what each uses, and how it is fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.semi_supervised import LabelSpreading

from semigen.classifiers.latent_mixture import LatentMixtureClassifier
from semigen.classifiers.posterior import PosteriorClassifier
from semigen.classifiers.rows import Space, TrainingRows
from semigen.config import TrainParams
from semigen.generators.base import ClassifyingModel, GenerativeModel

N_TREES = 100
N_TREES_OF_STUDENT = 50
"""Fewer than for labeled rows alone: a student sees thousands of rows, whose trees agree sooner."""

Use = Literal["unlabeled", "synthetic"]
Fit = Callable[[TrainingRows, Space], Any]
Make = Callable[[int, int], Any]
"""``make(seed, n_rows)`` returns an unfitted classifier for that many rows."""


@dataclass(frozen=True)
class Learner:
    """A way to a classifier.

    Attributes:
        name: Its name in reports.
        uses: What it learns from beside the labeled rows; nothing for a labels-only learner.
        space: Coordinates of the rows that it is fitted on and asked about.
        fit_rows: Returns a fitted scikit-learn classifier.
    """

    name: str
    uses: tuple[Use, ...]
    space: Space
    fit_rows: Fit

    def fit(self, rows: TrainingRows) -> Any:
        """Return a fitted classifier with ``classes_`` and ``predict_proba``."""
        return self.fit_rows(rows, self.space)


def make_learners(
    params: TrainParams, generator: GenerativeModel | None = None
) -> tuple[Learner, ...]:
    """Return all learners that the generator allows, labels-only ones first."""

    def mlp(seed: int, n_rows: int) -> MLPClassifier:
        return MLPClassifier(
            params.hidden_dims,
            batch_size=min(params.batch_size, n_rows),
            learning_rate_init=params.learning_rate,
            max_iter=params.epochs,
            n_iter_no_change=params.epochs,
            random_state=seed,
        )

    def spread(rows: TrainingRows, space: Space) -> Any:
        return _fit_spread(rows, space, params)

    classifying = isinstance(generator, ClassifyingModel)
    own = Learner("generator", ("unlabeled",), "posterior", _keep_posterior)
    return (
        Learner("logistic_regression", (), "encoded", _labeled(_logistic)),
        Learner("extra_trees", (), "encoded", _labeled(_extra_trees)),
        Learner("mlp", (), "encoded", _labeled(mlp)),
        Learner("logistic_regression_latent", ("unlabeled",), "both", _labeled(_logistic)),
        Learner("latent_mixture", ("unlabeled",), "latent", _fit_mixture),
        Learner("label_spreading", ("unlabeled",), "encoded", spread),
        Learner("mlp_synthetic", ("unlabeled", "synthetic"), "encoded", _with_synthetic(mlp)),
        Learner(
            "extra_trees_synthetic",
            ("unlabeled", "synthetic"),
            "encoded",
            _with_synthetic(_extra_trees),
        ),
        *([own] if classifying else []),
    )


def _logistic(seed: int, _n_rows: int) -> LogisticRegression:
    return LogisticRegression(max_iter=3000, random_state=seed)


def _extra_trees(seed: int, _n_rows: int) -> ExtraTreesClassifier:
    return ExtraTreesClassifier(N_TREES, random_state=seed)


def _labeled(make: Make) -> Fit:
    def fit(rows: TrainingRows, space: Space) -> Any:
        return make(rows.seed, len(rows.y)).fit(rows.labeled(space), rows.y)

    return fit


def _with_synthetic(make: Make) -> Fit:
    """Fit on labeled and synthetic rows, which live in encoded space."""

    def fit(rows: TrainingRows, space: Space) -> Any:
        x = np.concatenate([rows.labeled(space), rows.synthetic.x])
        y = np.concatenate([rows.y, rows.synthetic.y])
        return make(rows.seed, len(y)).fit(x, y)

    return fit


def _keep_posterior(rows: TrainingRows, _space: Space) -> PosteriorClassifier:
    return PosteriorClassifier().fit(None, rows.generator.classes_)


def _fit_mixture(rows: TrainingRows, space: Space) -> Any:
    hidden = rows.unlabeled(space)
    y = np.concatenate([rows.y, np.full(len(hidden), -1)])
    return LatentMixtureClassifier().fit(np.concatenate([rows.labeled(space), hidden]), y)


def _fit_spread(rows: TrainingRows, space: Space, params: TrainParams) -> Any:
    """Spread labels over a graph of all rows, then teach a forest what was spread.

    The graph itself (Zhou et al. 2004) answers for its own rows only, and would carry them into the
    model; the forest scores new rows and keeps none. A row weighs as much as the graph is sure.
    """
    hidden = _at_most(rows.unlabeled(space), params.max_rows_graph, rows.seed)
    x = np.concatenate([rows.labeled(space), hidden])
    y = np.concatenate([rows.y, np.full(len(hidden), -1)])
    n_neighbors = min(params.n_neighbors, len(x) - 1)
    graph = LabelSpreading(kernel="knn", n_neighbors=n_neighbors, max_iter=100).fit(x, y)
    # A row that no label reached has no distribution; it gets no weight.
    confidence = np.nan_to_num(graph.label_distributions_.max(axis=1))
    forest = ExtraTreesClassifier(N_TREES_OF_STUDENT, random_state=rows.seed)
    reached = confidence > 0
    return forest.fit(x[reached], graph.transduction_[reached], sample_weight=confidence[reached])


def _at_most(x: np.ndarray, n_rows: int, seed: int) -> np.ndarray:
    if len(x) <= n_rows:
        return x
    return x[np.sort(np.random.default_rng(seed).choice(len(x), n_rows, replace=False))]
