"""Permutation importance of the columns of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.inspection import permutation_importance

from semigen.errors import UserError


def permutation_importances(
    estimator: Any,
    X: Any,
    y: np.ndarray,
    names: Sequence[str],
    *,
    scoring: str | Callable[..., float] | None,
    n_repeats: int,
    seed: int,
) -> pd.DataFrame:
    """Return how much a score decreases when the values of one column are permuted.

    Args:
        estimator: Fitted classifier with ``predict_log_proba``.
        X: Labeled rows, shape ``(n, n_features)``.
        y: Labels, shape ``(n,)``.
        names: Names of the columns.
        scoring: Score of scikit-learn or function ``scoring(estimator, X, y)``; None takes the mean
            log-likelihood of the labels.
        n_repeats: Number of permutations of each column.
        seed: Seed of the permutations.

    Returns:
        A row per column, the most important first: ``feature``, ``importance`` and ``std``.

    Examples:
        >>> from sklearn.linear_model import LogisticRegression
        >>> X = np.array([[0.0, 5.0], [0.0, 4.0], [1.0, 5.0], [1.0, 4.0]])
        >>> y = np.array([0, 0, 1, 1])
        >>> model = LogisticRegression().fit(X, y)
        >>> found = permutation_importances(
        ...     model, X, y, ["signal", "noise"], scoring=None, n_repeats=9, seed=0
        ... )
        >>> found["feature"].tolist()
        ['signal', 'noise']
    """
    found = permutation_importance(
        estimator, X, y, scoring=scoring or _log_likelihood, n_repeats=n_repeats, random_state=seed
    )
    importances = {
        "feature": names,
        "importance": found.importances_mean,
        "std": found.importances_std,
    }
    return pd.DataFrame(importances).sort_values(
        "importance", ascending=False, kind="stable", ignore_index=True
    )


def _log_likelihood(estimator: Any, X: Any, y: np.ndarray) -> float:
    """Return the mean log-likelihood of the labels in nats."""
    columns = pd.Index(estimator.classes_).get_indexer(pd.Index(y))
    if (columns < 0).any():
        raise UserError(f"unknown label {y[columns < 0][0]!r}; known: {list(estimator.classes_)}")
    return float(estimator.predict_log_proba(X)[np.arange(len(y)), columns].mean())
