"""Sampling of rows that fit conditions and constraints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from semigen.errors import UserError
from semigen.generators.base import GenerativeModel
from semigen.synthesis.conditions import Where, matches
from semigen.synthesis.constraints import Constraints
from semigen.synthesis.formats import ColumnFormat, round_numbers
from semigen.tables.encoding import TableEncoder

MAX_ROUNDS = 20
MAX_BATCH = 20_000
"""Maximum number of rows of a draw after the first."""
ROUNDS_BEFORE_REPAIR = 3
"""Number of draws in which rows that violate a constraint are drawn again; then they are
repaired."""


@dataclass(frozen=True)
class RowSampler:
    """Draws rows from a generator until enough of them fit.

    Attributes:
        generator: Trained generator.
        encoder: Encoder of its rows.
        formats: Formats of the columns, by name.
        constraints: Constraints that every row fulfills.

    Examples:
        >>> from semigen.generators import make_generator
        >>> from semigen.params.config import ComputeParams, PretrainParams
        >>> from semigen.tables.encoding import encode_rows
        >>> from semigen.tables.schema import TableSchema
        >>> table = pd.DataFrame({"age": np.arange(40.0) % 7, "label": ["a", "b"] * 20})
        >>> schema = TableSchema.infer(table, table[["age"]], "label", {"age": "numeric"})
        >>> encoder = TableEncoder(schema).fit(table)
        >>> params = PretrainParams(generator="autoregressive")
        >>> short = params.autoregressive.model_copy(update={"max_steps": 2, "class_steps": 2})
        >>> params = params.model_copy(update={"autoregressive": short})
        >>> model = make_generator(encoder, params, ComputeParams(), seed=0)
        >>> _ = model.fit(encode_rows(encoder, table, schema.encode_labels(table["label"])))
        >>> sampler = RowSampler(model, encoder, {}, Constraints())
        >>> rows = sampler.sample(np.array([3, 2]), 0, {"age": "0..3"}, has_fixed_classes=True)
        >>> sorted(rows["label"]), bool(rows["age"].max() <= 3)
        (['a', 'a', 'a', 'b', 'b'], True)
    """

    generator: GenerativeModel
    encoder: TableEncoder
    formats: Mapping[str, ColumnFormat]
    constraints: Constraints

    def sample(
        self, counts: np.ndarray, seed: int, where: Where, *, has_fixed_classes: bool
    ) -> pd.DataFrame:
        """Return decoded rows in random order, with their labels; dates are numbers.

        Args:
            counts: Number of rows of each class, shape ``(n_classes,)``.
            seed: Seed of the draws and the order.
            where: Conditions that every row fits.
            has_fixed_classes: Whether each class gets its number of rows. If not, only the sum
                counts: classes are drawn in these proportions and follow from the conditions.

        Raises:
            UserError: If too few rows fit the conditions.
        """
        rng = np.random.default_rng(seed)
        n_rows, missing = int(counts.sum()), counts.copy()
        kept: list[pd.DataFrame] = []
        n_drawn = n_kept = 0
        for attempt in range(MAX_ROUNDS if n_rows else 0):
            y = self._classes_to_draw(counts, missing, n_drawn, n_kept, rng, has_fixed_classes)
            rows = self._decode(self.generator.sample(y, seed + attempt), y)
            n_drawn += len(rows)
            is_fit = self._fits(rows, where)
            if attempt >= ROUNDS_BEFORE_REPAIR:
                rows = self.constraints.repair(rows[is_fit], rng)
                y, is_fit = y[is_fit], self._fits(rows, where)
            is_fit = is_fit & ~self.constraints.violated(rows)
            rows, y = rows[is_fit], y[is_fit]
            if has_fixed_classes:
                is_needed = pd.Series(y).groupby(y).cumcount().to_numpy() < missing[y]
            else:
                is_needed = np.arange(len(rows)) < n_rows - n_kept
            kept.append(rows[is_needed])
            missing = missing - np.bincount(y[is_needed], minlength=len(counts))
            n_kept += int(is_needed.sum())
            if n_kept == n_rows:
                break
        if n_kept < n_rows:
            raise UserError(
                f"only {n_kept} of {n_drawn} sampled rows fit the conditions {dict(where)} and the "
                f"constraints, {n_rows} are needed; ask for fewer rows or other conditions"
            )
        if not kept:
            return self._decode(np.empty((0, self.encoder.n_features), np.float32), counts[:0])
        rows = pd.concat(kept, ignore_index=True)
        return rows.iloc[rng.permutation(len(rows))].reset_index(drop=True)

    def _classes_to_draw(
        self,
        counts: np.ndarray,
        missing: np.ndarray,
        n_drawn: int,
        n_kept: int,
        rng: np.random.Generator,
        has_fixed_classes: bool,
    ) -> np.ndarray:
        """Return a class for each row of the next draw: more rows if few of the last were kept."""
        if not n_drawn:
            return np.repeat(np.arange(len(counts)), counts)
        n_missing = int(counts.sum()) - n_kept
        factor = min(math.ceil(n_drawn / max(n_kept, 1)), max(1, MAX_BATCH // n_missing))
        if has_fixed_classes:
            return np.repeat(np.arange(len(counts)), missing * factor)
        return rng.choice(len(counts), n_missing * factor, p=counts / counts.sum())

    def _decode(self, x: np.ndarray, y: np.ndarray) -> pd.DataFrame:
        schema = self.encoder.schema
        features = round_numbers(self.encoder.inverse_transform(x), self.formats)
        return features.assign(**{schema.target: schema.decode_labels(y)})

    def _fits(self, rows: pd.DataFrame, where: Where) -> np.ndarray:
        return matches(rows, where, self.encoder.schema, self.formats).to_numpy()
