"""Self-training with class-balanced pseudo-labels."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from semigen.estimators.base import ProbabilisticClassifier


class BalancedSelfTraining(ProbabilisticClassifier):
    """Self-training whose pseudo-labels keep the class proportions of the labeled rows.

    Plain self-training adds every row above a confidence threshold, mostly rows of the class that
    the classifier prefers already. Here every round starts again from the labeled rows (curriculum
    labeling, Cascante-Bonilla et al. 2021) and adds the most confident predictions of the previous
    round: a growing fraction of the unlabeled rows, divided between the classes by their
    proportions among the labeled rows. The total weight of the pseudo-labeled rows is
    ``pseudo_weight`` times that of the labeled rows.

    Args:
        estimator: Classifier that accepts ``sample_weight``; logistic regression if None.
        n_rounds: Number of rounds; the last one adds ``max_share`` of the unlabeled rows.
        max_share: Fraction of the unlabeled rows that get a pseudo-label in the last round.
        pseudo_weight: Total weight of the pseudo-labeled rows relative to the labeled ones.

    Attributes:
        classes_: Labels, shape ``(n_classes,)``.
        estimator_: Classifier of the last round.
        pseudo_labels_: Training labels of the last round, shape ``(n,)``; -1 for unused rows.

    Examples:
        >>> X = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]])
        >>> model = BalancedSelfTraining(max_share=0.5).fit(X, np.array([0, -1, -1, -1, -1, 1]))
        >>> model.pseudo_labels_
        array([ 0,  0, -1, -1,  1,  1])
    """

    def __init__(
        self,
        estimator: Any = None,
        n_rounds: int = 4,
        max_share: float = 0.8,
        pseudo_weight: float = 1.0,
    ) -> None:
        self.estimator = estimator
        self.n_rounds = n_rounds
        self.max_share = max_share
        self.pseudo_weight = pseudo_weight

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """Fit in ``n_rounds`` rounds.

        Args:
            X: Rows, shape ``(n, n_features)``.
            y: Labels, -1 where unlabeled, shape ``(n,)``.
        """
        X, y = validate_data(self, X, y)
        check_classification_targets(y)
        is_labeled = y != -1
        base = LogisticRegression(max_iter=1000) if self.estimator is None else self.estimator
        self.estimator_ = clone(base).fit(X[is_labeled], y[is_labeled])
        self.classes_ = self.estimator_.classes_
        self.pseudo_labels_ = np.where(is_labeled, y, -1)
        unlabeled = np.flatnonzero(~is_labeled)
        proportions = (y[is_labeled][:, None] == self.classes_).mean(axis=0)
        for round_ in range(self.n_rounds if len(unlabeled) else 0):
            fraction = self.max_share * (round_ + 1) / self.n_rounds
            probabilities = self.estimator_.predict_proba(X[unlabeled])
            chosen, codes = _most_confident(probabilities, fraction * proportions)
            self.pseudo_labels_ = np.where(is_labeled, y, -1)
            self.pseudo_labels_[unlabeled[chosen]] = self.classes_[codes]
            weights = np.ones(len(y))
            weights[unlabeled] = self.pseudo_weight * is_labeled.sum() / max(len(chosen), 1)
            used = self.pseudo_labels_ != -1
            self.estimator_ = clone(base).fit(
                X[used], self.pseudo_labels_[used], sample_weight=weights[used]
            )
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return class probabilities, shape ``(n, n_classes)``."""
        check_is_fitted(self)
        probabilities: np.ndarray = self.estimator_.predict_proba(
            validate_data(self, X, reset=False)
        )
        return probabilities


def _most_confident(
    probabilities: np.ndarray, fractions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the most confident rows of every predicted class, and their predicted columns.

    Args:
        probabilities: Class probabilities, shape ``(n, n_classes)``.
        fractions: Maximum number of rows of each class, as a fraction of all rows, shape
            ``(n_classes,)``.
    """
    codes, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    chosen = [
        order[codes[order] == column][: round(fraction * len(probabilities))]
        for column, fraction in enumerate(fractions)
    ]
    rows = np.concatenate(chosen)
    return rows, codes[rows]
