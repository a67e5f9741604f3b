from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from semigen.params.config import ValidateParams
from semigen.report.validation import validation_markdown
from semigen.tables.schema import TableSchema
from semigen.tables.splits import Tables
from semigen.validation.checks import part_checks
from semigen.validation.expectations import build_suite, validate_tables
from semigen.validation.facts import allowed_outside_range, allowed_unseen, view_parts
from semigen.validation.report import RULES, ValidationReport, ValidationResult
from tests.semigen.example_tables import people

FILES = {"labeled": "l.csv", "unlabeled": "u.csv", "test": "t.csv"}


def rows(n_rows: int, seed: int) -> pd.DataFrame:
    return people(n_rows, seed).assign(label=np.where(np.arange(n_rows) % 2, "a", "b"))


def clean() -> Tables:
    unlabeled = rows(300, 1).drop(columns="label")
    return Tables(rows(40, 0), unlabeled, rows(60, 2), FILES)


def validated(tables: Tables, **params) -> ValidationReport:
    schema = TableSchema.infer(tables.labeled, tables.unlabeled, "label")
    return validate_tables(tables, schema, ValidateParams(**params))


def violations(report: ValidationReport) -> dict[tuple[str, str, str | None], ValidationResult]:
    return {(r.part, r.rule, r.column): r for r in report.errors + report.warnings}


def only(report: ValidationReport) -> ValidationResult:
    """Return the only violation."""
    (result,) = report.errors + report.warnings
    return result


def edited(frame: pd.DataFrame, column: str, values: dict[int, object]) -> pd.DataFrame:
    changed = frame[column].astype(object)
    for row, value in values.items():
        changed[row] = value
    return frame.assign(**{column: changed.infer_objects()})


@pytest.fixture
def tables() -> Tables:
    return clean()


def replaced(tables: Tables, **parts: pd.DataFrame) -> Tables:
    return Tables(**{**vars(tables), **parts})


def test_clean_tables_violate_no_rule(tables):
    report = validated(tables)
    assert report.success
    assert not report.warnings
    assert report.n_rows == {"labeled": 40, "unlabeled": 300, "test": 60}
    checks = {(r.part, r.rule) for r in report.results}
    assert ("test", "known_label") in checks
    assert ("labeled", "rows_per_class") in checks
    assert ("unlabeled", "feature_columns") in checks


@pytest.mark.parametrize("part", FILES)
def test_text_among_numbers_is_counted_and_listed(tables, part: str):
    frame = edited(getattr(tables, part), "age", {3: "old", 7: "NA", 9: "old"})
    result = only(validated(replaced(tables, **{part: frame})))
    assert (result.part, result.column, result.rule) == (part, "age", "fits_schema")
    # "NA" marks a missing cell.
    assert (result.severity, result.n_checked, result.n_failed) == ("warning", len(frame) - 1, 2)
    assert result.sample_values == ("old",)
    assert result.message.startswith(f"{FILES[part]}: column 'age': 2 of {len(frame) - 1} cells")
    assert "row 4" in result.message
    assert "data.kinds to {age: category}" in result.message


@pytest.mark.parametrize(("part", "column"), [("test", "age"), ("labeled", "member")])
def test_many_cells_that_do_not_fit_are_an_error(tables, part: str, column: str):
    frame = edited(getattr(tables, part), column, dict.fromkeys(range(5, 19), "old"))
    tables = replaced(tables, **{part: frame})
    schema = TableSchema.infer(clean().labeled, tables.unlabeled, "label")
    result = only(validate_tables(tables, schema, ValidateParams()))
    assert (result.rule, result.severity, result.n_failed) == ("type", "error", 14)
    assert "more than 20% (validate.max_unknown_share)" in result.message
    assert "first in row 6" in result.message
    tolerant = schema.model_copy(update={"max_unknown_share": 0.4})
    assert only(validate_tables(tables, tolerant, ValidateParams())).rule == "fits_schema"


@pytest.mark.parametrize("number", [np.inf, -np.inf, 1e200, "-1e31", "inf"])
def test_infinite_and_huge_numbers_are_named_with_their_row(tables, number):
    for part in FILES:
        frame = edited(getattr(tables, part), "income", {7: number})
        result = only(validated(replaced(tables, **{part: frame})))
        assert (result.part, result.rule, result.severity) == (part, "finite", "error")
        assert f"{FILES[part]}: column 'income', row 8: {number} is infinite" in result.message


def test_column_that_tells_labeled_from_unlabeled_rows_is_an_error(tables):
    """Such as the date of collection, or a number that counts through both tables."""
    labeled = tables.labeled.assign(batch=np.arange(100.0, 140.0), site="lab")
    unlabeled = tables.unlabeled.assign(
        batch=np.concatenate([np.arange(100.0), np.arange(140.0, 340.0)]) + 0.5, site="web"
    )
    test = tables.test.assign(batch=np.linspace(0, 340, 60), site=["lab", "web"] * 30)
    found = violations(validated(replaced(tables, labeled=labeled, unlabeled=unlabeled, test=test)))
    site, batch = (found["unlabeled", "separates", name] for name in ("site", "batch"))
    assert site.severity == batch.severity == "error"
    assert (
        "'site' tells labeled from unlabeled rows with a balanced accuracy of 100" in site.message
    )
    assert "set data.kinds to {site: ignore}" in site.message


def test_column_that_tells_training_from_test_rows_is_an_error(tables):
    test = tables.test.assign(income=tables.test["income"] + 200)
    found = violations(validated(replaced(tables, test=test)))
    assert found["test", "separates", "income"].severity == "error"
    assert "tells training from test rows" in found["test", "separates", "income"].message


def test_mark_of_missing_cells_among_numbers_is_suspected(tables):
    unlabeled = edited(tables.unlabeled, "income", {5: -999, 9: -999})
    found = violations(validated(replaced(tables, unlabeled=unlabeled)))
    sentinel = found["unlabeled", "sentinel", "income"]
    assert (sentinel.severity, sentinel.n_failed, sentinel.sample_values) == ("warning", 2, (-999,))
    assert 'data.read.na_values to ["-999"]' in sentinel.message
    high = edited(tables.unlabeled, "age", dict.fromkeys(range(9), 99))
    assert not validated(replaced(tables, unlabeled=high)).warnings  # not far from the others


def test_unusual_marks_of_missing_cells_are_told(tables):
    unlabeled = edited(tables.unlabeled, "income", {5: "?", 9: "?"})
    result = only(validated(replaced(tables, unlabeled=unlabeled)))
    assert (result.rule, result.severity) == ("reading", "warning")
    assert result.message.startswith("column 'income': read as missing: 2 x '?'")


def test_third_value_of_a_boolean_column_is_a_warning(tables):
    third = dict.fromkeys(range(10), "perhaps")
    test = edited(tables.test, "member", {**third, 10: None})
    result = only(validated(replaced(tables, test=test)))
    assert (result.rule, result.severity) == ("fits_schema", "warning")
    assert (result.n_checked, result.n_failed) == (59, 10)
    assert result.sample_values == ("perhaps",)


def test_feature_missing_from_the_test_table_is_an_error(tables):
    result = only(validated(replaced(tables, test=tables.test.drop(columns="age"))))
    assert (result.part, result.column, result.rule) == ("test", "age", "feature_columns")
    assert (result.severity, result.n_checked, result.n_failed) == ("error", 4, 1)
    assert "t.csv: missing feature column(s) 'age' of l.csv" in result.message


def test_columns_in_one_table_only_are_a_warning(tables):
    unlabeled = tables.unlabeled.drop(columns="city").assign(zip=1)
    result = only(validated(replaced(tables, unlabeled=unlabeled)))
    assert (result.part, result.rule, result.severity) == ("unlabeled", "same_columns", "warning")
    assert result.sample_values == ("city", "zip")
    assert "lacks 'city' of l.csv and has 'zip'" in result.message


def test_labels_in_the_unlabeled_table_are_a_warning(tables):
    labels = pd.Series(["a", None, "b"] * 100)
    result = only(validated(replaced(tables, unlabeled_labels=labels)))
    assert (result.part, result.column, result.rule) == ("unlabeled", "label", "no_labels")
    assert (result.severity, result.n_failed) == ("warning", 200)
    empty = pd.Series([None] * 300, dtype=object)
    assert not validated(replaced(tables, unlabeled_labels=empty)).warnings


@pytest.mark.parametrize("part", ["labeled", "test"])
def test_missing_labels(tables, part: str):
    frame = edited(getattr(tables, part), "label", {2: None, 5: None})
    result = only(validated(replaced(tables, **{part: frame})))
    assert (result.part, result.rule, result.severity) == (part, "label_present", "error")
    assert (result.n_failed, result.sample_values) == (2, (3, 6))
    assert f"2 of {len(frame)} rows have no label (row 3, 6)" in result.message


def test_class_in_the_test_table_only_is_an_error(tables):
    result = only(validated(replaced(tables, test=edited(tables.test, "label", {0: "z", 1: "z"}))))
    assert (result.rule, result.severity, result.n_failed) == ("known_label", "error", 2)
    assert result.sample_values == ("z",)


def test_one_class_is_an_error(tables):
    one = replaced(
        tables, labeled=tables.labeled.assign(label="a"), test=tables.test.assign(label="a")
    )
    result = only(validated(one))
    assert (result.rule, result.severity, result.sample_values) == ("two_classes", "error", ("a",))
    assert "holds only class 'a'" in result.message


def test_rare_classes_are_listed_with_their_counts(tables):
    labeled = edited(tables.labeled, "label", {0: "rare", 1: "scarce", 2: "scarce"})
    result = only(validated(replaced(tables, labeled=labeled)))
    assert (result.rule, result.sample_values, result.n_failed) == ("rows_per_class", ("rare",), 1)
    stricter = only(validated(replaced(tables, labeled=labeled), min_rows_per_class=3))
    assert (stricter.sample_values, stricter.n_failed) == (("rare", "scarce"), 3)
    assert "'rare' has 1, 'scarce' has 2" in stricter.message


@pytest.mark.parametrize(
    ("n_missing", "share", "is_warned"),
    [
        (30, 0.1, False),
        (30, 0.09, True),
        (30, 0.0, True),
        (210, 0.7, False),  # 1 - 0.7 is above 90 / 300 in floating point
        (211, 0.7, True),
    ],
)
def test_missing_share_up_to_the_limit_is_tolerated(
    tables, n_missing: int, share: float, is_warned: bool
):
    unlabeled = edited(tables.unlabeled, "income", dict.fromkeys(range(n_missing)))
    report = validated(replaced(tables, unlabeled=unlabeled), max_missing_share=share)
    assert ([r.rule for r in report.warnings] == ["missing_share"]) is is_warned
    (result,) = (r for r in report.results if r.rule == "missing_share")
    assert (result.part, result.column) == ("unlabeled", "income")
    assert (result.n_checked, result.n_failed) == (300, n_missing)


def test_values_and_categories_not_in_the_unlabeled_rows_are_a_warning(tables):
    is_shifted = np.arange(60) < 12
    age = tables.test["age"].where(~is_shifted, tables.test["age"] + 100)
    test = tables.test.assign(age=age, city=tables.test["city"].where(~is_shifted, "Oslo"))
    found = violations(validated(replaced(tables, test=test)))
    age = found["test", "within_unlabeled", "age"]
    assert (age.severity, age.n_checked, age.n_failed) == ("warning", 60, 12)
    assert age.sample_values == tuple(test["age"].unique()[:5])
    assert "domain shift" in age.message
    city = found["test", "within_unlabeled", "city"]
    assert (city.n_failed, city.sample_values) == (12, ("Oslo",))
    assert len(found) == 2


def test_tolerated_domain_shift_is_no_warning(tables):
    test = tables.test.assign(city=["Oslo"] * 12 + ["Bonn"] * 48)
    assert validated(replaced(tables, test=test), max_out_of_range_share=0.1).warnings
    assert not validated(replaced(tables, test=test), max_out_of_range_share=0.2).warnings


def test_rows_in_two_tables_are_counted_and_numbered(tables):
    labeled = pd.concat([tables.labeled, tables.test[4:6]], ignore_index=True)
    unlabeled = pd.concat([tables.unlabeled, tables.test.drop(columns="label")[10:13]])
    leaky = replaced(tables, labeled=labeled, unlabeled=unlabeled.reset_index(drop=True))
    found = violations(validated(leaky))
    in_labeled = found["test", "not_in_labeled", None]
    assert (in_labeled.n_checked, in_labeled.n_failed) == (60, 2)
    assert in_labeled.sample_values == (5, 6)
    in_unlabeled = found["test", "not_in_unlabeled", None]
    assert (in_unlabeled.n_failed, in_unlabeled.sample_values) == (3, (11, 12, 13))
    assert len(found) == 2


def test_equal_rows_are_found_in_any_column_type_and_order(tables):
    copy = tables.test[:1].astype({"age": float, "income": str})[
        ["city", "age", "member", "income"]
    ]
    unlabeled = pd.concat([tables.unlabeled.astype({"income": object}), copy], ignore_index=True)
    assert only(validated(replaced(tables, unlabeled=unlabeled))).rule == "not_in_unlabeled"


def test_equal_rows_by_chance_are_no_warning():
    def coarse(n_rows: int, seed: int) -> pd.DataFrame:
        frame = pd.DataFrame(np.random.default_rng(seed).integers(0, 3, (n_rows, 4)))
        return frame.rename(columns=str).assign(label=frame.sum(axis=1) > 4)

    tables = Tables(coarse(50, 0), coarse(500, 1).drop(columns="label"), coarse(100, 2), FILES)
    report = validated(tables)
    assert not report.warnings
    (result,) = (r for r in report.results if (r.part, r.rule) == ("test", "not_in_unlabeled"))
    features = ["0", "1", "2", "3"]
    known = set(map(tuple, tables.unlabeled[features].to_numpy()))
    assert result.n_failed == sum(tuple(row) in known for row in tables.test[features].to_numpy())
    assert "tolerated" in result.message


def test_contradictory_labels_are_a_warning(tables):
    equal_rows = tables.labeled[:2].assign(label=["a", "a"])  # row 1 was b, row 2 was a
    labeled = pd.concat([tables.labeled, equal_rows], ignore_index=True)
    result = only(validated(replaced(tables, labeled=labeled)))
    assert (result.part, result.rule, result.severity) == (
        "labeled",
        "consistent_labels",
        "warning",
    )
    assert (result.n_failed, result.sample_values) == (2, (1, 41))


def test_split_off_test_rows_are_numbered_as_in_their_file(tables):
    files = {**FILES, "test": "l.csv"}
    labeled = pd.concat([tables.labeled, tables.test[4:6]], ignore_index=True)
    numbers = {"labeled": np.arange(43, 85), "test": np.arange(1, 61) * 2}
    result = only(validated(replaced(tables, labeled=labeled, files=files, row_numbers=numbers)))
    assert result.sample_values == (10, 12)
    assert result.message.startswith(
        "l.csv (test rows): 2 of 60 rows are also in l.csv (row 10, 12), which"
    )


def test_ignored_columns_are_reported_with_the_reason(tables):
    constant = {name: getattr(tables, name).assign(unit="kg") for name in FILES}
    report = validated(replaced(tables, **constant))
    assert not report.errors + report.warnings
    assert report.ignored_columns == (("unit", "always kg"),)


def test_test_rows_do_not_affect_the_schema(tables):
    schema = TableSchema.infer(tables.labeled, tables.unlabeled, "label")
    wild = tables.test.assign(age=1e9, city="Oslo", member="perhaps", label="z", more=1)
    assert TableSchema.infer(tables.labeled, tables.unlabeled, "label") == schema
    report = validate_tables(replaced(tables, test=wild), schema, ValidateParams())
    assert {r.part for r in report.errors + report.warnings} == {"test"}


def test_expectations_have_the_severity_of_their_rules(tables):
    schema = TableSchema.infer(tables.labeled, tables.unlabeled, "label")
    parts = view_parts(tables, schema)
    for name, part in parts.items():
        suite = build_suite(part, list(part_checks(name, parts, schema, ValidateParams())))
        severities = {e.meta["rule"]: e.severity for e in suite.expectations}
        assert severities["feature_columns"] == "critical"
        for rule, severity in severities.items():
            assert severity == {"error": "critical", "warning": "warning"}[RULES[rule].severity]


def test_report_is_reproducible_and_has_the_documented_keys(tables):
    test = edited(tables.test, "age", {3: "inf"})
    first, again = (validated(replaced(tables, test=test)) for _ in range(2))
    assert first == again
    content = json.loads(json.dumps(first.to_json_dict(), allow_nan=False))
    assert list(content) == ["success", "n_rows", "files", "ignored_columns", "results"]
    assert content["success"] is False
    for result in content["results"]:
        assert list(result) == [
            *("part", "column", "rule", "severity", "success"),
            *("n_checked", "n_failed", "sample_values", "message"),
        ]
        assert result["severity"] == RULES[result["rule"]].severity
        assert len(result["sample_values"]) <= 5
    markdown = validation_markdown(first)
    assert markdown == validation_markdown(again)
    assert "The tables are not valid: 1 error, 0 warnings." in markdown
    assert f"- {first.errors[0].message}" in markdown


def test_stored_report_counts_cells_and_shows_none(tables):
    test = edited(tables.test, "age", {3: "secret", 5: 1e6, 6: -1e6, 7: 2e6, 8: 3e6})
    test = edited(test, "city", dict.fromkeys(range(20), "Hamlet"))
    report = validated(replaced(tables, test=edited(test, "label", {0: "unheard"})))
    shown = json.dumps(report.to_json_dict(sample_values=True), ensure_ascii=False)
    stored = json.dumps(report.to_json_dict(), ensure_ascii=False)
    stored += validation_markdown(report.without_cells())
    for value in ("secret", "Hamlet", "unheard"):
        assert value in shown and value not in stored
    assert "column 'age': 1 of 60 cells (2%) are not numbers" in stored
    assert "⟦" not in shown + stored


def test_stored_report_shows_no_range(tables):
    test = edited(tables.test, "income", dict.fromkeys(range(30), 1e6))
    report = validated(replaced(tables, test=test))
    (warning,) = [r for r in report.warnings if r.column == "income"]
    assert f"{tables.unlabeled['income'].max():g}" in warning.message
    assert "outside the range of the unlabeled rows……; the" in warning.without_cells().message


def test_markdown_escapes_the_column_separator():
    report = ValidationReport(dict.fromkeys(FILES, 1), FILES, (("a|b", "always 0"),), ())
    assert "| a\\|b | always 0 |" in validation_markdown(report)


def test_unreadable_tables_have_a_report():
    report = ValidationReport.unreadable("u.csv: the file is empty", FILES)
    assert not report.success
    assert report.errors[0].part == "unlabeled"
    assert report.to_json_dict()["n_rows"] == dict.fromkeys(FILES)
    assert "| unlabeled | u.csv | not read | 1 | 0 |" in validation_markdown(report)


def test_number_outside_the_range_is_beta_binomial():
    """One new value lies outside the range of n with probability 2 / (n + 1)."""
    assert stats.betabinom.mean(1, 2, 99 - 1) == pytest.approx(2 / 100)
    rng, n_reference, n_new = np.random.default_rng(0), 40, 30
    allowed = allowed_outside_range(n_new, n_reference, n_columns=1)
    reference = rng.random((100_000, n_reference))
    new = rng.random((100_000, n_new))
    low, high = reference.min(axis=1)[:, None], reference.max(axis=1)[:, None]
    n_outside = ((new < low) | (new > high)).sum(axis=1)
    share = (n_outside > allowed).mean()
    # The tolerance is the smallest with a probability of at most 0.001; standard error 0.0001.
    assert share <= 0.001 + 4e-4
    assert (n_outside > allowed - 1).mean() > 0.001


def test_tolerance_for_unseen_categories_grows_with_rare_ones():
    assert allowed_unseen(100, 1000, 0, 1) < allowed_unseen(100, 1000, 100, 1) < 100
