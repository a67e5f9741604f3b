"""Small mixed tables that tests share."""

from __future__ import annotations

import numpy as np
import pandas as pd

from semigen.params.config import PreprocessParams
from semigen.tables.encoding import Encoded, TableEncoder, encode_rows
from semigen.tables.schema import TableSchema

TARGET = "outcome"


def mixed_table(n_rows: int, seed: int = 0, missing: float = 0.0) -> pd.DataFrame:
    """Return rows of two classes that differ in every column: number, count, yes/no, category."""
    rng = np.random.default_rng(seed)
    is_ill = rng.random(n_rows) < 0.5
    table = pd.DataFrame(
        {
            "weight": rng.normal(np.where(is_ill, 80.0, 60.0), 5.0).round(2),
            "visits": rng.poisson(np.where(is_ill, 6, 2)).astype(float),
            "smoker": np.where(rng.random(n_rows) < np.where(is_ill, 0.8, 0.2), "yes", "no"),
            "ward": rng.choice(["north", "south", "west"], n_rows),
            TARGET: np.where(is_ill, "ill", "well"),
        }
    )
    for name in ("weight", "smoker", "ward"):
        table[name] = table[name].where(rng.random(n_rows) >= missing)
    return table


def people(n_rows: int, seed: int) -> pd.DataFrame:
    """Return rows without a label: a whole number, a number, a category, yes/no."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 90, n_rows),
            "income": rng.normal(50, 10, n_rows),
            "city": rng.choice(["Bonn", "Cork", "Lyon"], n_rows),
            "member": rng.choice(["no", "yes"], n_rows),
        }
    )


def schema_of(table: pd.DataFrame) -> TableSchema:
    """Return the schema of a table whose rows are all labeled."""
    return TableSchema.infer(table, table.drop(columns=TARGET), TARGET)


def encoder_of(table: pd.DataFrame, **params: object) -> TableEncoder:
    """Return an encoder fitted on a table."""
    return TableEncoder(schema_of(table), PreprocessParams(**params)).fit(table)


def encoded(table: pd.DataFrame, n_labeled: int) -> tuple[TableEncoder, Encoded]:
    """Return an encoder and the rows, of which the first ``n_labeled`` keep their label."""
    encoder = encoder_of(table)
    y = encoder.schema.encode_labels(table[TARGET])
    y[n_labeled:] = -1
    return encoder, encode_rows(encoder, table, y)
