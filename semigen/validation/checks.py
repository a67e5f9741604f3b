"""What is asked of each part: rules as Great Expectations' expectations, and sentences for users.

This module only says what to ask; ``semigen.validation.expectations`` imports Great Expectations,
which takes seconds, and asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from semigen.params.config import ValidateParams
from semigen.tables.schema import ColumnSchema, TableSchema
from semigen.validation.facts import (
    CLASS_SIZE,
    CONTRADICTION,
    FACTS,
    IN_LABELED,
    IN_UNLABELED,
    Part,
    allowed_outside_range,
    allowed_unseen,
)
from semigen.validation.report import MAX_SAMPLE_VALUES

EPSILON = 1e-9
"""Taken off the least share of good values, so that rounding breaks no rule."""


@dataclass(frozen=True)
class Finding:
    """What an expectation counted, and samples of what broke it."""

    n_checked: int
    n_failed: int
    samples: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.n_failed} of {self.n_checked}"

    @property
    def examples(self) -> str:
        return f" ({', '.join(map(repr, self.samples))})" if self.samples else ""

    @property
    def rows(self) -> str:
        """Samples that are row numbers."""
        more = ", ..." if self.n_failed > len(self.samples) else ""
        return f" (row {', '.join(map(str, self.samples))}{more})" if self.samples else ""


@dataclass(frozen=True)
class Check:
    """One expectation, and how to tell the user that it does not hold.

    Attributes:
        rule: A key of ``semigen.validation.report.RULES``.
        column: The column to report; None if the rule is about rows or the set of columns.
        expectation: Name of a class in ``great_expectations.expectations``.
        arguments: Its arguments.
        explain: Makes the sentence for the user.
        samples: Sample values, where the unexpected values themselves say too little.
    """

    rule: str
    column: str | None
    expectation: str
    arguments: dict[str, Any]
    explain: Callable[[Finding], str]
    samples: tuple[Any, ...] | None = None


def part_checks(
    name: str, parts: dict[str, Part], schema: TableSchema, params: ValidateParams
) -> Iterator[Check]:
    """Yield everything that is asked of one part.

    Args:
        name: ``labeled``, ``unlabeled`` or ``test``.
        parts: All parts; the unlabeled one says which values are usual.
        schema: The schema of labeled and unlabeled rows.
        params: What is tolerated.
    """
    part = parts[name]
    yield from column_set_checks(part, parts["labeled"], schema)
    present = [column for column in schema.features if column.name in part.frame]
    for column in present:
        yield from type_checks(part, column)
        yield from missing_checks(part, parts["unlabeled"], column, params.max_missing_share)
    if name == "unlabeled":
        yield from hidden_label_checks(part, parts["labeled"], schema)
        return
    for column in present:
        yield from shift_checks(part, parts["unlabeled"], column, len(present), params)
    yield from label_checks(part, parts["labeled"], schema)
    if name == "labeled":
        yield from class_checks(part, schema, params.min_rows_per_class)
    yield from row_checks(part, parts)


def column_set_checks(part: Part, labeled: Part, schema: TableSchema) -> Iterator[Check]:
    """Ask for the schema's features, and for no column that only one table has."""
    needed = [column.name for column in schema.features]
    absent = [name for name in needed if name not in part.columns]
    yield Check(
        "feature_columns",
        absent[0] if len(absent) == 1 else None,
        "ExpectTableColumnsToMatchSet",
        {"column_set": needed, "exact_match": False},
        lambda _: (
            f"{part.file}: lacks the feature column(s) {listed(absent)}, which {labeled.file} has; "
            f"add them, or {in_kinds(absent[0], 'ignore')}"
        ),
        samples=tuple(absent[:MAX_SAMPLE_VALUES]),
    )
    if part is labeled:
        return
    known = [name for name in labeled.columns if name != schema.target or part.name == "test"]
    # A feature that the test table lacks is an error already, an ignored column no loss.
    unused = [name for name in known if name not in part.columns] if part.name != "test" else []
    extra = [name for name in part.columns if name not in known]
    usual = [name for name in part.columns if name in known]
    added = [name for name in part.frame if name in FACTS or name not in part.columns]
    told = []
    if unused:
        told.append(f"lacks {listed(unused)} of {labeled.file}")
    if extra:
        told.append(f"has {listed(extra)}, which {labeled.file} lacks")
    yield Check(
        "same_columns",
        None,
        "ExpectTableColumnsToMatchSet",
        {"column_set": [*usual, *unused, *added], "exact_match": True},
        lambda _: (
            f"{part.file}: {' and '.join(told)}; columns that only one table has are not used, "
            "so add or rename them if they matter"
        ),
        samples=tuple([*unused, *extra][:MAX_SAMPLE_VALUES]),
    )


def type_checks(part: Part, column: ColumnSchema) -> Iterator[Check]:
    """Ask for numbers in a numeric column.

    Nothing is asked about columns that were read as numbers: they hold nothing else. A boolean
    column's third value is no error either: it counts as missing, and ``shift_checks`` warns of it.
    """
    values = part.frame[column.name]
    if column.kind != "numeric" or values.dtype != object:
        return
    about = f"{part.file}: column {column.name!r}"
    remedy = f"correct or empty these cells, or {in_kinds(column.name, 'category')}"
    is_text = values.map(lambda value: isinstance(value, str))
    row = f", first in row {int(np.argmax(is_text)) + 1}" if part.has_row_numbers else ""
    yield Check(
        "type",
        column.name,
        "ExpectColumnValuesToBeInTypeList",
        {"column": column.name, "type_list": ["float"]},
        lambda found: f"{about}: {found} values are not numbers{found.examples}{row}; {remedy}",
    )


def missing_checks(
    part: Part, unlabeled: Part, column: ColumnSchema, max_share: float
) -> Iterator[Check]:
    """Ask that a column is not mostly empty.

    Nothing is asked about full columns, nor again about those that the unlabeled table, mostly the
    largest one, is warned of.
    """
    is_missing = part.frame[column.name].isna()
    is_told = part is not unlabeled and unlabeled.frame[column.name].isna().mean() > max_share
    if not is_missing.any() or is_told:
        return
    yield Check(
        "missing_share",
        column.name,
        "ExpectColumnValuesToNotBeNull",
        {"column": column.name, "mostly": at_least(1 - max_share)},
        lambda found: (
            f"{part.file}: column {column.name!r}: {found} cells are empty, more than "
            f"{max_share:.0%} (validate.max_missing_share); fill them, or leave the column out: "
            f"{in_kinds(column.name, 'ignore')}"
        ),
    )


def shift_checks(
    part: Part, unlabeled: Part, column: ColumnSchema, n_columns: int, params: ValidateParams
) -> Iterator[Check]:
    """Ask that values lie in the unlabeled rows' range or categories, but for a few.

    Few is ``params.max_out_of_range_share``, or more where chance alone explains more.
    """
    values, usual = part.frame[column.name].dropna(), unlabeled.frame[column.name].dropna()
    is_number = column.kind == "numeric"
    if usual.empty or values.empty or (is_number and object in (values.dtype, usual.dtype)):
        return  # nothing to compare, or an error of type already
    if is_number:
        low, high = float(usual.min()), float(usual.max())
        n_allowed = allowed_outside_range(len(values), len(usual), n_columns)
        expectation = "ExpectColumnValuesToBeBetween"
        arguments: dict[str, Any] = {"min_value": low, "max_value": high}
        fault = f"lie outside the unlabeled rows' range of {low:g} to {high:g}"
    else:
        counts = usual.value_counts()
        n_allowed = allowed_unseen(len(values), len(usual), int((counts == 1).sum()), n_columns)
        expectation, arguments = "ExpectColumnValuesToBeInSet", {"value_set": sorted(counts.index)}
        fault = "never occur in the unlabeled rows"
    share = max(params.max_out_of_range_share, n_allowed / len(values))
    yield Check(
        "within_unlabeled",
        column.name,
        expectation,
        {"column": column.name, "mostly": at_least(1 - share), **arguments},
        lambda found: (
            f"{part.file}: column {column.name!r}: {found} values {fault}{found.examples}; the "
            f"rows may be of another kind than those of {unlabeled.file} (domain shift), so check "
            "units, spelling and origin"
        ),
    )


def label_checks(part: Part, labeled: Part, schema: TableSchema) -> Iterator[Check]:
    """Ask for a label in every row, and for no class that the labeled rows lack."""
    is_missing = part.frame[schema.target].isna()
    rows = np.flatnonzero(is_missing) + 1 if part.has_row_numbers else np.array([], int)
    yield Check(
        "label_present",
        schema.target,
        "ExpectColumnValuesToNotBeNull",
        {"column": schema.target},
        lambda found: (
            f"{part.file}: column {schema.target!r} (data.target): {found} rows have no label"
            f"{found.rows}; fill it in, or take the rows out (cells such as NA, None or null count "
            "as empty)"
        ),
        samples=tuple(rows[:MAX_SAMPLE_VALUES].tolist()),
    )
    if part is not labeled:
        yield Check(
            "known_label",
            schema.target,
            "ExpectColumnValuesToBeInSet",
            {"column": schema.target, "value_set": list(schema.classes)},
            lambda found: (
                f"{part.file}: column {schema.target!r} (data.target): {found} labels do not occur "
                f"in {labeled.file}{found.examples}; correct them, or add labeled rows of these "
                "classes"
            ),
        )


def class_checks(part: Part, schema: TableSchema, min_rows: int) -> Iterator[Check]:
    """Ask for at least two classes, and for enough rows of each."""
    target = schema.target
    yield Check(
        "two_classes",
        target,
        "ExpectColumnUniqueValueCountToBeBetween",
        {"column": target, "min_value": 2},
        lambda _: (
            f"{part.file}: column {target!r} (data.target) holds "
            + (f"only the class {schema.classes[0]!r}" if schema.classes else "no label at all")
            + "; a classifier needs two: add labeled rows of another, or check data.target"
        ),
        samples=schema.classes,
    )
    counts = part.frame[target].value_counts()
    rare = [(name, int(counts[name])) for name in schema.classes if counts[name] < min_rows]
    most = ", ".join(f"{name!r} has {n}" for name, n in rare[:MAX_SAMPLE_VALUES])
    more = f" and {len(rare) - MAX_SAMPLE_VALUES} more" if len(rare) > MAX_SAMPLE_VALUES else ""
    split = "" if part.has_row_numbers else " after the test rows were set aside (data.test_size)"
    yield Check(
        "rows_per_class",
        target,
        "ExpectColumnValuesToBeBetween",
        {"column": CLASS_SIZE, "min_value": min_rows},
        lambda _: (
            f"{part.file}: column {target!r} (data.target): {len(rare)} of {len(counts)} classes "
            f"have fewer than {min_rows} labeled rows{split}: {most}{more}; add labeled rows, "
            "take these classes out, or check data.target"
        ),
        samples=tuple(name for name, _ in rare[:MAX_SAMPLE_VALUES]),
    )


def hidden_label_checks(part: Part, labeled: Part, schema: TableSchema) -> Iterator[Check]:
    """Ask that the unlabeled table's target column, if it has one, is empty."""
    if schema.target in part.frame:
        yield Check(
            "no_labels",
            schema.target,
            "ExpectColumnValuesToBeNull",
            {"column": schema.target},
            lambda found: (
                f"{part.file}: column {schema.target!r} (data.target): {found} rows have a label, "
                f"which is not used; move such rows to {labeled.file} to learn from it"
            ),
        )


def row_checks(part: Part, parts: dict[str, Part]) -> Iterator[Check]:
    """Ask that equal rows have equal labels, and that none but by chance stands in two tables."""
    twice = "; take them out of one table, unless they are different records that happen to agree"
    labeled, unlabeled = parts["labeled"].file, parts["unlabeled"].file
    for rule, fact, fault, remedy in (
        (
            "consistent_labels",
            CONTRADICTION,
            "equal another row in all features, but not in the label",
            "; correct the labels, or add a feature that tells the rows apart",
        ),
        (
            "not_in_labeled",
            IN_LABELED,
            f"also stand in {labeled}",
            f", which flatters the scores{twice}",
        ),
        ("not_in_unlabeled", IN_UNLABELED, f"also stand in {unlabeled}", twice),
    ):
        if fact in part.frame:
            yield _row_check(part, rule, fact, fault, remedy)


def _row_check(part: Part, rule: str, fact: str, fault: str, remedy: str) -> Check:
    n_by_chance = part.n_by_chance.get(fact, 0)
    return Check(
        rule,
        None,
        "ExpectColumnValuesToBeNull",
        {"column": fact, "mostly": at_least(1 - n_by_chance / len(part.frame))},
        lambda found: f"{part.file}: {found} rows {fault}{found.rows}{remedy}",
        samples=None if part.has_row_numbers else (),
    )


def at_least(share: float) -> float:
    """Return the share of good values to ask for, safe from rounding."""
    return max(0.0, share - EPSILON)


def in_kinds(column: str, kind: str) -> str:
    """Return what to write into ``params.yaml``."""
    return f"set data.kinds to {{{column}: {kind}}} in params.yaml"


def listed(names: Sequence[str]) -> str:
    """Return the first names, quoted, and how many more there are."""
    more = f" and {len(names) - MAX_SAMPLE_VALUES} more" if len(names) > MAX_SAMPLE_VALUES else ""
    return ", ".join(map(repr, names[:MAX_SAMPLE_VALUES])) + more
