"""Stage ``validate``: infer the schema, and stop the run if a table violates a rule."""

from __future__ import annotations

from semigen.artifacts import Layout, remove, write_json, write_text
from semigen.errors import UserError
from semigen.params.config import DataParams, Params
from semigen.report.validation import first_error, validation_markdown, validation_text
from semigen.tables.schema import TableSchema
from semigen.tables.splits import Tables, read_tables
from semigen.validation.report import ValidationReport


def run(params: Params, layout: Layout) -> None:
    """Write the validation report and, unless it has an error, the schema.

    Raises:
        UserError: If a table cannot be read, or violates a rule whose severity is ``error``.
    """
    # If this stage fails, later stages must not use the results of an earlier validation.
    for path in (layout.schema, layout.validation_json, layout.validation_markdown):
        remove(path)
    try:
        tables = read_tables(params.data, layout)
        schema = infer_schema(tables, params)
    except UserError as error:
        shown = str(error) if params.privacy.sample_values else error.stored
        write_report(ValidationReport.unreadable(shown, _files(params.data)), params, layout)
        raise
    # Importing Great Expectations takes seconds; unreadable tables are rejected before.
    from semigen.validation.expectations import validate_tables

    report = validate_tables(tables, schema, params.validate_)
    write_report(report, params, layout)
    page = layout.validation_markdown.relative_to(layout.root).as_posix()
    print(validation_text(report, page))
    if not report.success:
        raise UserError(first_error(report, page))
    schema.save(layout.schema)


def infer_schema(tables: Tables, params: Params) -> TableSchema:
    """Infer the schema from the labeled and unlabeled rows, never from test rows.

    Raises:
        UserError: If no feature is usable, or ``data.kinds`` does not fit the tables.
    """
    data = params.data
    try:
        schema = TableSchema.infer(
            tables.labeled,
            tables.unlabeled,
            data.target,
            data.kinds,
            params.privacy.min_rows,
            data.read,
        )
    except UserError as error:
        raise UserError(f"{data.labeled}, {data.unlabeled}: {error}") from error
    return schema.model_copy(update={"max_unknown_share": params.validate_.max_unknown_share})


def write_report(report: ValidationReport, params: Params, layout: Layout) -> None:
    """Write the report as JSON and as Markdown; without values of cells unless asked for."""
    shown = report if params.privacy.sample_values else report.without_cells()
    write_json(layout.validation_json, shown.to_json_dict(sample_values=True))
    write_text(layout.validation_markdown, validation_markdown(shown))


def _files(data: DataParams) -> dict[str, str]:
    return {
        "labeled": data.labeled,
        "unlabeled": data.unlabeled,
        "test": data.test_table or data.labeled,
    }
