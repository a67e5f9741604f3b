"""What expectations are asked about: typed tables, facts about their rows, room for chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from scipy import stats

from semigen.tables.schema import ColumnSchema, TableSchema, as_text, coerce_column
from semigen.tables.splits import Tables

CLASS_SIZE = "(rows of the class)"
CONTRADICTION = "(row with another label than an equal row)"
IN_LABELED = "(row that is also in labeled)"
IN_UNLABELED = "(row that is also in unlabeled)"
FACTS = (CLASS_SIZE, CONTRADICTION, IN_LABELED, IN_UNLABELED)
"""Columns that are added to a part's table. The last three hold the number of a row that the fact
is true of, counted from 1, and are missing elsewhere."""
CHANCE = 1e-3
"""How often chance alone may raise a warning of domain shift, over all columns of a table."""


@dataclass(frozen=True)
class Part:
    """One table as expectations see it.

    Attributes:
        name: ``labeled``, ``unlabeled`` or ``test``.
        file: What to call it in messages.
        columns: Its columns as they were read, without the unlabeled table's target.
        frame: All its columns, the schema's features typed: floats, or text. A value that is no
            number stays as text in a column of objects. The target is text. Then ``FACTS``.
        n_by_chance: How many rows may hold ``IN_LABELED`` and ``IN_UNLABELED`` by chance.
        has_row_numbers: Whether the row numbers are those of the file.
    """

    name: str
    file: str
    columns: tuple[str, ...]
    frame: pd.DataFrame
    n_by_chance: Mapping[str, int]
    has_row_numbers: bool


def view_parts(tables: Tables, schema: TableSchema) -> dict[str, Part]:
    """Return the parts with typed features and facts about rows.

    Facts about equal rows need every feature and are left out of a part that lacks one.
    """
    raw = {"labeled": tables.labeled, "unlabeled": tables.unlabeled, "test": tables.test}
    if tables.unlabeled_labels is not None:
        raw["unlabeled"] = raw["unlabeled"].assign(**{schema.target: tables.unlabeled_labels})
    hashes = {name: row_hashes(frame, schema) for name, frame in raw.items()}
    parts = {}
    for name, frame in raw.items():
        is_split_off = name == "test" and tables.is_split
        columns = tuple(str(c) for c in frame if name != "unlabeled" or c != schema.target)
        typed = {c.name: typed_values(frame[c.name], c) for c in schema.features if c.name in frame}
        if schema.target in frame:
            typed[schema.target] = as_text(frame[schema.target])
        facts = row_facts(name, hashes, typed.get(schema.target))
        parts[name] = Part(
            name=name,
            file=tables.files[name] + (" (test rows)" if is_split_off else ""),
            columns=columns,
            # Built anew so that it has one block a type: each metric copies every block.
            frame=pd.DataFrame({**{str(c): frame[c] for c in frame}, **typed, **facts}),
            n_by_chance=shared_by_chance(len(frame), hashes),
            has_row_numbers=name == "unlabeled" or not tables.is_split,
        )
    return parts


def typed_values(values: pd.Series, column: ColumnSchema) -> pd.Series:
    """Return a feature column typed, but with the values that are of no use still in it."""
    if column.kind != "numeric":
        return as_text(values)
    typed, is_wrong = coerce_column(values, column)
    return typed.astype(object).where(~is_wrong, as_text(values)) if is_wrong.any() else typed


def row_hashes(frame: pd.DataFrame, schema: TableSchema) -> pd.Series | None:
    """Return a hash of each row's features, equal for equal rows; None if a feature is absent."""
    if any(column.name not in frame for column in schema.features):
        return None
    typed = {c.name: coerce_column(frame[c.name], c)[0] for c in schema.features}
    return pd.util.hash_pandas_object(pd.DataFrame(typed), index=False)


def row_facts(
    part: str, hashes: Mapping[str, pd.Series | None], labels: pd.Series | None
) -> dict[str, pd.Series]:
    """Return the columns of ``FACTS`` that can be told of a part."""
    facts = {}
    own, labeled, unlabeled = hashes[part], hashes["labeled"], hashes["unlabeled"]
    if part == "labeled" and labels is not None:
        facts[CLASS_SIZE] = labels.map(labels.value_counts()).astype(float)
        if own is not None:
            facts[CONTRADICTION] = _numbers(labels.groupby(own).transform("nunique") > 1)
    if part == "test" and own is not None and labeled is not None:
        facts[IN_LABELED] = _numbers(own.isin(labeled))
    if part != "unlabeled" and own is not None and unlabeled is not None:
        facts[IN_UNLABELED] = _numbers(own.isin(unlabeled))
    return facts


def shared_by_chance(n_rows: int, hashes: Mapping[str, pd.Series | None]) -> dict[str, int]:
    """Return how many of ``n_rows`` rows may equal a labeled or an unlabeled one by chance.

    Tables of few distinct values repeat themselves. A row that is drawn like the unlabeled ones
    equals a labeled row as often as those do, and an unlabeled row as often as those equal one
    another. Where they never do, one equal row is too many.
    """
    labeled, unlabeled = hashes["labeled"], hashes["unlabeled"]
    if labeled is None or unlabeled is None:
        return {}
    usual = {IN_LABELED: unlabeled.isin(labeled), IN_UNLABELED: unlabeled.duplicated(keep=False)}
    return {fact: _allowed_twins(n_rows, is_twin) for fact, is_twin in usual.items()}


def _allowed_twins(n_rows: int, is_twin: pd.Series) -> int:
    n_twins = int(is_twin.sum())
    return _quantile(n_rows, n_twins + 1, len(is_twin) - n_twins + 1, 1) if n_twins else 0


def _numbers(is_true: pd.Series) -> pd.Series:
    return pd.Series(np.arange(1.0, len(is_true) + 1), index=is_true.index).where(is_true)


def allowed_outside_range(n_new: int, n_reference: int, n_columns: int) -> int:
    """Return how many of ``n_new`` values chance may put outside the range of others.

    For ``n_reference`` values of the same continuous distribution, the probability mass beyond
    their extremes is Beta(2, ``n_reference`` - 1), so the number of new values out there is
    beta-binomial. Repeated values only make it smaller.
    """
    return _quantile(n_new, 2, max(n_reference - 1, 1), n_columns)


def allowed_unseen(n_new: int, n_reference: int, n_singletons: int, n_columns: int) -> int:
    """Return how many of ``n_new`` values chance may let be of a category that others lack.

    The mass of unseen categories is about the share of those seen once (Good 1953, eq. 9).
    """
    return _quantile(n_new, n_singletons + 1, max(n_reference - n_singletons, 1), n_columns)


@cache
def _quantile(n_new: int, a: int, b: int, n_columns: int) -> int:
    return int(stats.betabinom.isf(CHANCE / n_columns, n_new, a, b)) if n_new else 0
