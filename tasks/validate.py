"""Stage ``validate``: infer the schema, and stop the run if the tables break it."""

from __future__ import annotations

from semigen.artifacts import Layout, remove, write_json, write_text
from semigen.errors import UserError
from semigen.params.config import DataParams, Params
from semigen.tables.schema import TableSchema
from semigen.tables.splits import Tables, read_tables
from semigen.validation.report import ValidationReport, count

MAX_WARNINGS_SHOWN = 5
MAX_COLUMNS_SHOWN = 3


def run(params: Params, layout: Layout) -> None:
    """Write the report always, and the schema only if no error was found.

    Raises:
        UserError: If a table cannot be read, or breaks a rule that is an error.
    """
    # Whatever happens, later stages must not find what an earlier validation said.
    for path in (layout.schema, layout.validation_json, layout.validation_markdown):
        remove(path)
    try:
        tables = read_tables(params.data, layout)
        schema = infer_schema(tables, params.data)
    except UserError as error:
        write_report(ValidationReport.unreadable(str(error), _files(params.data)), layout)
        raise
    # Great Expectations takes seconds to import; a table that cannot be read is refused before.
    from semigen.validation.expectations import validate_tables

    report = validate_tables(tables, schema, params.validate_)
    write_report(report, layout)
    print_summary(report, layout)
    if not report.success:
        raise UserError(first_error(report, layout))
    schema.save(layout.schema)


def infer_schema(tables: Tables, data: DataParams) -> TableSchema:
    """Infer the schema from all rows but the test rows.

    Raises:
        UserError: If no feature is usable, or ``data.kinds`` does not fit.
    """
    try:
        return TableSchema.infer(tables.labeled, tables.unlabeled, data.target, data.kinds)
    except UserError as error:
        raise UserError(f"{data.labeled}, {data.unlabeled}: {error}") from error


def write_report(report: ValidationReport, layout: Layout) -> None:
    """Write the report as JSON and as Markdown."""
    write_json(layout.validation_json, report.to_json_dict())
    write_text(layout.validation_markdown, report.to_markdown())


def print_summary(report: ValidationReport, layout: Layout) -> None:
    """Print rows, errors and warnings of each part, and the first warnings."""
    header = ("part", "file", "rows", "errors", "warnings")
    lines = [header, *(tuple(map(str, row)) for row in report.summary_rows())]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    for line in lines:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )
    if report.ignored_columns:
        named = [f"{name} ({why})" for name, why in report.ignored_columns[:MAX_COLUMNS_SHOWN]]
        more = ", ..." if len(report.ignored_columns) > MAX_COLUMNS_SHOWN else ""
        print(f"{count(report.ignored_columns, 'column')} left out: {', '.join(named)}{more}")
    for result in report.warnings[:MAX_WARNINGS_SHOWN]:
        print(f"warning: {result.message}")
    n_more = len(report.warnings) - MAX_WARNINGS_SHOWN
    if n_more > 0:
        print(f"{n_more} more warnings in {_report_path(layout)}")


def first_error(report: ValidationReport, layout: Layout) -> str:
    """Return the first error's message, how many more there are, and where."""
    first, *others = report.errors
    more = f" ({count(tuple(others), 'more error')})" if others else ""
    return f"{first.message}{more}; report: {_report_path(layout)}"


def _report_path(layout: Layout) -> str:
    return layout.validation_markdown.relative_to(layout.root).as_posix()


def _files(data: DataParams) -> dict[str, str]:
    return {
        "labeled": data.labeled,
        "unlabeled": data.unlabeled,
        "test": data.test_table or data.labeled,
    }
