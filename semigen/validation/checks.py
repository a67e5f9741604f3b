"""The checks of each table.

This package describes the checks without importing Great Expectations, which takes seconds;
``semigen.validation.expectations`` runs them.
"""

from __future__ import annotations

from collections.abc import Iterator

from semigen.params.config import ValidateParams
from semigen.tables.schema import TableSchema
from semigen.validation.check import Check, set_kind
from semigen.validation.column_checks import missing_checks, shift_checks
from semigen.validation.facts import FACTS, Part
from semigen.validation.label_checks import (
    class_checks,
    label_checks,
    row_checks,
    unlabeled_checks,
)
from semigen.validation.report import MAX_SAMPLE_VALUES
from semigen.wording import first_few


def part_checks(
    name: str, parts: dict[str, Part], schema: TableSchema, params: ValidateParams
) -> Iterator[Check]:
    """Yield all checks of one table.

    Args:
        name: ``labeled``, ``unlabeled`` or ``test``.
        parts: All tables; values are compared with those of the unlabeled table.
        schema: Schema of the labeled and unlabeled rows.
        params: Tolerances.
    """
    part = parts[name]
    yield from column_set_checks(part, parts["labeled"], schema)
    present = [column for column in schema.features if column.name in part.frame]
    for column in present:
        yield from missing_checks(part, parts["unlabeled"], column, params.max_missing_share)
    if name == "unlabeled":
        yield from unlabeled_checks(part, parts["labeled"], schema)
        return
    for column in present:
        yield from shift_checks(part, parts["unlabeled"], column, len(present), params)
    yield from label_checks(part, parts["labeled"], schema)
    if name == "labeled":
        yield from class_checks(part, schema, params.min_rows_per_class)
    yield from row_checks(part, parts)


def column_set_checks(part: Part, labeled: Part, schema: TableSchema) -> Iterator[Check]:
    """Check that the table has all features, and that the tables have the same columns."""
    needed = [column.name for column in schema.features]
    missing = [name for name in needed if name not in part.columns]
    yield Check(
        "feature_columns",
        missing[0] if len(missing) == 1 else None,
        "ExpectTableColumnsToMatchSet",
        {"column_set": needed, "exact_match": False},
        lambda _: (
            f"{part.file}: missing feature column(s) {_quoted(missing)} of {labeled.file}; "
            f"add them, or {set_kind(missing[0], 'ignore')}"
        ),
        samples=tuple(missing[:MAX_SAMPLE_VALUES]),
    )
    if part is not labeled:
        yield _same_columns(part, labeled, schema)


def _same_columns(part: Part, labeled: Part, schema: TableSchema) -> Check:
    known = [name for name in labeled.columns if name != schema.target or part.name == "test"]
    # A feature missing from the test table is an error already; an ignored column does not matter.
    unused = [name for name in known if name not in part.columns] if part.name != "test" else []
    extra = [name for name in part.columns if name not in known]
    shared = [name for name in part.columns if name in known]
    added = [name for name in part.frame if name in FACTS or name not in part.columns]
    differences = []
    if unused:
        differences.append(f"lacks {_quoted(unused)} of {labeled.file}")
    if extra:
        differences.append(f"has {_quoted(extra)}, which {labeled.file} lacks")
    return Check(
        "same_columns",
        None,
        "ExpectTableColumnsToMatchSet",
        {"column_set": [*shared, *unused, *added], "exact_match": True},
        lambda _: (
            f"{part.file}: {' and '.join(differences)}; columns that are in one table only are not "
            "used, so add or rename them if they matter"
        ),
        samples=tuple([*unused, *extra][:MAX_SAMPLE_VALUES]),
    )


def _quoted(names: list[str]) -> str:
    return first_few(list(map(repr, names)), MAX_SAMPLE_VALUES)
