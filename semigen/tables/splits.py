"""Test split, and choice of the rows that keep their label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from semigen.artifacts import Layout
from semigen.errors import UserError
from semigen.params.config import DataParams
from semigen.params.explain import require_target
from semigen.tables.columns import as_text
from semigen.tables.sources import read_table


@dataclass(frozen=True)
class Tables:
    """The three tables of a run as they were read.

    Attributes:
        labeled: Labeled training rows.
        unlabeled: Unlabeled training rows, without a target column.
        test: Labeled rows that are not used for training.
        files: File of each part, as named in ``params.yaml``.
        unlabeled_labels: Target column of the unlabeled table, if there is one. Validation reports
            it; it is not used for training.

    Examples:
        >>> rows = pd.DataFrame({"age": [31, 47], "label": ["a", "b"]})
        >>> files = {"labeled": "a.csv", "unlabeled": "b.csv", "test": "a.csv"}
        >>> Tables(rows, rows[["age"]], rows, files).is_split
        True
    """

    labeled: pd.DataFrame
    unlabeled: pd.DataFrame
    test: pd.DataFrame
    files: dict[str, str]
    unlabeled_labels: pd.Series | None = None

    @property
    def is_split(self) -> bool:
        """Whether the test rows were split off the labeled table."""
        return self.files["test"] == self.files["labeled"]


def read_tables(data: DataParams, layout: Layout) -> Tables:
    """Read the tables; without a test table, the test rows are split off the labeled table.

    Args:
        data: Paths of the tables and the split.
        layout: The project's files.

    Raises:
        UserError: If a file cannot be read, the labeled or test table lacks the label column, or
            the labeled rows cannot be split.
    """
    labeled = _read_labeled(data.labeled, data.target, layout)
    unlabeled = read_table(layout.source(data.unlabeled), data.unlabeled)
    ignored = unlabeled.pop(data.target) if data.target in unlabeled else None
    files = {"labeled": data.labeled, "unlabeled": data.unlabeled}
    if data.test_table is None:
        labeled, test = split_test(labeled, data)
        return Tables(labeled, unlabeled, test, {**files, "test": data.labeled}, ignored)
    test = _read_labeled(data.test_table, data.target, layout)
    return Tables(labeled, unlabeled, test, {**files, "test": data.test_table}, ignored)


def split_test(labeled: pd.DataFrame, data: DataParams) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split labeled rows into training and test rows, stratified by class.

    The row of a class with one row cannot be stratified; it becomes a training row, and validation
    reports it.

    Args:
        labeled: Labeled rows.
        data: Label column, fraction of test rows, and seed.

    Returns:
        Training rows and test rows, each with an index from 0.

    Raises:
        UserError: If there are too few rows for a test row of every class.
    """
    labels = as_text(labeled[data.target])
    counts = labels.map(labels.value_counts()).fillna(1).to_numpy()
    alone, shared = labeled[counts < 2], labeled[counts >= 2]
    try:
        train, test = train_test_split(
            shared,
            test_size=data.test_size,
            random_state=data.random_state,
            stratify=labels[counts >= 2],
        )
    except ValueError as error:
        raise UserError(
            f"{data.labeled}: cannot split off {data.test_size:.0%} of {len(labeled)} labeled rows "
            f"as test rows of all {labels.nunique()} classes in column {data.target!r}; add rows, "
            "increase data.test_size, set data.test to a test table, or check that data.target is "
            "a column of classes"
        ) from error
    train = pd.concat([train.sort_index(), alone])
    return train.reset_index(drop=True), test.sort_index().reset_index(drop=True)


def pick_labeled(y: np.ndarray, n_labeled: int, rng: np.random.Generator) -> np.ndarray:
    """Choose the rows that keep their label, balanced over the classes as far as possible.

    Args:
        y: Class indices, shape ``(n,)``.
        n_labeled: Number of rows to choose, at most ``n``.
        rng: Random number generator.

    Returns:
        Sorted row indices, shape ``(n_labeled,)``.
    """
    order = rng.permutation(len(y))
    rank_in_class = pd.Series(y[order]).groupby(y[order]).cumcount().to_numpy()
    return np.sort(order[np.argsort(rank_in_class, kind="stable")[:n_labeled]])


def _read_labeled(path: str, target: str, layout: Layout) -> pd.DataFrame:
    table = read_table(layout.source(path), path)
    require_target(path, target, list(table.columns))
    return table
