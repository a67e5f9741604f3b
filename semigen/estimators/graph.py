"""Label spreading whose labels train a forest."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from semigen.estimators.base import ProbabilisticClassifier
from semigen.methods.label_spreading import N_DIFFUSIONS, neighbor_graph, spread_on_graph


class GraphClassifier(ProbabilisticClassifier):
    """Inductive label spreading: a forest trained on labels spread over a neighbor graph.

    Label spreading is transductive, and its model would contain the training rows. Here a forest is
    trained on the spread labels, with their confidence as sample weights, so that new rows can be
    predicted and no training row is stored.

    Args:
        n_neighbors: Number of neighbors of a row in the graph.
        n_diffusions: Number of rounds that shorten the class boundaries; 0 is plain label spreading
            (see ``spread_on_graph``).
        n_trees: Number of trees in the forest.
        random_state: Seed of the forest.

    Attributes:
        classes_: Labels, shape ``(n_classes,)``.
        student_: Fitted forest.

    Examples:
        >>> X = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]])
        >>> y = np.array([0, -1, -1, -1, -1, 1])
        >>> model = GraphClassifier(n_neighbors=2, n_trees=5).fit(X, y)
        >>> model.predict([[0.15], [5.05]])
        array([0, 1])
    """

    def __init__(
        self,
        n_neighbors: int = 10,
        n_diffusions: int = N_DIFFUSIONS,
        n_trees: int = 50,
        random_state: int = 0,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.n_diffusions = n_diffusions
        self.n_trees = n_trees
        self.random_state = random_state

    def fit(
        self,
        X: np.ndarray,
        y: np.ndarray,
        graph: sparse.csr_array | None = None,
        excluded: np.ndarray | None = None,
    ) -> Self:
        """Spread the labels and fit the forest.

        Args:
            X: Rows, shape ``(n, n_features)``.
            y: Labels, -1 where unlabeled, shape ``(n,)``.
            graph: Weights of the rows' graph, shape ``(n, n)``; computed if None.
            excluded: Indices of unlabeled rows that are nodes of the graph but no training rows of
                the forest, such as held-out rows.
        """
        X, y = validate_data(self, X, y, ensure_min_samples=2)
        probabilities = self.spread(X, y, graph)
        confidence = probabilities.max(axis=1)
        is_training_row = confidence > 0  # labels do not reach rows without a path to them
        if excluded is not None:
            is_training_row[excluded] = False
        forest = ExtraTreesClassifier(self.n_trees, random_state=self.random_state)
        self.student_ = forest.fit(
            X[is_training_row],
            self.classes_[probabilities[is_training_row].argmax(axis=1)],
            sample_weight=confidence[is_training_row],
        )
        return self

    def spread(
        self, X: np.ndarray, y: np.ndarray, graph: sparse.csr_array | None = None
    ) -> np.ndarray:
        """Return class probabilities of the rows by label spreading.

        Args:
            X: Rows, shape ``(n, n_features)``.
            y: Labels, -1 where unlabeled, shape ``(n,)``.
            graph: Weights of the rows' graph, shape ``(n, n)``; computed if None.

        Returns:
            Shape ``(n, n_classes)``; zeros for rows that no label reaches.
        """
        check_classification_targets(y)
        self.classes_, codes = np.unique(y[y != -1], return_inverse=True)
        labels = np.full(len(y), -1)
        labels[y != -1] = codes
        if graph is None:
            graph = neighbor_graph(X, min(self.n_neighbors, len(X) - 1))
        return spread_on_graph(graph, labels, n_diffusions=self.n_diffusions)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return class probabilities, shape ``(n, n_classes)``."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        probabilities = np.zeros((len(X), len(self.classes_)))
        known = np.searchsorted(self.classes_, self.student_.classes_)
        probabilities[:, known] = self.student_.predict_proba(X)
        return probabilities

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags
