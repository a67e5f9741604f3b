"""The flow ``predict``: predict the classes of new rows with the champion or another model.

``semigen predict`` does the same without Prefect.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import State, flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.runtime import flow_run
from prefect.states import Failed

from flows.run_name import project_subject, rename, shortened
from semigen.artifacts import Layout
from semigen.errors import UserError
from semigen.training.progress import SECONDS_BETWEEN_LINES
from semigen.wording import count, printable


def run_name() -> str:
    """Return the name of the flow run until its result is known."""
    return shortened(f"{project_subject()}, {Path(flow_run.parameters['input']).name}")


def _progress_logger(log: Callable[..., None]) -> Callable[[int, int], None]:
    """Return a function that logs the number of finished rows every few seconds."""
    logged_at = time.monotonic()

    def log_progress(n_done: int, n_rows: int) -> None:
        nonlocal logged_at
        if time.monotonic() - logged_at >= SECONDS_BETWEEN_LINES:
            log("%d of %d rows labeled", n_done, n_rows)
            logged_at = time.monotonic()

    return log_progress


@flow(name="predict", flow_run_name=run_name)
def predict(
    input: str,  # noqa: A002 - the name of the command's option
    output: str,
    model: str | None = None,
    keep_columns: bool = False,
    impute_missing_columns: bool = False,
    overwrite: bool = False,
    raw_text: bool = False,
) -> list[dict[str, Any]] | State[Any]:
    """Predict the classes of the rows of a table.

    Args:
        input: Table of new rows.
        output: CSV or Parquet table to write. It must be inside the project, so that users of the
            UI cannot write other files.
        model: Folder of the classifier, or name of a version. If None, the champion is used whose
            columns the input has or, before the first promotion, ``models/classifier``.
        keep_columns: Write the columns of the input too.
        impute_missing_columns: Treat feature columns that are absent from the input as missing.
        overwrite: Replace an existing output file.
        raw_text: Write text to CSV as it is, without an apostrophe before what a spreadsheet would
            run as a formula.

    Returns:
        For each predicted class its number of rows and their mean novelty.
    """
    from semigen.prediction import predict_table, read_params, resolve_model
    from semigen.report.markdown import escape

    layout, logger = Layout(), get_run_logger()
    try:
        if not Path(output).resolve().is_relative_to(layout.root):
            raise UserError(f"{output}: outside the project {layout.root}; name a path inside it")
        labeler = resolve_model(model, layout, Path(input))
        summary = predict_table(
            Path(input),
            Path(output),
            labeler.folder,
            keep_columns=keep_columns,
            impute_missing_columns=impute_missing_columns,
            overwrite=overwrite,
            guard=not raw_text,
            progress=_progress_logger(logger.info),
            read=read_params(layout),
        )
    except UserError as error:
        return Failed(message=error.stored)
    logger.info("%s labeled by %s", printable(input), labeler.name)
    for warning in (*summary.warnings, *([summary.failures] if summary.failures else [])):
        logger.warning(printable(warning))
    rows = count(summary.n_rows, "row")
    rename(f"{project_subject()}, {rows} of {Path(input).name} by {labeler.name}")
    create_table_artifact(
        summary.classes,
        key="predictions",
        description=escape(f"{input} labeled in {output} by {labeler.name}"),
    )
    return summary.classes
