"""Cross-validation of scikit-learn estimators on few labeled and many unlabeled rows.

Unlabeled rows have the label -1 or a missing one, as for scikit-learn's semi-supervised
classifiers. Its splitters would hold unlabeled rows out and its scorers would count -1 as a class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sklearn.metrics import check_scoring
from sklearn.model_selection import BaseCrossValidator, StratifiedKFold

from semigen.classifiers.inputs import as_labels, distinct_labels, labeled_rows
from semigen.errors import UserError

__all__ = ["LabeledKFold", "LabeledScorer", "labeled_scorer"]


class LabeledKFold(BaseCrossValidator):  # type: ignore[misc]
    """Stratified folds of the labeled rows; all unlabeled rows are in every training part.

    The only labeled row of a class is in every training part too, since a classifier cannot
    predict a class that it has never seen.

    Args:
        n_splits: Number of folds.
        shuffle: Whether to shuffle the rows of each class before they are divided.
        random_state: Seed of the shuffling.

    Examples:
        >>> from sklearn.model_selection import cross_val_score
        >>> from sklearn.semi_supervised import LabelSpreading
        >>> X = np.r_[np.linspace(0, 1, 20), np.linspace(4, 5, 20)][:, None]
        >>> y = np.repeat([0, 1], 20)
        >>> y[::3] = -1
        >>> cross_val_score(LabelSpreading(), X, y, cv=LabeledKFold(3)).tolist()
        [1.0, 1.0, 1.0]
    """

    def __init__(
        self, n_splits: int = 5, *, shuffle: bool = True, random_state: int | None = 0
    ) -> None:
        self.n_splits, self.shuffle, self.random_state = n_splits, shuffle, random_state

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds."""
        del X, y, groups
        return self.n_splits

    def split(self, X: Any, y: Any, groups: Any = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the indices of the training rows and of the held-out, labeled rows of each fold.

        Args:
            X: Ignored; part of scikit-learn's interface.
            y: Labels, shape ``(n,)``, -1 or missing where unlabeled.
            groups: Ignored; part of scikit-learn's interface.

        Raises:
            UserError: If ``n_splits`` is less than 2, or no class has as many labeled rows.
        """
        del X, groups
        codes = _class_codes(y)
        counts = np.bincount(codes[codes >= 0], minlength=1)
        if self.n_splits < 2:
            raise UserError(f"n_splits must be at least 2, not {self.n_splits}")
        if counts.max() < self.n_splits:
            raise UserError(
                f"n_splits={self.n_splits}, but no class has as many labeled rows (at most "
                f"{counts.max()}); use fewer folds"
            )
        repeated = np.flatnonzero((codes >= 0) & (counts[codes] > 1))
        folds = StratifiedKFold(
            self.n_splits,
            shuffle=self.shuffle,
            random_state=self.random_state if self.shuffle else None,
        )
        for _, held_out in folds.split(repeated, codes[repeated]):
            test = repeated[held_out]
            yield np.setdiff1d(np.arange(len(codes)), test), test


class LabeledScorer:
    """Scorer that ignores unlabeled rows; see ``labeled_scorer``.

    Args:
        scoring: Name of a score or a scorer of scikit-learn; None takes the estimator's ``score``.

    Examples:
        >>> from sklearn.dummy import DummyClassifier
        >>> model = DummyClassifier().fit([[0], [0]], ["ill", "ill"])
        >>> LabeledScorer("accuracy")(model, [[0], [0], [0]], ["ill", "well", -1])
        0.5
    """

    def __init__(self, scoring: str | Callable[..., Any] | None = None) -> None:
        self.scoring = scoring

    def __call__(self, estimator: Any, X: Any, y: Any) -> Any:
        rows, labels, _ = labeled_rows(X, y)
        return check_scoring(estimator, self.scoring)(estimator, rows, labels)

    def __repr__(self) -> str:
        return f"LabeledScorer({self.scoring!r})"


def labeled_scorer(scoring: str | Callable[..., Any] | None = None) -> LabeledScorer:
    """Return a scorer for ``cross_val_score`` or ``GridSearchCV`` that ignores unlabeled rows.

    It is needed where rows without a label are scored: for training scores, and with other
    splitters than ``LabeledKFold``.

    Args:
        scoring: Name of a score or a scorer of scikit-learn; None takes the estimator's ``score``.
    """
    return LabeledScorer(scoring)


def _class_codes(y: Any) -> np.ndarray:
    """Return the class index of each label, -1 where unlabeled, shape ``(n,)``."""
    labels = as_labels(y)
    codes = {label: code for code, label in enumerate(distinct_labels(labels).tolist())}
    return np.array([codes.get(label, -1) for label in labels])
