"""Validation of tables with Great Expectations, one suite for each table."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pandas as pd

from semigen.params.config import ValidateParams
from semigen.tables.schema import TableSchema
from semigen.tables.splits import Tables
from semigen.validation.check import Check, Finding
from semigen.validation.checks import part_checks
from semigen.validation.facts import Part, view_parts
from semigen.validation.label_checks import check_unlabeled_rows
from semigen.validation.meaning_checks import meaning_results
from semigen.validation.report import (
    CELL_RULES,
    MAX_SAMPLE_VALUES,
    PARTS,
    RULES,
    ValidationReport,
    ValidationResult,
)

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # versions before 1.20 read it at import

import great_expectations as gx
import great_expectations.expectations as gxe

GX_SEVERITY = {"error": "critical", "warning": "warning"}
N_UNEXPECTED = 1000
"""Number of unexpected values returned; the samples are the first distinct ones among them."""


def validate_tables(
    tables: Tables, schema: TableSchema, params: ValidateParams
) -> ValidationReport:
    """Run the checks of each table.

    Args:
        tables: The three tables of a run.
        schema: Schema of the labeled and unlabeled rows.
        params: Tolerances.
    """
    parts = view_parts(tables, schema)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    results = [check_unlabeled_rows(tables)]
    for name in PARTS:
        if len(parts[name].frame):  # there may be no unlabeled row
            checks = list(part_checks(name, parts, schema, params))
            results += run_checks(context, parts[name], checks)
        results += meaning_results(name, parts, schema)
    order = list(RULES)
    return ValidationReport(
        n_rows={name: len(parts[name].frame) for name in PARTS},
        files=tables.files,
        ignored_columns=tuple((c.name, str(c.reason)) for c in schema.of_kind("ignore")),
        results=tuple(sorted(results, key=lambda r: (PARTS.index(r.part), order.index(r.rule)))),
    )


def run_checks(context: Any, part: Part, checks: list[Check]) -> list[ValidationResult]:
    """Run the checks of a table as one suite."""
    source = context.data_sources.add_pandas(part.name)
    batch = source.add_dataframe_asset(part.name).add_batch_definition_whole_dataframe(part.name)
    suite = build_suite(part, checks)
    definition = gx.ValidationDefinition(
        name=part.name, data=batch, suite=context.suites.add(suite)
    )
    answers = context.validation_definitions.add(definition).run(
        batch_parameters={"dataframe": part.frame},
        result_format={"result_format": "BASIC", "partial_unexpected_count": N_UNEXPECTED},
    )
    by_key = {
        (config.meta["rule"], config.kwargs.get("column")): answer
        for answer in answers.results
        if (config := answer.expectation_config)
    }
    return [
        _result(part, check, by_key[check.rule, check.arguments.get("column")]) for check in checks
    ]


def build_suite(part: Part, checks: list[Check]) -> gx.ExpectationSuite:
    """Return the checks of a table as a suite; errors have severity ``critical``."""
    expectations = [
        getattr(gxe, check.expectation)(
            **check.arguments,
            severity=GX_SEVERITY[RULES[check.rule].severity],
            meta={"rule": check.rule},
        )
        for check in checks
    ]
    return gx.ExpectationSuite(part.name, expectations=expectations)


def _result(part: Part, check: Check, answer: Any) -> ValidationResult:
    if not answer.result:
        raise RuntimeError(f"{part.file}: rule {check.rule!r} did not run: {answer.exception_info}")
    finding = _finding(part, check, answer)
    tolerated = f" (violations: {finding}, tolerated)" if finding.n_failed else ""
    return ValidationResult(
        part=part.name,
        column=check.column,
        rule=check.rule,
        success=bool(answer.success),
        n_checked=finding.n_checked,
        n_failed=finding.n_failed,
        sample_values=finding.samples,
        shows_cells=check.samples is None and check.rule in CELL_RULES,
        text=(
            RULES[check.rule].description + tolerated if answer.success else check.explain(finding)
        ),
    )


def _finding(part: Part, check: Check, answer: Any) -> Finding:
    """Return the counts; the keys differ between kinds of expectations."""
    details = answer.result
    if "element_count" in details:
        n_checked = details["element_count"] - details.get("missing_count", 0)
        n_failed = details["unexpected_count"]
        samples = _samples(details.get("partial_unexpected_list", []))
    elif isinstance(details["observed_value"], list):
        mismatched = details["details"]["mismatched"] if not answer.success else {}
        counted = ("missing", "unexpected") if check.arguments["exact_match"] else ("missing",)
        names = [name for fault in counted for name in mismatched.get(fault, [])]
        n_checked = len(check.arguments["column_set"])
        n_failed, samples = len(names), _samples(names)
    else:
        n_checked = int(part.frame[check.arguments["column"]].count())
        n_failed, samples = 0 if answer.success else n_checked, ()
    return Finding(n_checked, n_failed, samples if check.samples is None else check.samples)


def _samples(values: list[Any]) -> tuple[Any, ...]:
    """Return the first distinct values as plain types, whole floats as integers."""
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    whole = [int(v) if isinstance(v, float) and v.is_integer() else v for v in plain]
    return tuple(list(dict.fromkeys(v for v in whole if not pd.isna(v)))[:MAX_SAMPLE_VALUES])
