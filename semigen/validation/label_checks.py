"""Checks of labels, classes and equal rows."""

from __future__ import annotations

from collections.abc import Iterator

from semigen.tables.schema import TableSchema
from semigen.tables.splits import Tables
from semigen.validation.check import Check, at_least
from semigen.validation.facts import CLASS_SIZE, CONTRADICTION, IN_LABELED, IN_UNLABELED, Part
from semigen.validation.report import MAX_SAMPLE_VALUES, RULES, ValidationResult
from semigen.wording import first_few


def check_unlabeled_rows(tables: Tables) -> ValidationResult:
    """Report whether there are unlabeled rows."""
    is_there = len(tables.unlabeled) > 0
    fault = (
        f"{tables.files['unlabeled']}: there are no unlabeled rows, so the classifier learns from "
        "labels only; add rows without a label, or name a table of them in data.unlabeled"
    )
    return ValidationResult(
        part="unlabeled",
        column=None,
        rule="some_unlabeled",
        success=is_there,
        n_checked=max(len(tables.unlabeled), 1),
        n_failed=int(not is_there),
        sample_values=(),
        text=RULES["some_unlabeled"].description if is_there else fault,
    )


def label_checks(part: Part, labeled: Part, schema: TableSchema) -> Iterator[Check]:
    """Check that every row has a label, and that the labeled rows have every class."""
    is_missing = part.frame[schema.target].isna()
    rows = part.row_numbers[is_missing.to_numpy()]
    yield Check(
        "label_present",
        schema.target,
        "ExpectColumnValuesToNotBeNull",
        {"column": schema.target},
        lambda found: (
            f"{part.file}: column {schema.target!r} (data.target): {found} rows have no label"
            f"{found.rows}; fill in the labels, or remove the rows"
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
    """Check that there are at least two classes, each with enough rows."""
    target = schema.target
    yield Check(
        "two_classes",
        target,
        "ExpectColumnUniqueValueCountToBeBetween",
        {"column": target, "min_value": 2},
        lambda _: (
            f"{part.file}: column {target!r} (data.target) holds "
            + (f"only class {schema.classes[0]!r}" if schema.classes else "no label")
            + "; a classifier needs two classes: add labeled rows of another class, or check "
            "data.target"
        ),
        samples=schema.classes,
    )
    counts = part.frame[target].value_counts()
    rare = [(name, int(counts[name])) for name in schema.classes if counts[name] < min_rows]
    listing = first_few([f"{name!r} has {n}" for name, n in rare], MAX_SAMPLE_VALUES)
    split = " after the test rows were split off (data.test_size)" if part.is_split else ""
    yield Check(
        "rows_per_class",
        target,
        "ExpectColumnValuesToBeBetween",
        {"column": CLASS_SIZE, "min_value": min_rows},
        lambda _: (
            f"{part.file}: column {target!r} (data.target): {len(rare)} of {len(counts)} classes "
            f"have fewer than {min_rows} labeled rows{split}: {listing}; add labeled rows, "
            "remove these classes, or check data.target"
        ),
        samples=tuple(name for name, _ in rare[:MAX_SAMPLE_VALUES]),
    )


def unlabeled_checks(part: Part, labeled: Part, schema: TableSchema) -> Iterator[Check]:
    """Check that the target column of the unlabeled table, if there is one, is empty."""
    if schema.target in part.frame:
        yield Check(
            "no_labels",
            schema.target,
            "ExpectColumnValuesToBeNull",
            {"column": schema.target},
            lambda found: (
                f"{part.file}: column {schema.target!r} (data.target): {found} rows have a label, "
                f"which is not used; move these rows to {labeled.file} to use their labels"
            ),
        )


def row_checks(part: Part, parts: dict[str, Part]) -> Iterator[Check]:
    """Check that equal rows have equal labels, and that no row is in two tables.

    As many equal rows as chance explains are tolerated.
    """
    remedy = "; remove them from one table, unless they are different records that happen to agree"
    labeled, unlabeled = parts["labeled"].file, parts["unlabeled"].file
    if CONTRADICTION in part.frame:
        yield _row_check(
            part,
            "consistent_labels",
            CONTRADICTION,
            "equal another row in all features, but have another label",
            "; correct the labels, or add a feature that distinguishes the rows",
        )
    if IN_LABELED in part.frame:
        fault, effect = f"are also in {labeled}", ", which inflates the test score"
        yield _row_check(part, "not_in_labeled", IN_LABELED, fault, effect + remedy)
    if IN_UNLABELED in part.frame:
        fault = f"are also in {unlabeled}"
        yield _row_check(part, "not_in_unlabeled", IN_UNLABELED, fault, remedy)


def _row_check(part: Part, rule: str, fact: str, fault: str, remedy: str) -> Check:
    n_by_chance = part.n_by_chance.get(fact, 0)
    return Check(
        rule,
        None,
        "ExpectColumnValuesToBeNull",
        {"column": fact, "mostly": at_least(1 - n_by_chance / len(part.frame))},
        lambda found: f"{part.file}: {found} rows {fault}{found.rows}{remedy}",
    )
