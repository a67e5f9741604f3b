"""Learners: which rows of a learning problem an estimator is fitted on, and in which space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from semigen.classifiers.problem import LearningProblem, Space
from semigen.estimators.graph import GraphClassifier
from semigen.estimators.posterior import PosteriorClassifier

Use = Literal["unlabeled", "synthetic"]
MakeEstimator = Callable[[int, int], Any]
"""``make(seed, n_rows)`` returns an unfitted estimator for that many training rows."""


@dataclass(frozen=True)
class Learner:
    """A way to fit a classifier to a learning problem; this one uses the labeled rows only.

    Attributes:
        name: Name in reports.
        uses: Rows that the learner depends on besides the labeled ones; empty for a labels-only
            learner.
        space: Space of the rows that the estimator is fitted on and predicts.
        make: Returns an unfitted scikit-learn classifier.

    Examples:
        >>> import numpy as np
        >>> from sklearn.naive_bayes import GaussianNB
        >>> from semigen.params.config import AugmentParams
        >>> x, none = np.array([[0.0], [0.1], [0.9], [1.0]]), np.zeros((0, 1))
        >>> problem = LearningProblem(
        ...     x, np.array([0, 0, 1, 1]), none, x, none, None, AugmentParams(), seed=0
        ... )
        >>> learner = Learner("gaussian", (), "encoded", lambda seed, n_rows: GaussianNB())
        >>> learner.fit(problem).predict([[0.2], [0.7]]).tolist()
        [0, 1]
    """

    name: str
    uses: tuple[Use, ...]
    space: Space
    make: MakeEstimator

    def fit(self, problem: LearningProblem) -> Any:
        """Return a fitted estimator with ``classes_`` and ``predict_proba``."""
        x, y = self._training_rows(problem)
        return self.make(problem.seed, len(y)).fit(x, y)

    def predict_held_out(
        self, problem: LearningProblem, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fit on a fold's problem and predict its held-out rows.

        Args:
            problem: Problem of the fold.
            rows: Indices of the held-out rows among the labeled rows of the whole problem.

        Returns:
            Class probabilities, shape ``(len(rows), n_classes)``, and the classes, shape
            ``(n_classes,)``.
        """
        estimator = self.fit(problem)
        x = problem.held_out(self.space, rows)
        return estimator.predict_proba(x), estimator.classes_

    def _training_rows(self, problem: LearningProblem) -> tuple[np.ndarray, np.ndarray]:
        return problem.labeled(self.space), problem.y


class SyntheticLearner(Learner):
    """Fits an estimator to labeled and synthetic rows, in encoded space.

    Examples:
        >>> from sklearn.naive_bayes import GaussianNB
        >>> from semigen.params.config import AugmentParams
        >>> from semigen.tables.encoding import Encoded
        >>> x, none = np.array([[0.0], [1.0]]), np.zeros((0, 1))
        >>> synthetic = Encoded(np.array([[0.1], [0.2], [0.9], [0.8]]), np.array([0, 0, 1, 1]))
        >>> problem = LearningProblem(
        ...     x, np.array([0, 1]), none, x, none, None, AugmentParams(), 0, synthetic
        ... )
        >>> uses = ("unlabeled", "synthetic")
        >>> learner = SyntheticLearner("nb", uses, "encoded", lambda seed, n_rows: GaussianNB())
        >>> learner.fit(problem).class_count_.tolist()
        [3.0, 3.0]
    """

    def _training_rows(self, problem: LearningProblem) -> tuple[np.ndarray, np.ndarray]:
        x = np.concatenate([problem.labeled(self.space), problem.synthetic.x])
        return x, np.concatenate([problem.y, problem.synthetic.y])


class SemiSupervisedLearner(Learner):
    """Fits a semi-supervised estimator to labeled and unlabeled rows.

    Examples:
        >>> from semigen.estimators.latent_mixture import LatentMixtureClassifier
        >>> from semigen.params.config import AugmentParams
        >>> x, more = np.array([[0.0], [1.0]]), np.array([[0.1], [0.2], [0.8], [0.9]])
        >>> problem = LearningProblem(
        ...     x, np.array([0, 1]), more, x, more, None, AugmentParams(), seed=0
        ... )
        >>> learner = SemiSupervisedLearner(
        ...     "mixture", ("unlabeled",), "latent", lambda seed, n_rows: LatentMixtureClassifier()
        ... )
        >>> learner.fit(problem).predict(more).tolist()
        [0, 0, 1, 1]
    """

    def _training_rows(self, problem: LearningProblem) -> tuple[np.ndarray, np.ndarray]:
        return problem.all_rows(self.space)


class GraphLearner(SemiSupervisedLearner):
    """Fits a ``GraphClassifier``; a problem and its folds share the graph.

    Examples:
        >>> from semigen.params.config import AugmentParams
        >>> x, more = np.array([[0.0], [1.0]]), np.array([[0.1], [0.2], [0.8], [0.9]])
        >>> problem = LearningProblem(
        ...     x, np.array([0, 1]), more, x, more, None, AugmentParams(), seed=0
        ... )
        >>> learner = GraphLearner(
        ...     "graph", ("unlabeled",), "encoded",
        ...     lambda seed, n_rows: GraphClassifier(n_neighbors=2, n_trees=5),
        ... )
        >>> learner.fit(problem).predict(more).tolist()
        [0, 0, 1, 1]
    """

    def fit(self, problem: LearningProblem) -> GraphClassifier:
        return self._fit(problem, excluded=None)

    def predict_held_out(
        self, problem: LearningProblem, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Predict held-out rows by a forest that was not trained on them.

        The held-out rows come first in ``all_rows``, without their labels. They are nodes of the
        graph, so the spread labels would predict them better than the forest can predict new rows:
        weights from such predictions favored graph learners so much that the committee fell below
        labels alone (see ``selection.select``).
        """
        estimator = self._fit(problem, excluded=rows)
        x, _ = problem.all_rows(self.space)
        return estimator.predict_proba(x[rows]), estimator.classes_

    def _fit(self, problem: LearningProblem, excluded: np.ndarray | None) -> GraphClassifier:
        estimator: GraphClassifier = self.make(problem.seed, 0)
        x, y = problem.all_rows(self.space)
        graph = problem.graph(self.space, estimator.n_neighbors)
        return estimator.fit(x, y, graph, excluded)


class PosteriorLearner(Learner):
    """Uses the class probabilities of a generator that classifies.

    Examples:
        >>> from types import SimpleNamespace
        >>> from semigen.params.config import AugmentParams
        >>> generator = SimpleNamespace(classes_=np.array([0, 1]))
        >>> none = np.zeros((0, 1))
        >>> problem = LearningProblem(
        ...     none, np.zeros(0), none, none, none, generator, AugmentParams(), seed=0
        ... )
        >>> learner = PosteriorLearner(
        ...     "generator", ("unlabeled",), "posterior", lambda seed, n_rows: PosteriorClassifier()
        ... )
        >>> learner.fit(problem).predict(np.array([[0.2, 0.8]])).tolist()
        [1]
    """

    def fit(self, problem: LearningProblem) -> PosteriorClassifier:
        estimator: PosteriorClassifier = self.make(problem.seed, 0)
        return estimator.fit(None, problem.generator.classes_)
