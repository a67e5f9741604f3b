"""Search for values and rows of the training table that stand verbatim in a synthetic table.

Distances between encoded rows do not see this: the encoder merges rare categories, and a column
that is not encoded has no distance. The attacker here only reads the synthetic table.

Text that few rows have must not occur at all. Numbers and dates do by chance: a synthetic salary of
2,500 equals a real one, since both are whole. So the values of single training rows are compared
with the values of single held-out rows, which the generator was not trained on. Without a leak both
occur equally often, because chance decided which rows were held out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import hypergeom

from semigen.tables.cells import as_text
from semigen.tables.columns import RARE
from semigen.wording import count, first_few

ROWS = "(whole rows)"
"""Name of the check that compares rows instead of the values of a column."""
SIGNIFICANCE = 1e-3
"""Probability that chance alone fails the check of numbers, over all columns of a table."""
MAX_EXCESS = 0.05
"""Tolerated excess of the fraction of training values that occur over that of held-out values."""
MIN_HELD_OUT = 4


@dataclass(frozen=True)
class ColumnLeak:
    """Rare training values of a column that occur in the synthetic table.

    Attributes:
        column: Name of the column, or ``ROWS``.
        n_rare: Number of distinct values (or rows) that fewer than ``min_rows`` training rows have.
        n_found: Number of them that occur in the synthetic table.
        found_by_chance: Fraction of the values of single held-out rows that occur there; None for
            text, and with too few held-out rows.
        is_leak: Whether the values leak: text that occurs, numbers that occur more often than the
            held-out ones.

    Examples:
        >>> ColumnLeak("town", n_rare=8, n_found=2, found_by_chance=None, is_leak=True).found
        0.25
    """

    column: str
    n_rare: int
    n_found: int
    found_by_chance: float | None
    is_leak: bool

    @property
    def found(self) -> float:
        """Fraction of the rare values that occur; 0 if there is none."""
        return self.n_found / self.n_rare if self.n_rare else 0.0


@dataclass(frozen=True)
class LeakCheck:
    """Result of searching a synthetic table for rare training values.

    Attributes:
        columns: Result of each column, and of whole rows.
        min_rows: Number of training rows from which on a value is not rare.

    Examples:
        >>> real = pd.DataFrame({"town": ["Rome"] * 9 + ["Orta"]})
        >>> check_leaks(real, real, min_rows=5).problem
        "rare values of the real rows are in the synthetic rows: 1 of 1 in column 'town'"
        >>> check_leaks(real, real[:9], min_rows=5).passed
        True
    """

    columns: tuple[ColumnLeak, ...]
    min_rows: int

    @property
    def passed(self) -> bool:
        """Whether nothing leaks."""
        return not any(column.is_leak for column in self.columns)

    @property
    def problem(self) -> str | None:
        """What leaks, in one line; None if nothing does."""
        if self.passed:
            return None
        found = [
            f"{c.n_found} of {c.n_rare} "
            + (f"in column {c.column!r}" if c.column != ROWS else "whole rows")
            for c in self.columns
            if c.is_leak
        ]
        return f"rare values of the real rows are in the synthetic rows: {first_few(found)}"

    @property
    def sentence(self) -> str:
        """The result in one sentence, without a full stop."""
        n_rare = sum(c.n_rare for c in self.columns if c.column != ROWS)
        return self.problem or (
            f"leak check passed: {count(n_rare, 'rare value')} (fewer than {self.min_rows} rows) "
            "occur no more often than chance explains"
        )

    def to_json_dict(self) -> dict[str, Any]:
        """Return the counts as plain types; no value of a cell is among them."""
        return {
            "passed": self.passed,
            "min_rows": self.min_rows,
            "columns": [
                {
                    "column": c.column,
                    "n_rare": c.n_rare,
                    "n_found": c.n_found,
                    "found_by_chance": None
                    if c.found_by_chance is None
                    else round(c.found_by_chance, 6),
                    "is_leak": c.is_leak,
                }
                for c in self.columns
            ],
        }


def check_leaks(
    real: pd.DataFrame,
    synthetic: pd.DataFrame,
    *,
    min_rows: int,
    ordered: Collection[str] = (),
    held_out: np.ndarray | None = None,
    whole_rows: Collection[str] = (),
) -> LeakCheck:
    """Search a synthetic table for values that fewer than ``min_rows`` real rows have.

    Args:
        real: All rows of the training table, as they were read.
        synthetic: Synthetic rows, as they are published.
        min_rows: Number of rows from which on a value is not rare.
        ordered: Columns of numbers and dates, whose values occur by chance.
        held_out: Positions of the real rows that the generator was not trained on.
        whole_rows: Columns of the rows that are compared as a whole; none for no such check.
    """
    is_held_out = np.zeros(len(real), bool)
    if held_out is not None:
        is_held_out[held_out] = True
    shared = [name for name in real.columns if name in synthetic]
    n_tests = len(ordered) + 1
    found = [
        _check(
            name,
            *_comparable(real[name], synthetic[name]),
            is_held_out,
            min_rows=min_rows,
            by_chance=name in ordered,
            significance=SIGNIFICANCE / n_tests,
        )
        for name in shared
    ]
    if rows := [name for name in shared if name in whole_rows]:
        pairs = {name: _comparable(real[name], synthetic[name]) for name in rows}
        real_rows, synthetic_rows = (
            _joined({name: pair[side] for name, pair in pairs.items()}) for side in (0, 1)
        )
        found.append(
            _check(
                ROWS,
                real_rows,
                synthetic_rows,
                is_held_out,
                min_rows=min_rows,
                by_chance=True,
                significance=SIGNIFICANCE / n_tests,
            )
        )
    return LeakCheck(tuple(found), min_rows)


def _check(
    name: str,
    real: pd.Series,
    synthetic: pd.Series,
    is_held_out: np.ndarray,
    *,
    min_rows: int,
    by_chance: bool,
    significance: float,
) -> ColumnLeak:
    counts = real.value_counts()
    rare = counts.index[(counts < min_rows) & (counts.index != RARE)]
    present = pd.Index(synthetic.dropna().unique())
    n_found = int(rare.isin(present).sum())
    if not by_chance:
        return ColumnLeak(name, len(rare), n_found, None, n_found > 0)
    is_single = real.map(counts).eq(1).to_numpy()
    occurs = real.isin(present).to_numpy()
    own, other = (occurs[is_single & side] for side in (~is_held_out, is_held_out))
    if len(other) < MIN_HELD_OUT or not len(own):
        return ColumnLeak(name, len(rare), n_found, None, False)
    n_all, n_occurring = len(own) + len(other), int(own.sum() + other.sum())
    p_value = hypergeom.sf(own.sum() - 1, n_all, n_occurring, len(own))
    is_leak = bool(p_value < significance and own.mean() - other.mean() > MAX_EXCESS)
    return ColumnLeak(name, len(rare), n_found, float(other.mean()), is_leak)


def _comparable(real: pd.Series, synthetic: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Return two columns as numbers if both are, else as text, as a table on disk shows them."""
    if all(pd.api.types.is_numeric_dtype(values) for values in (real, synthetic)):
        return real.astype(float), synthetic.astype(float)
    return as_text(real).str.strip(), as_text(synthetic).str.strip()


def _joined(columns: Mapping[str, pd.Series]) -> pd.Series:
    """Return a hash of each row."""
    table = pd.DataFrame({name: values.to_numpy() for name, values in columns.items()})
    return pd.util.hash_pandas_object(table, index=False)
