"""Test split, and choice of the rows that keep their label."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from semigen.artifacts import Layout
from semigen.errors import UserError
from semigen.params.config import DataParams
from semigen.params.explain import require_target
from semigen.tables.cells import as_text
from semigen.tables.labels import LabelReading
from semigen.tables.sources import read_table
from semigen.wording import count


@dataclass(frozen=True)
class Tables:
    """The three tables of a run as they were read.

    Attributes:
        labeled: Labeled training rows.
        unlabeled: Unlabeled training rows, without a target column: those of the unlabeled table,
            then the rows of the labeled table that have no label.
        test: Labeled rows that are not used for training.
        files: File of each part, as named in ``params.yaml``.
        unlabeled_labels: Target column of the unlabeled table, if there is one. Validation reports
            it; it is not used for training.
        row_numbers: Number of each row of a part in its file, counted from 1 below the header; 0
            for rows of another file. If a part is absent, its rows are those of the file.
        notes: What the user should know about the reading of the files, by part.

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
    row_numbers: dict[str, np.ndarray] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)

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
    table = _read_labeled(data.labeled, data, layout)
    reading = LabelReading.of(table[data.target], data.target, data.read.na_values)
    labels = reading.apply(table[data.target])
    table = table.assign(**{data.target: labels})
    labeled, gaps = table[labels.notna()], table[labels.isna()].drop(columns=data.target)
    if labeled.empty:
        raise UserError(f"{data.labeled}: column {data.target!r} (data.target): no row has a label")
    notes = {"labeled": _notes(table) + [f"{data.labeled}: {note}" for note in reading.notes]}
    if len(gaps):
        n_gaps = count(len(gaps), "row")
        notes["labeled"].append(
            f"{data.labeled}: column {data.target!r} (data.target): {n_gaps} without a label; used "
            "as unlabeled"
        )
    unlabeled, ignored = _read_unlabeled(gaps, reading, data, layout)
    if data.unlabeled != data.labeled:
        notes["unlabeled"] = _notes(unlabeled)
    if data.test_table is None:
        labeled, test = split_test(labeled, data)
    else:
        test = _read_labeled(data.test_table, data, layout)
        notes["test"] = _notes(test)
        test = test.assign(**{data.target: reading.apply(test[data.target])})
    parts = {"labeled": labeled, "unlabeled": unlabeled, "test": test}
    return Tables(
        **{name: part.reset_index(drop=True) for name, part in parts.items()},
        files={
            "labeled": data.labeled,
            "unlabeled": data.unlabeled,
            "test": data.test_table or data.labeled,
        },
        unlabeled_labels=ignored,
        row_numbers={name: part.index.to_numpy() + 1 for name, part in parts.items()},
        notes=notes,
    )


def split_test(labeled: pd.DataFrame, data: DataParams) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split labeled rows into training and test rows, stratified by class.

    The row of a class with one row cannot be stratified; it becomes a training row, and validation
    reports it.

    Args:
        labeled: Labeled rows.
        data: Label column, fraction of test rows, and seed.

    Returns:
        Training rows and test rows, each with the index of ``labeled``.

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
    return pd.concat([train.sort_index(), alone]), test.sort_index()


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


def _read_labeled(path: str, data: DataParams, layout: Layout) -> pd.DataFrame:
    table = read_table(layout.source(path), path, data.read)
    require_target(path, data.target, list(table.columns))
    return table


def _read_unlabeled(
    gaps: pd.DataFrame, reading: LabelReading, data: DataParams, layout: Layout
) -> tuple[pd.DataFrame, pd.Series | None]:
    """Return the unlabeled rows, with their index in their file, and their label column.

    Args:
        gaps: Rows of the labeled table without a label.
        reading: How labels are read.
        data: Paths of the tables.
        layout: The project's files.
    """
    if layout.source(data.unlabeled) == layout.source(data.labeled):
        return gaps, None
    table = read_table(layout.source(data.unlabeled), data.unlabeled, data.read)
    labels = table.pop(data.target) if data.target in table else None
    if len(gaps):
        shared = [name for name in table if name in gaps]
        gaps = gaps[shared].set_axis([-1] * len(gaps), axis=0)
        notes = table.attrs
        table = pd.concat([table, gaps])
        table.attrs = notes
    if labels is None:
        return table, None
    return table, reading.apply(labels).reindex(range(len(table)))


def _notes(table: pd.DataFrame) -> list[str]:
    return list(table.attrs.get("notes", ()))
