"""Checks of a schema, and of an encoder's columns, that were read from files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from semigen.tables.columns import ColumnSchema
from semigen.tables.schema import TableSchema


def check_schema(schema: TableSchema) -> None:
    """Check that the parts of a schema agree with each other.

    Raises:
        ValueError: If names or classes repeat, or a column has no valid range or categories.
    """
    names = [column.name for column in schema.columns]
    if len({*names, schema.target}) <= len(names):
        raise ValueError("two columns have the same name")
    if len(set(schema.classes)) < max(1, len(schema.classes)):
        raise ValueError("classes are missing or repeated")
    if schema.integer_classes:
        _ = [int(label) for label in schema.classes]
    if not schema.features:
        raise ValueError("no column is used")
    for column in schema.features:
        if not _is_valid(column):
            raise ValueError(f"column {column.name!r} has no valid range or categories")


def check_class_order(schema: TableSchema, recorded: Sequence[str] | None) -> None:
    """Check the order of the classes, by whose index estimators name them.

    Args:
        schema: Schema of the table.
        recorded: Classes that the classifier recorded; None if it was saved by an earlier version.
            Then the classes must be sorted, as inferred ones are.

    Raises:
        ValueError: If the order differs.
    """
    key = int if schema.integer_classes else str
    expected = sorted(schema.classes, key=key) if recorded is None else list(recorded)
    if list(schema.classes) != expected:
        raise ValueError("the classes are in another order than the classifier's")


def check_blocks(schema: TableSchema, blocks: Mapping[str, Sequence[str]]) -> None:
    """Check that the blocks of an encoder have the columns of the schema.

    Args:
        schema: Schema of the table.
        blocks: Names of the columns of each block.

    Raises:
        ValueError: If they differ.
    """
    for kind in ("numeric", "boolean", "category"):
        expected = [column.name for column in schema.features if column.kind == kind]
        if list(blocks.get(kind, ())) != expected:
            raise ValueError(f"the encoder's {kind} columns are not those of the schema")
    with_gaps = set(blocks.get("missing", ()))
    known = {column.name for column in schema.features if column.kind != "category"}
    if not with_gaps <= known or not blocks.keys() <= {"numeric", "missing", "boolean", "category"}:
        raise ValueError("the encoder has columns that are not in the schema")


def empty_row(schema: TableSchema) -> pd.DataFrame:
    """Return a table of one row with missing values, which every encoder can encode."""
    return pd.DataFrame({column.name: [None] for column in schema.features})


def _is_valid(column: ColumnSchema) -> bool:
    if column.kind == "numeric":
        low, high = column.minimum, column.maximum
        if low is None or high is None:
            return False
        return math.isfinite(low) and math.isfinite(high) and low <= high
    expected = 2 if column.kind == "boolean" else max(1, len(column.categories))
    return len(set(column.categories)) == len(column.categories) == expected
