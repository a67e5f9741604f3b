"""Label new rows with the champion, or another classifier, as a Prefect flow.

``semigen predict`` does the same without Prefect.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import State, flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.states import Failed

from semigen.artifacts import Layout
from semigen.errors import UserError


@flow(name="predict")
def predict(
    input: str,  # noqa: A002 - the name of the command's option
    output: str,
    model: str | None = None,
    keep_columns: bool = False,
    impute_missing_columns: bool = False,
    overwrite: bool = False,
) -> list[dict[str, Any]] | State[Any]:
    """Label the rows of a table.

    Args:
        input: CSV or Parquet table of new rows.
        output: CSV or Parquet table to write, inside the project: whoever may start a run in the
            UI may not write elsewhere.
        model: Folder of the classifier; None takes the champion or, before the first promotion,
            ``models/classifier``.
        keep_columns: Also write the input's own columns.
        impute_missing_columns: Treat feature columns that the input lacks as missing values.
        overwrite: Replace an existing output file.

    Returns:
        One row a predicted class: how many rows got it and how novel these are on average.
    """
    from semigen.prediction import count_predictions, predict_table, resolve_model

    layout = Layout()
    try:
        if not Path(output).resolve().is_relative_to(layout.root):
            raise UserError(f"{output}: outside the project {layout.root}; name a path inside it")
        labeler = resolve_model(model, layout)
        predictions = predict_table(
            Path(input),
            Path(output),
            labeler.folder,
            keep_columns=keep_columns,
            impute_missing_columns=impute_missing_columns,
            overwrite=overwrite,
        )
    except UserError as error:
        return Failed(message=str(error))
    summary = count_predictions(predictions)
    get_run_logger().info("%s labeled by %s", input, labeler.name)
    create_table_artifact(
        summary, key="predictions", description=f"{input} labeled in {output} by {labeler.name}"
    )
    return summary
