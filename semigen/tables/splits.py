"""Which rows train, which are held out, and which keep their label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from semigen.artifacts import Layout
from semigen.errors import UserError
from semigen.params.config import DataParams
from semigen.tables.schema import as_text
from semigen.tables.sources import read_table


@dataclass(frozen=True)
class Tables:
    """The three tables of a run as they were read.

    Attributes:
        labeled: Labeled rows to learn from.
        unlabeled: Rows without a label; the target column is dropped if there was one.
        test: Labeled rows that nothing is fitted on.
        files: Where each part was read from, as the user named it.
        unlabeled_labels: The unlabeled table's target column if it had one, for validation to
            count; nothing is learned from it.
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
    """Read the user's tables; split the test rows off the labeled ones if there is no test table.

    Raises:
        UserError: If a file cannot be read, the label column is absent from a table that needs it,
            or the labeled rows cannot be split.
    """
    labeled = _read_labeled(data.labeled, data.target, layout)
    unlabeled = read_table(layout.source(data.unlabeled), data.unlabeled)
    hidden = unlabeled.pop(data.target) if data.target in unlabeled else None
    files = {"labeled": data.labeled, "unlabeled": data.unlabeled}
    if data.test_table is None:
        labeled, test = split_test(labeled, data)
        return Tables(labeled, unlabeled, test, {**files, "test": data.labeled}, hidden)
    test = _read_labeled(data.test_table, data.target, layout)
    return Tables(labeled, unlabeled, test, {**files, "test": data.test_table}, hidden)


def split_test(labeled: pd.DataFrame, data: DataParams) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split labeled rows into training and test rows, stratified by class.

    A class of one row cannot be stratified; its row stays with the training rows, where validation
    reports it.

    Returns:
        Training rows and test rows, each with a fresh index.

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
            f"{data.labeled}: cannot set aside {data.test_size:.0%} of {len(labeled)} labeled rows "
            f"as test rows with each of the {labels.nunique()} classes of column {data.target!r} "
            "among them; add rows, raise data.test_size, give a table in data.test, or check that "
            "data.target names a column of classes"
        ) from error
    train = pd.concat([train.sort_index(), alone])
    return train.reset_index(drop=True), test.sort_index().reset_index(drop=True)


def pick_labeled(y: np.ndarray, n_labeled: int, rng: np.random.Generator) -> np.ndarray:
    """Choose rows that keep their label, as evenly over the classes as the classes allow.

    Args:
        y: Class indices, shape ``(n,)``.
        n_labeled: How many rows to choose, at most ``n``.
        rng: Source of randomness.

    Returns:
        Sorted row indices, shape ``(n_labeled,)``.
    """
    order = rng.permutation(len(y))
    rank_in_class = pd.Series(y[order]).groupby(y[order]).cumcount().to_numpy()
    return np.sort(order[np.argsort(rank_in_class, kind="stable")[:n_labeled]])


def _read_labeled(path: str, target: str, layout: Layout) -> pd.DataFrame:
    table = read_table(layout.source(path), path)
    if target not in table:
        raise UserError(
            f"{path}: no column {target!r} (data.target); add it, or set data.target to the label "
            f"column, one of: {', '.join(table.columns)}"
        )
    return table
