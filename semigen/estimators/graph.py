"""Labels spread over a graph of neighbors, and a forest that learns from the spread labels."""

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
    """Label spreading that scores new rows and keeps none.

    A graph answers for its own rows only, and would carry them into the model. So a forest learns
    the spread labels, each row weighing as much as the graph is sure of it.

    Args:
        n_neighbors: Neighbors of a row in the graph.
        n_diffusions: Rounds that shorten the classes' boundaries; 0 is plain label spreading (see
            ``spread_on_graph``).
        n_trees: Trees of the forest.
        random_state: Seed of the forest.

    Attributes:
        classes_: Shape ``(n_classes,)``.
        student_: The forest.
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
        withheld: np.ndarray | None = None,
    ) -> Self:
        """Fit on rows ``(n, n_features)`` with labels ``y``, -1 where unlabeled.

        Args:
            X: Rows.
            y: Labels.
            graph: Weights of the rows' graph if they are known, shape ``(n, n)``.
            withheld: Indices of unlabeled rows that are in the graph, but that the forest does not
                learn from: those that it will be judged by.
        """
        X, y = validate_data(self, X, y, ensure_min_samples=2)
        shares = self.spread(X, y, graph)
        sureness = shares.max(axis=1)
        taught = sureness > 0  # a row that no label reached has no distribution
        if withheld is not None:
            taught[withheld] = False
        forest = ExtraTreesClassifier(self.n_trees, random_state=self.random_state)
        self.student_ = forest.fit(
            X[taught],
            self.classes_[shares[taught].argmax(axis=1)],
            sample_weight=sureness[taught],
        )
        return self

    def spread(
        self, X: np.ndarray, y: np.ndarray, graph: sparse.csr_array | None = None
    ) -> np.ndarray:
        """Return the class shares of the rows themselves, shape ``(n, n_classes)``."""
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
