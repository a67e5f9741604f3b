"""Input of the estimators: tables or arrays of rows, and labels of which most are missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import _safe_indexing, check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from semigen.errors import UserError
from semigen.tables.schema import TableSchema

TARGET = "label"
"""Name of the labels in an inferred schema, unless a feature has that name."""
UNLABELED = -1


def as_table(estimator: Any, X: Any, *, reset: bool) -> pd.DataFrame:
    """Return rows as a table with text names and an index from 0.

    Columns without names are named ``column_0``, ``column_1``, ... in the fit; later, columns
    without names get those of the fit. Columns that the fit did not have are ignored.

    Args:
        estimator: Estimator that gets ``n_features_in_`` and, if ``X`` has column names,
            ``feature_names_in_``.
        X: Data frame or array, shape ``(n, n_features)``.
        reset: Whether this is the fit; otherwise the columns must be those of the fit.

    Raises:
        ValueError: If ``X`` has no row, no column or infinite numbers, if it has not two
            dimensions, or if its columns differ from those of the fit.
        TypeError: If ``X`` is a sparse matrix.
    """
    if not isinstance(X, pd.DataFrame):
        X = check_array(X, dtype=None, ensure_all_finite="allow-nan", estimator=estimator)
    if 0 in X.shape:
        raise UserError(f"0 rows or 0 columns (shape={X.shape}), while a minimum of 1 is required.")
    if isinstance(X, pd.DataFrame):
        repeated = X.columns[X.columns.duplicated()]
        if len(repeated):
            raise UserError(f"column {repeated[0]!r} occurs twice; rename one")
        if not reset:
            X = _without_additional_columns(estimator, X)
    validate_data(estimator, X, skip_check_array=True, reset=reset)
    names: Sequence[str] = getattr(
        estimator, "feature_names_in_", [f"column_{i}" for i in range(X.shape[1])]
    )
    return pd.DataFrame(X).reset_index(drop=True).set_axis(list(names), axis=1)


def _without_additional_columns(estimator: Any, table: pd.DataFrame) -> pd.DataFrame:
    """Return a table without columns that the fit did not have, such as labels."""
    known = table.columns.isin(getattr(estimator, "feature_names_in_", table.columns))
    return table.loc[:, known] if known.sum() == estimator.n_features_in_ else table


def as_labels(y: Any) -> pd.Series:
    """Return labels, missing where unlabeled.

    Args:
        y: Labels, shape ``(n,)``; unlabeled rows have the number -1 or a missing value. The text
            ``"-1"`` is a label.

    Raises:
        ValueError: If ``y`` is None, has not one label a row, or has fractions as labels.

    Examples:
        >>> as_labels(["ill", -1, None, "well"]).tolist()
        ['ill', None, None, 'well']
    """
    if y is None:
        raise UserError("the estimator requires y to be passed, but the target y is None")
    labels = pd.Series(column_or_1d(np.asarray(y, dtype=object), warn=True), name=TARGET)
    labels = labels.where(labels.notna() & ~labels.isin([UNLABELED]), None)
    values = labels.dropna().infer_objects()
    if pd.api.types.is_float_dtype(values):
        check_classification_targets(values.to_numpy())
    return labels


def check_labels(labels: pd.Series, n_rows: int) -> None:
    """Check that learners can be evaluated on the labels.

    Args:
        labels: Label of each row, missing where unlabeled.
        n_rows: Number of rows of the table.

    Raises:
        UserError: If there is not one label a row, or there are too few labels.
    """
    if n_rows != len(labels):
        raise UserError(f"{n_rows} rows, but {len(labels)} labels")
    counts = labels.value_counts()
    if len(counts) < 2:
        number = f"{len(counts)} class" if len(counts) else "none"
        raise UserError(
            f"labels of at least two classes are needed, got {number}: {list(counts.index)}"
        )
    if counts.max() < 2:
        raise UserError(
            "every class has only one label; at least one class needs two, so that learners can be "
            "evaluated on held-out rows"
        )


def infer_schema(table: pd.DataFrame, labels: pd.Series, min_rows: int) -> TableSchema:
    """Infer the schema of a table; its target gets a name that no feature has.

    Args:
        table: Feature columns of all rows.
        labels: Label of each row, missing where unlabeled.
        min_rows: Minimum number of rows of a category; rarer ones are merged.
    """
    target = TARGET
    while target in table:
        target += "_"
    is_labeled = labels.notna()
    return TableSchema.infer(
        table[is_labeled].assign(**{target: labels[is_labeled]}),
        table[~is_labeled],
        target,
        min_rows=min_rows,
    )


def distinct_labels(labels: pd.Series) -> np.ndarray:
    """Return the distinct labels, numbers before text, sorted, shape ``(n_classes,)``."""
    return np.array(
        sorted(pd.unique(labels.dropna()), key=lambda label: (isinstance(label, str), label))
    )


def labeled_rows(X: Any, y: Any) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return the labeled rows, their labels and their indices.

    Args:
        X: Rows: data frame, array, sparse matrix or list.
        y: Labels, shape ``(n,)``, -1 or missing where unlabeled.

    Raises:
        UserError: If no row has a label.

    Examples:
        >>> labeled_rows([[1], [2], [3]], [-1, 7, None])
        ([[2]], array([7]), array([1]))
    """
    labels = as_labels(y)
    labeled = np.flatnonzero(labels.notna())
    if not len(labeled):
        raise UserError("no row has a label, so there is nothing to evaluate")
    return _safe_indexing(X, labeled), np.array(labels.iloc[labeled].tolist()), labeled
