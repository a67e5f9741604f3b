"""Checks of the meaning of cells: what does not fit the schema, and what should not be a feature.

These need no expectation of Great Expectations, because reading the tables already counts them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from semigen.tables.columns import MAX_MAGNITUDE, ColumnSchema
from semigen.tables.schema import TableSchema
from semigen.validation.check import set_kind
from semigen.validation.facts import Part
from semigen.validation.report import MAX_SAMPLE_VALUES, RULES, ValidationResult
from semigen.validation.separation import SEPARATION, separation
from semigen.wording import mark_cells

SENTINELS = tuple(sign * int(nines * "9") for sign in (-1, 1) for nines in range(2, 7))
"""Numbers that often mark missing cells: -99, -999, 999 and so on."""
MIN_SENTINELS = 2


def meaning_results(
    name: str, parts: Mapping[str, Part], schema: TableSchema
) -> Iterator[ValidationResult]:
    """Yield the results of all checks of one table.

    Args:
        name: ``labeled``, ``unlabeled`` or ``test``.
        parts: All tables.
        schema: Schema of the labeled and unlabeled rows.
    """
    part = parts[name]
    for note in part.notes:
        yield _result(part, None, "reading", note)
    if name == "unlabeled":
        for column in schema.features:
            if column.note:
                yield _result(
                    part, column.name, "reading", f"column {column.name!r}: {column.note}"
                )
            yield from _sentinels(part, column)
    for column in schema.features:
        if column.name in part.misfits:
            yield from _misfits(part, column, schema.max_unknown_share)
            if not part.misfits[column.name].is_excessive(schema.max_unknown_share):
                yield from _separations(part, column, parts)


def _misfits(part: Part, column: ColumnSchema, max_share: float) -> Iterator[ValidationResult]:
    place = f"{part.file}: column {column.name!r}"
    if column.name in part.extremes:
        position, value = part.extremes[column.name]
        row = part.row(position)
        yield _result(
            part,
            column.name,
            "finite",
            f"{place}{f', row {row}' if row else ''}: {mark_cells(str(value))} is infinite or "
            f"beyond {MAX_MAGNITUDE:g}; correct or empty the cell",
            samples=(value,),
        )
        return
    misfit = part.misfits[column.name]
    counts = {"n_checked": misfit.n_present, "n_failed": misfit.n_misfit}
    if misfit.is_excessive(max_share):
        rule, limit = "type", f", more than {max_share:.0%} (validate.max_unknown_share)"
    elif misfit.n_misfit and column.kind != "category":  # of categories, domain shift is reported
        rule, limit = "fits_schema", ""
    else:
        return
    remedy = f"correct or empty these cells, or {set_kind(column.name, 'category')}"
    message = f"{part.file}: {misfit.at_row(part.row(misfit.row))}{limit}; {remedy}"
    yield _result(part, column.name, rule, message, misfit.samples, **counts)


def _sentinels(part: Part, column: ColumnSchema) -> Iterator[ValidationResult]:
    """Warn about a frequent extreme value far from all others, such as -999."""
    if column.kind != "numeric" or column.name not in part.frame:
        return
    numbers = pd.to_numeric(part.frame[column.name], errors="coerce").dropna().to_numpy(float)
    for value in sorted(set(SENTINELS) & set(numbers.tolist())):
        others = numbers[numbers != value]
        n_found = len(numbers) - len(others)
        if n_found < MIN_SENTINELS or len(np.unique(others)) < MIN_SENTINELS:
            continue
        if np.abs(others - value).min() > others.max() - others.min():
            yield _result(
                part,
                column.name,
                "sentinel",
                f"{part.file}: column {column.name!r}: {n_found} of {len(numbers)} values are "
                f"{value}, far from all others "
                + mark_cells(f"({others.min():g} to {others.max():g})")
                + f"; if it marks "
                f'missing cells, set data.read.na_values to ["{value}"]',
                samples=(value,),
                n_checked=len(numbers),
                n_failed=n_found,
            )


def _separations(
    part: Part, column: ColumnSchema, parts: Mapping[str, Part]
) -> Iterator[ValidationResult]:
    other = {"unlabeled": "labeled", "test": "labeled"}.get(part.name)
    if other is None or (part.name == "test" and part.is_split):
        return
    reference = parts[other]
    if column.name not in reference.frame:
        return
    accuracy = separation(reference.frame[column.name], part.frame[column.name], column)
    if accuracy >= SEPARATION:
        rows = "labeled from unlabeled" if part.name == "unlabeled" else "training from test"
        yield _result(
            part,
            column.name,
            "separates",
            f"{part.file}: column {column.name!r} tells {rows} rows with a balanced accuracy of "
            f"{accuracy:.1%}, so what it says about labeled rows does not hold for others; exclude "
            f"it if it is an identifier or date of collection: {set_kind(column.name, 'ignore')}",
        )


def _result(
    part: Part,
    column: str | None,
    rule: str,
    message: str,
    samples: tuple[Any, ...] = (),
    n_checked: int = 1,
    n_failed: int = 1,
) -> ValidationResult:
    assert rule in RULES
    return ValidationResult(
        part=part.name,
        column=column,
        rule=rule,
        success=False,
        n_checked=n_checked,
        n_failed=n_failed,
        sample_values=samples[:MAX_SAMPLE_VALUES],
        text=message,
        shows_cells=bool(samples),
    )
