"""Self-training that cannot run away: few pseudo-labels at first, balanced, of little weight."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from semigen.estimators.base import ProbabilisticClassifier


class BalancedSelfTraining(ProbabilisticClassifier):
    """A classifier taught by its own surest answers, in the classes' proportions.

    Plain self-training takes whatever passes a threshold, which is mostly the class that it already
    prefers. Here every round starts anew from the labeled rows (curriculum labeling, Cascante-
    Bonilla et al. 2021) and takes a growing share of the unlabeled ones, each class as many as its
    share among the labeled rows allows, by how sure the last round was. All pseudo-labeled rows
    together weigh ``pseudo_weight`` of the labeled ones.

    Args:
        estimator: Classifier that takes ``sample_weight``; logistic regression by default.
        n_rounds: Rounds; the last takes ``max_share`` of the unlabeled rows.
        max_share: Of the unlabeled rows.
        pseudo_weight: Total weight of the pseudo-labeled rows, in multiples of the labeled ones'.

    Attributes:
        classes_: Shape ``(n_classes,)``.
        estimator_: The classifier of the last round.
        pseudo_labels_: Its training labels, shape ``(n,)``; -1 for rows that it left out.
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
        """Fit on rows ``(n, n_features)`` with labels ``y``, -1 where unlabeled."""
        X, y = validate_data(self, X, y)
        check_classification_targets(y)
        is_labeled = y != -1
        base = LogisticRegression(max_iter=1000) if self.estimator is None else self.estimator
        self.estimator_ = clone(base).fit(X[is_labeled], y[is_labeled])
        self.classes_ = self.estimator_.classes_
        self.pseudo_labels_ = np.where(is_labeled, y, -1)
        hidden = np.flatnonzero(~is_labeled)
        shares = (y[is_labeled][:, None] == self.classes_).mean(axis=0)
        for round_ in range(self.n_rounds if len(hidden) else 0):
            share = self.max_share * (round_ + 1) / self.n_rounds
            answers = self.estimator_.predict_proba(X[hidden])
            taken, codes = _surest_by_class(answers, share * shares)
            self.pseudo_labels_ = np.where(is_labeled, y, -1)
            self.pseudo_labels_[hidden[taken]] = self.classes_[codes]
            weights = np.ones(len(y))
            weights[hidden] = self.pseudo_weight * is_labeled.sum() / max(len(taken), 1)
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


def _surest_by_class(answers: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows are taken, and the column of each; a row goes to its most probable class.

    Args:
        answers: Class probabilities, shape ``(n, n_classes)``.
        shares: Most rows of each class, as shares of all, shape ``(n_classes,)``.
    """
    codes, sureness = answers.argmax(axis=1), answers.max(axis=1)
    order = np.argsort(-sureness, kind="stable")
    taken = [
        order[codes[order] == column][: round(share * len(answers))]
        for column, share in enumerate(shares)
    ]
    rows = np.concatenate(taken)
    return rows, codes[rows]
