"""Checks of the values of a column: missing cells and domain shift."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from semigen.params.config import ValidateParams
from semigen.tables.columns import ColumnSchema
from semigen.validation.check import Check, at_least, set_kind
from semigen.validation.facts import Part, allowed_outside_range, allowed_unseen
from semigen.wording import mark_cells


def missing_checks(
    part: Part, unlabeled: Part, column: ColumnSchema, max_fraction: float
) -> Iterator[Check]:
    """Check that a column is not mostly missing.

    Complete columns need no check. A column about which the unlabeled table, usually the largest
    table, gives a warning is not checked again in the other tables.
    """
    is_missing = part.frame[column.name].isna()
    is_reported = (
        part is not unlabeled and unlabeled.frame[column.name].isna().mean() > max_fraction
    )
    if not is_missing.any() or is_reported:
        return
    yield Check(
        "missing_share",
        column.name,
        "ExpectColumnValuesToNotBeNull",
        {"column": column.name, "mostly": at_least(1 - max_fraction)},
        lambda found: (
            f"{part.file}: column {column.name!r}: {found} cells are missing, more than "
            f"{max_fraction:.0%} (validate.max_missing_share); fill them, or exclude the column: "
            f"{set_kind(column.name, 'ignore')}"
        ),
    )


def shift_checks(
    part: Part, unlabeled: Part, column: ColumnSchema, n_columns: int, params: ValidateParams
) -> Iterator[Check]:
    """Check that values are within the range or among the categories of the unlabeled rows.

    A fraction of ``params.max_out_of_range_share`` is tolerated, or more if chance explains it.
    """
    values, reference = part.frame[column.name].dropna(), unlabeled.frame[column.name].dropna()
    is_number = column.kind == "numeric"
    if column.kind == "boolean" and part.misfits[column.name].n_misfit:
        return  # its third values are reported already
    if is_number:
        values, reference = (
            pd.to_numeric(v, errors="coerce").dropna() for v in (values, reference)
        )
    if reference.empty or values.empty or (is_number and part.frame[column.name].dtype == object):
        return  # nothing to compare, or reported already
    if is_number:
        low, high = float(reference.min()), float(reference.max())
        n_allowed = allowed_outside_range(len(values), len(reference), n_columns)
        expectation = "ExpectColumnValuesToBeBetween"
        arguments: dict[str, Any] = {"min_value": low, "max_value": high}
        fault = "are outside the range of the unlabeled rows" + mark_cells(f", {low:g} to {high:g}")
    else:
        counts = reference.value_counts()
        n_singletons = int((counts == 1).sum())
        n_allowed = allowed_unseen(len(values), len(reference), n_singletons, n_columns)
        expectation, arguments = "ExpectColumnValuesToBeInSet", {"value_set": sorted(counts.index)}
        fault = "do not occur in the unlabeled rows"
    tolerated = max(params.max_out_of_range_share, n_allowed / len(values))
    yield Check(
        "within_unlabeled",
        column.name,
        expectation,
        {"column": column.name, "mostly": at_least(1 - tolerated), **arguments},
        lambda found: (
            f"{part.file}: column {column.name!r}: {found} values {fault}{found.examples}; the "
            f"distribution may differ from that of {unlabeled.file} (domain shift); check units, "
            "spelling and source"
        ),
    )
