"""Tables prepared for validation: typed columns, facts about rows, and tolerances for chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from semigen.tables.cells import as_text
from semigen.tables.columns import ColumnSchema, coerce_column
from semigen.tables.misfits import Misfit
from semigen.tables.schema import TableSchema, extreme_rows
from semigen.tables.splits import Tables

CLASS_SIZE = "(rows of the class)"
CONTRADICTION = "(row with another label than an equal row)"
IN_LABELED = "(row that is also in labeled)"
IN_UNLABELED = "(row that is also in unlabeled)"
FACTS = (CLASS_SIZE, CONTRADICTION, IN_LABELED, IN_UNLABELED)
"""Columns added to a table for validation. The last three hold the number of the row in its file
where the fact is true, and are missing elsewhere."""
CHANCE = 1e-3
"""Probability that chance alone gives a warning of domain shift, over all columns of a table."""


@dataclass(frozen=True)
class Part:
    """One table prepared for validation.

    Attributes:
        name: ``labeled``, ``unlabeled`` or ``test``.
        file: Name of the table in messages.
        columns: Columns as read, without the target of the unlabeled table.
        frame: All columns, followed by ``FACTS``. Features are typed as floats or text; a value
            that is not a number stays text, in a column of objects. The target is text.
        n_by_chance: Number of rows tolerated for ``IN_LABELED`` and ``IN_UNLABELED``.
        row_numbers: Number of each row in its file, counted from 1 below the header; 0 if unknown.
        is_split: Whether test rows were split off the labeled table.
        misfits: Cells that do not fit the schema, by feature column.
        extremes: Row and value of the first number of a column that is infinite or too large.
        notes: What the user should know about the reading of the file.

    Examples:
        >>> rows = pd.DataFrame({"age": [31, 47], "label": ["a", "b"]})
        >>> files = {"labeled": "a.csv", "unlabeled": "b.csv", "test": "c.csv"}
        >>> tables = Tables(rows, rows[["age"]], rows, files)
        >>> parts = view_parts(tables, TableSchema.infer(rows, rows[["age"]], "label"))
        >>> parts["test"].frame[IN_LABELED].tolist()
        [1.0, 2.0]
    """

    name: str
    file: str
    columns: tuple[str, ...]
    frame: pd.DataFrame
    n_by_chance: Mapping[str, int]
    row_numbers: np.ndarray
    is_split: bool
    misfits: Mapping[str, Misfit]
    extremes: Mapping[str, tuple[int, str]]
    notes: tuple[str, ...]

    def row(self, position: int | None) -> int | None:
        """Return the number in the file of a row counted from 1; None if it is unknown."""
        return (int(self.row_numbers[position - 1]) or None) if position else None


class ReadColumn(NamedTuple):
    """A feature column read by its schema (see ``coerce_column``)."""

    column: ColumnSchema
    typed: pd.Series
    is_misfit: np.ndarray


def view_parts(tables: Tables, schema: TableSchema) -> dict[str, Part]:
    """Return all tables with typed features and facts about rows, by part.

    Facts about equal rows need all features, so a table that lacks a feature does not get them.
    """
    raw = {"labeled": tables.labeled, "unlabeled": tables.unlabeled, "test": tables.test}
    if tables.unlabeled_labels is not None:
        raw["unlabeled"] = raw["unlabeled"].assign(**{schema.target: tables.unlabeled_labels})
    read = {name: read_features(frame, schema) for name, frame in raw.items()}
    hashes = {name: row_hashes(features, schema) for name, features in read.items()}
    rows = {n: np.arange(1, len(f) + 1) for n, f in raw.items()} | tables.row_numbers
    parts = {}
    for name, frame in raw.items():
        is_split_off = name == "test" and tables.is_split
        columns = tuple(str(c) for c in frame if name != "unlabeled" or c != schema.target)
        features = read[name]
        typed = {c: typed_values(frame[c], feature) for c, feature in features.items()}
        if schema.target in frame:
            typed[schema.target] = as_text(frame[schema.target])
        facts = row_facts(name, hashes, typed.get(schema.target), rows[name])
        misfits = {
            c: Misfit.of(frame[c], f.column, read=(f.typed, f.is_misfit))
            for c, f in features.items()
        }
        parts[name] = Part(
            name=name,
            file=tables.files[name] + (" (test rows)" if is_split_off else ""),
            columns=columns,
            # A new frame has one block for each type; Great Expectations copies blocks often.
            frame=pd.DataFrame({**{str(c): frame[c] for c in frame}, **typed, **facts}),
            n_by_chance=shared_by_chance(len(frame), hashes),
            row_numbers=rows[name],
            is_split=tables.is_split,
            misfits=misfits,
            extremes=_extremes(frame, misfits),
            notes=tuple(tables.notes.get(name, ())),
        )
    return parts


def read_features(frame: pd.DataFrame, schema: TableSchema) -> dict[str, ReadColumn]:
    """Return the feature columns that a table has, read by the schema, by name."""
    return {
        column.name: ReadColumn(column, *coerce_column(frame[column.name], column))
        for column in schema.features
        if column.name in frame
    }


def typed_values(values: pd.Series, read: ReadColumn) -> pd.Series:
    """Return a typed feature column that still contains, as text, what does not fit."""
    if read.column.kind == "category" or not read.is_misfit.any():
        return read.typed
    return read.typed.astype(object).where(~read.is_misfit, as_text(values))


def _extremes(frame: pd.DataFrame, misfits: Mapping[str, Misfit]) -> dict[str, tuple[int, str]]:
    """Return the first row, counted from 1, and its value, of columns with extreme numbers."""
    found = {}
    for name, misfit in misfits.items():
        if misfit.column.kind == "numeric" and misfit.n_misfit:  # extreme numbers do not fit
            rows = extreme_rows(frame[name], misfit.column)
            if len(rows):
                found[name] = (int(rows[0]) + 1, str(frame[name].iloc[rows[0]]))
    return found


def row_hashes(features: Mapping[str, ReadColumn], schema: TableSchema) -> pd.Series | None:
    """Return a hash of each row's features; None if a feature column is missing."""
    if any(column.name not in features for column in schema.features):
        return None
    typed = {name: feature.typed for name, feature in features.items()}
    return pd.util.hash_pandas_object(pd.DataFrame(typed), index=False)


def row_facts(
    part: str,
    hashes: Mapping[str, pd.Series | None],
    labels: pd.Series | None,
    row_numbers: np.ndarray,
) -> dict[str, pd.Series]:
    """Return the columns of ``FACTS`` that apply to a part."""

    def numbers(is_true: pd.Series) -> pd.Series:
        return pd.Series(row_numbers.astype(float), is_true.index).where(is_true)

    facts = {}
    own, labeled, unlabeled = hashes[part], hashes["labeled"], hashes["unlabeled"]
    if part == "labeled" and labels is not None:
        facts[CLASS_SIZE] = labels.map(labels.value_counts()).astype(float)
        if own is not None:
            facts[CONTRADICTION] = numbers(labels.groupby(own).transform("nunique") > 1)
    if part == "test" and own is not None and labeled is not None:
        facts[IN_LABELED] = numbers(own.isin(labeled))
    if part != "unlabeled" and own is not None and unlabeled is not None:
        facts[IN_UNLABELED] = numbers(own.isin(unlabeled))
    return facts


def shared_by_chance(n_rows: int, hashes: Mapping[str, pd.Series | None]) -> dict[str, int]:
    """Return how many of ``n_rows`` rows may equal a labeled or an unlabeled row by chance.

    Tables with few distinct values have equal rows. A row from the distribution of the unlabeled
    rows equals a labeled row as often as unlabeled rows do, and an unlabeled row as often as
    unlabeled rows equal one another. If they never do, no equal row is tolerated.
    """
    labeled, unlabeled = hashes["labeled"], hashes["unlabeled"]
    if labeled is None or unlabeled is None:
        return {}
    references = {
        IN_LABELED: unlabeled.isin(labeled),
        IN_UNLABELED: unlabeled.duplicated(keep=False),
    }
    return {fact: _allowed_equal(n_rows, is_equal) for fact, is_equal in references.items()}


def _allowed_equal(n_rows: int, is_equal: pd.Series) -> int:
    n_equal = int(is_equal.sum())
    return _quantile(n_rows, n_equal + 1, len(is_equal) - n_equal + 1, 1) if n_equal else 0


def allowed_outside_range(n_new: int, n_reference: int, n_columns: int) -> int:
    """Return how many of ``n_new`` values may lie outside the range of reference values by chance.

    For ``n_reference`` values of the same continuous distribution, the probability mass beyond
    their extremes is Beta(2, ``n_reference`` - 1), so the number of new values beyond them is
    beta-binomial. Repeated values only make it smaller.

    Args:
        n_new: Number of new values.
        n_reference: Number of reference values.
        n_columns: Number of columns of the table, for the probability of a false alarm.
    """
    return _quantile(n_new, 2, max(n_reference - 1, 1), n_columns)


def allowed_unseen(n_new: int, n_reference: int, n_singletons: int, n_columns: int) -> int:
    """Return how many of ``n_new`` values may be of a category without reference rows by chance.

    The probability of unseen categories is about the fraction of values seen once (Good 1953, eq.
    9).

    Args:
        n_new: Number of new values.
        n_reference: Number of reference values.
        n_singletons: Number of categories with one reference value.
        n_columns: Number of columns of the table, for the probability of a false alarm.
    """
    return _quantile(n_new, n_singletons + 1, max(n_reference - n_singletons, 1), n_columns)


@cache
def _quantile(n_new: int, a: int, b: int, n_columns: int) -> int:
    return int(stats.betabinom.isf(CHANCE / n_columns, n_new, a, b)) if n_new else 0
