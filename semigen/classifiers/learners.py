"""The learners that ``train`` weighs: what each uses, and how it is fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
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

from semigen.classifiers.problem import Space, TrainingRows
from semigen.estimators.consistency import ConsistencyNetwork
from semigen.estimators.graph import GraphClassifier
from semigen.estimators.latent_mixture import LatentMixtureClassifier
from semigen.estimators.naive_bayes import SemiSupervisedNaiveBayes
from semigen.estimators.posterior import PosteriorClassifier
from semigen.estimators.self_training import BalancedSelfTraining
from semigen.generators.base import ClassifyingModel, GenerativeModel
from semigen.params.config import TrainParams

N_TREES = 100
N_FOURIER = 2000
"""Random features of the kernel machine; with 500 it lost 4 to 10 points on sets of 241 columns."""
MIN_ROWS_PER_CLASS_BOOSTING = 5
"""Below, boosted trees are the weakest learner of all and among the slowest."""

Use = Literal["unlabeled", "synthetic"]
Make = Callable[[int, int], Any]
"""``make(seed, n_rows)`` returns an unfitted classifier for that many rows."""


@dataclass(frozen=True)
class Learner:
    """A way to a classifier.

    Attributes:
        name: Its name in reports.
        uses: What it learns from beside the labeled rows; nothing for a labels-only learner.
        space: Coordinates of the rows that it is fitted on and asked about.
        make: Returns an unfitted scikit-learn classifier.
    """

    name: str
    uses: tuple[Use, ...]
    space: Space
    make: Make

    def fit(self, rows: TrainingRows) -> Any:
        """Return a fitted classifier with ``classes_`` and ``predict_proba``."""
        x, y = self._training_rows(rows)
        return self.make(rows.seed, len(y)).fit(x, y)

    def answer(self, rows: TrainingRows, held_out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return class probabilities of the rows held out of a fold's problem, and the classes.

        Args:
            rows: A fold's problem.
            held_out: Which labeled rows of the whole problem are asked about.
        """
        assert rows.fold is not None
        model = self.fit(rows)
        x = rows.held_out(self.space, rows.fold[0], held_out)
        return model.predict_proba(x), model.classes_

    def _training_rows(self, rows: TrainingRows) -> tuple[np.ndarray, np.ndarray]:
        return rows.labeled(self.space), rows.y


class SyntheticLearner(Learner):
    """Learns from labeled and synthetic rows, which live in encoded space."""

    def _training_rows(self, rows: TrainingRows) -> tuple[np.ndarray, np.ndarray]:
        x = np.concatenate([rows.labeled(self.space), rows.synthetic.x])
        return x, np.concatenate([rows.y, rows.synthetic.y])


class SemiSupervisedLearner(Learner):
    """Learns from labeled and unlabeled rows at once."""

    def _training_rows(self, rows: TrainingRows) -> tuple[np.ndarray, np.ndarray]:
        return rows.everything(self.space)


class GraphLearner(SemiSupervisedLearner):
    """Spreads labels over a graph, which a problem and its folds share."""

    def fit(self, rows: TrainingRows) -> GraphClassifier:
        return self._fit(rows, None)

    def answer(self, rows: TrainingRows, held_out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what a forest says that did not learn from the rows held out.

        They are the first of ``everything``, with their labels hidden. The graph, which holds them,
        would answer better than the forest can for new rows: weighed by its answers, graph learners
        counted for too much, and the committee fell below labels alone (see ``select``).
        """
        model = self._fit(rows, held_out)
        x, _ = rows.everything(self.space)
        return model.predict_proba(x[held_out]), model.classes_

    def _fit(self, rows: TrainingRows, withheld: np.ndarray | None) -> GraphClassifier:
        model: GraphClassifier = self.make(rows.seed, 0)
        x, y = rows.everything(self.space)
        return model.fit(x, y, rows.graph(self.space, model.n_neighbors), withheld)


class PosteriorLearner(Learner):
    """A generator that classifies."""

    def fit(self, rows: TrainingRows) -> PosteriorClassifier:
        return PosteriorClassifier().fit(None, rows.generator.classes_)


def make_learners(
    params: TrainParams,
    generator: GenerativeModel | None = None,
    *,
    n_rows_per_class: float = np.inf,
) -> tuple[Learner, ...]:
    """Return all learners that the generator and the rows allow, labels-only ones first.

    Args:
        params: Settings of the learners.
        generator: One that classifies is a learner, too.
        n_rows_per_class: Labeled rows by the number of classes.
    """
    mlp = partial(_mlp, params)
    graph = partial(_graph, params)
    boosted = Learner("boosted_trees", (), "encoded", _boosted_trees)
    learners = [
        Learner("logistic_regression", (), "encoded", _logistic),
        Learner("logistic_regression_standard", (), "encoded", _standard_logistic),
        Learner("logistic_regression_l1", (), "encoded", _sparse_logistic),
        Learner("naive_bayes", (), "encoded", _naive_bayes),
        Learner("extra_trees", (), "encoded", _extra_trees),
        Learner("extra_trees_wide", (), "encoded", _wide_extra_trees),
        Learner("random_forest", (), "encoded", _random_forest),
        Learner("kernel_machine", (), "encoded", _kernel_machine),
        Learner("mlp", (), "encoded", mlp),
        *([boosted] if n_rows_per_class >= MIN_ROWS_PER_CLASS_BOOSTING else []),
        Learner("logistic_regression_latent", ("unlabeled",), "both", _logistic),
        Learner("extra_trees_latent", ("unlabeled",), "both", _wide_extra_trees),
        SemiSupervisedLearner("self_training", ("unlabeled",), "encoded", _self_training),
        SemiSupervisedLearner("latent_mixture", ("unlabeled",), "latent", _mixture),
        SemiSupervisedLearner("naive_bayes_em", ("unlabeled",), "encoded", _naive_bayes_em),
        SemiSupervisedLearner(
            "naive_bayes_em_tempered", ("unlabeled",), "encoded", _naive_bayes_em_tempered
        ),
        GraphLearner("label_spreading", ("unlabeled",), "encoded", partial(graph, 0)),
        GraphLearner("label_spreading_latent", ("unlabeled",), "latent", partial(graph, 0)),
        GraphLearner("label_diffusion", ("unlabeled",), "encoded", partial(graph, 20)),
        GraphLearner("label_diffusion_latent", ("unlabeled",), "latent", partial(graph, 20)),
        SyntheticLearner("mlp_synthetic", ("unlabeled", "synthetic"), "encoded", mlp),
        SyntheticLearner(
            "extra_trees_synthetic", ("unlabeled", "synthetic"), "encoded", _extra_trees
        ),
    ]
    learners += [EXTRA_LEARNERS[name] for name in params.extra_learners]
    if isinstance(generator, ClassifyingModel):
        learners.append(PosteriorLearner("generator", ("unlabeled",), "posterior", _no_model))
    return tuple(learners)


def _logistic(seed: int, _n_rows: int) -> LogisticRegression:
    return LogisticRegression(max_iter=3000, random_state=seed)


def _standard_logistic(seed: int, _n_rows: int) -> Any:
    """Logistic regression in units of each column's spread.

    Columns that share a unit are encoded in [0, 1], where the penalty weighs far more.
    """
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000, random_state=seed))


def _sparse_logistic(seed: int, _n_rows: int) -> Any:
    return make_pipeline(
        StandardScaler(),
        LogisticRegression(C=0.3, l1_ratio=1.0, solver="saga", tol=1e-2, random_state=seed),
    )


def _naive_bayes(_seed: int, _n_rows: int) -> SemiSupervisedNaiveBayes:
    return SemiSupervisedNaiveBayes(unlabeled_weight=0.0, tempering=0.25)


def _naive_bayes_em(_seed: int, _n_rows: int) -> SemiSupervisedNaiveBayes:
    return SemiSupervisedNaiveBayes()


def _naive_bayes_em_tempered(_seed: int, _n_rows: int) -> SemiSupervisedNaiveBayes:
    return SemiSupervisedNaiveBayes(unlabeled_weight=0.02, tempering=0.25)


def _extra_trees(seed: int, _n_rows: int) -> ExtraTreesClassifier:
    return ExtraTreesClassifier(N_TREES, random_state=seed)


def _wide_extra_trees(seed: int, _n_rows: int) -> ExtraTreesClassifier:
    """Trees that look at half of the columns: better where few columns matter."""
    return ExtraTreesClassifier(N_TREES, max_features=0.5, random_state=seed)


def _random_forest(seed: int, _n_rows: int) -> RandomForestClassifier:
    return RandomForestClassifier(N_TREES, random_state=seed)


def _boosted_trees(seed: int, _n_rows: int) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(max_iter=60, min_samples_leaf=5, random_state=seed)


def _kernel_machine(seed: int, _n_rows: int) -> Any:
    """Logistic regression on random Fourier features (Rahimi & Recht 2007).

    A support vector machine would store training rows.
    """
    return make_pipeline(
        StandardScaler(),
        RBFSampler(gamma="scale", n_components=N_FOURIER, random_state=seed),
        LogisticRegression(C=10.0, max_iter=1000, random_state=seed),
    )


def _mlp(params: TrainParams, seed: int, n_rows: int) -> MLPClassifier:
    return MLPClassifier(
        params.hidden_dims,
        batch_size=min(params.batch_size, n_rows),
        learning_rate_init=params.learning_rate,
        max_iter=params.epochs,
        n_iter_no_change=params.epochs,
        random_state=seed,
    )


def _mixture(_seed: int, _n_rows: int) -> LatentMixtureClassifier:
    return LatentMixtureClassifier()


def _graph(params: TrainParams, n_diffusions: int, seed: int, _n_rows: int) -> GraphClassifier:
    return GraphClassifier(
        n_neighbors=params.n_neighbors, n_diffusions=n_diffusions, random_state=seed
    )


def _no_model(_seed: int, _n_rows: int) -> PosteriorClassifier:
    return PosteriorClassifier()


def _self_training(_seed: int, _n_rows: int) -> Any:
    return make_pipeline(StandardScaler(), BalancedSelfTraining())


def _consistency(seed: int, _n_rows: int) -> ConsistencyNetwork:
    return ConsistencyNetwork(random_state=seed)


def _adversarial(seed: int, _n_rows: int) -> ConsistencyNetwork:
    return ConsistencyNetwork(smoothness=1.0, information=0.3, random_state=seed)


EXTRA_LEARNERS = {
    "consistency": SemiSupervisedLearner("consistency", ("unlabeled",), "encoded", _consistency),
    "adversarial": SemiSupervisedLearner("adversarial", ("unlabeled",), "encoded", _adversarial),
}
"""Learners that are asked for by name (``train.extra_learners``)."""
