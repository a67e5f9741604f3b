"""Constraints that every real row fulfills, learned or given, and kept in every synthetic row.

Two kinds: an order of two numbers or dates (``start <= end``), and a category that decides another
one (a city and its country). A constraint is learned if no real row violates it, and independent
columns would not fulfill it by chance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from semigen.errors import UserError
from semigen.tables.columns import RARE
from semigen.tables.schema import TableSchema

LOG_CHANCE = math.log(1e-6)
"""Logarithm of the probability below which chance does not explain that no row violates a rule."""
MAX_COLUMNS = 200
"""Maximum number of columns of a kind among which constraints are learned."""
MAX_SAMPLED = 2000
"""Number of rows that estimate how often independent columns are in order."""


class Combination(BaseModel):
    """Fixed combinations: each value of one column occurs with these values of another.

    Attributes:
        column: The column that decides.
        other: The column that is decided.
        allowed: Values of ``other`` for each value of ``column``.

    Examples:
        >>> rule = Combination(column="city", other="country", allowed={"Rome": ("Italy",)})
        >>> rows = pd.DataFrame({"city": ["Rome", "Rome"], "country": ["Italy", "Norway"]})
        >>> Constraints(combinations=(rule,)).violated(rows).tolist()
        [False, True]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str
    other: str
    allowed: dict[str, tuple[str, ...]]


class Constraints(BaseModel):
    """Constraints of a table.

    Attributes:
        orders: Pairs of columns, the first of which is never larger.
        combinations: Fixed combinations of categories.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> start = rng.integers(0, 50, 300)
        >>> rows = pd.DataFrame({"start": start, "end": start + rng.integers(0, 30, 300)})
        >>> schema = TableSchema.infer(rows.assign(label="a"), rows[:0], "label")
        >>> rules = Constraints.learn(rows, schema)
        >>> rules.orders
        (('start', 'end'),)
        >>> rules.repair(pd.DataFrame({"start": [9], "end": [4]}), rng)["end"].tolist()
        [9]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    orders: tuple[tuple[str, str], ...] = ()
    combinations: tuple[Combination, ...] = ()

    @classmethod
    def learn(
        cls, rows: pd.DataFrame, schema: TableSchema, given: Sequence[str | Sequence[str]] = ()
    ) -> Self:
        """Return the given constraints and those that the rows show.

        Args:
            rows: Typed features with merged rare categories, in which dates are numbers.
            schema: Schema of the rows.
            given: Constraints of the user: ``"a <= b"``, or the names of two columns whose
                combinations are fixed.

        Raises:
            UserError: If a given constraint names an unknown column, or a row violates it.
        """
        orders, combinations = [], []
        for constraint in given:
            if isinstance(constraint, str):
                orders.append(_given_order(constraint, rows, schema))
            else:
                combinations += _given_combination(constraint, rows, schema)
        known = {(c.column, c.other) for c in combinations}
        learned = [c for c in _learn_combinations(rows, schema) if (c.column, c.other) not in known]
        found = [pair for pair in _learn_orders(rows, schema) if pair not in orders]
        return cls(
            orders=_without_cycles([*orders, *found]), combinations=(*combinations, *learned)
        )

    def violated(self, rows: pd.DataFrame) -> np.ndarray:
        """Return which rows violate a constraint, shape ``(n,)``; missing cells violate none."""
        is_violated = np.zeros(len(rows), bool)
        for low, high in self.orders:
            is_violated |= rows[low].astype(float).to_numpy() > rows[high].astype(float).to_numpy()
        for rule in self.combinations:
            is_violated |= _is_combined_wrongly(rows, rule)
        return is_violated

    def repair(self, rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        """Return rows that fulfill all constraints, with as few changed cells as possible.

        The larger number is raised to the smaller one, and the category that another one decides
        is drawn from the allowed ones.
        """
        rows = rows.copy()
        for high in _ascending(self.orders):
            for low in (low for low, other in self.orders if other == high):
                needed = rows[low].astype(float)
                is_wrong = needed > rows[high].astype(float)
                is_whole = pd.api.types.is_integer_dtype(rows[high])
                raised = np.ceil(needed).astype("Int64") if is_whole else needed
                rows[high] = rows[high].where(~is_wrong, raised)
        # A column may be decided by another one that is decided itself.
        for _ in range(len(self.combinations) + 1):
            for rule in self.combinations:
                decided = rows[rule.other].to_numpy(dtype=object, copy=True)
                for i in np.flatnonzero(_is_combined_wrongly(rows, rule)):
                    allowed = rule.allowed[str(rows[rule.column].iloc[i])]
                    decided[i] = allowed[rng.integers(len(allowed))]
                rows[rule.other] = decided
        return rows


def _is_combined_wrongly(rows: pd.DataFrame, rule: Combination) -> np.ndarray:
    pairs = {(value, other) for value, others in rule.allowed.items() for other in others}
    decided = rows[rule.column].isin(list(rule.allowed)) & rows[rule.other].notna()
    known = pd.MultiIndex.from_frame(rows[[rule.column, rule.other]]).isin(sorted(pairs))
    return decided.to_numpy() & ~known


def _learn_orders(rows: pd.DataFrame, schema: TableSchema) -> list[tuple[str, str]]:
    names = [column.name for column in schema.of_kind("numeric")]
    if len(names) > MAX_COLUMNS:
        return []
    values = rows[names].to_numpy(dtype=float)
    rng = np.random.default_rng(0)
    sample = rng.permutation(values)[:MAX_SAMPLED]
    others = rng.permuted(sample, axis=0)
    found = []
    for i, low in enumerate(names):
        is_violated = np.asarray((values[:, [i]] > values).any(axis=0))
        for j in sorted(set(np.flatnonzero(~is_violated).tolist()) - {i}):
            present = ~np.isnan(values[:, [i, j]]).any(axis=1)
            is_comparable = ~np.isnan(sample[:, i]) & ~np.isnan(others[:, j])
            by_chance = float((sample[is_comparable, i] <= others[is_comparable, j]).mean())
            if present.sum() * math.log(max(by_chance, 1e-9)) < LOG_CHANCE:
                found.append((low, names[j]))
    return found


def _learn_combinations(rows: pd.DataFrame, schema: TableSchema) -> list[Combination]:
    columns = [*schema.of_kind("category"), *schema.of_kind("boolean")]
    if len(columns) > MAX_COLUMNS:
        return []
    found = []
    for column in columns:
        for other in columns:
            rule = None if other is column else _decides(rows, column.name, other.name)
            if rule is not None:
                found.append(rule)
    return found


def _decides(rows: pd.DataFrame, column: str, other: str) -> Combination | None:
    """Return the combinations if each value of a column occurs with a single value of another."""
    counts = _pair_counts(rows, column, other)
    if counts.index.get_level_values(0).duplicated().any() or len(counts) < 2:
        return None
    fractions = rows[other].value_counts(normalize=True)
    log_chance = sum(
        n * math.log(fractions[decided])
        for decided, n in zip(counts.index.get_level_values(1), counts, strict=True)
    )
    if log_chance > LOG_CHANCE:
        return None
    return _combination(column, other, counts)


def _pair_counts(rows: pd.DataFrame, column: str, other: str) -> pd.Series:
    pairs = rows[[column, other]].dropna()
    pairs = pairs[(pairs[column] != RARE) & (pairs[other] != RARE)]
    return pairs.value_counts()


def _combination(column: str, other: str, counts: pd.Series) -> Combination:
    allowed: dict[str, tuple[str, ...]] = {}
    for value, decided in sorted(counts.index):
        allowed[value] = (*allowed.get(value, ()), decided)
    return Combination(column=column, other=other, allowed=allowed)


def _given_order(text: str, rows: pd.DataFrame, schema: TableSchema) -> tuple[str, str]:
    low, sign, high = (part.strip() for part in text.partition("<="))
    names = [column.name for column in schema.of_kind("numeric")]
    if not sign or low not in names or high not in names:
        raise UserError(
            f"constraint {text!r}: expected COLUMN <= COLUMN, both of numbers or dates: "
            f"{', '.join(names)}"
        )
    n_wrong = int((rows[low] > rows[high]).sum())
    if n_wrong:
        raise UserError(f"constraint {text!r}: {n_wrong} of {len(rows)} rows violate it")
    return low, high


def _given_combination(
    names: Sequence[str], rows: pd.DataFrame, schema: TableSchema
) -> list[Combination]:
    """Return the combinations of two columns that enough rows have, in both directions."""
    known = [c.name for c in schema.features if c.kind in ("category", "boolean")]
    if len(names) != 2 or not set(names) <= set(known):
        raise UserError(
            f"constraint {tuple(names)}: expected the names of two columns of categories: "
            f"{', '.join(known)}"
        )
    first, second = names
    counts = _pair_counts(rows, first, second)
    # A combination of few rows would be found again in the synthetic table.
    counts = counts[counts >= schema.min_rows]
    return [_combination(first, second, counts)]


def _without_cycles(orders: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return orders without those between equal columns, which are ordered both ways."""
    kept: list[tuple[str, str]] = []
    for low, high in orders:
        if (high, low) not in kept and (low, high) not in kept:
            kept.append((low, high))
    return tuple(kept)


def _ascending(orders: Sequence[tuple[str, str]]) -> list[str]:
    """Return the larger columns so that each comes after all smaller ones that are raised too."""
    below: dict[str, set[str]] = {}
    for low, high in orders:
        below.setdefault(high, set()).add(low)
    ordered: list[str] = []
    while below:
        free = [name for name, smaller in below.items() if not smaller & below.keys()]
        if not free:  # equal columns in a cycle: any order is as good
            free = list(below)
        ordered += free
        for name in free:
            del below[name]
    return ordered
