"""Label new rows with the champion, or another classifier, as a Prefect flow.

``python -m tasks predict`` does the same without Prefect.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import State, flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.states import Failed

from flows.command import add_debug, run_flow
from semigen.artifacts import Layout
from semigen.errors import UserError
from tasks.command_line import add_predict_arguments


@flow(name="predict")
def predict(
    input: str,  # noqa: A002 - the name of the command's option
    output: str,
    model: str | None = None,
    keep_columns: bool = False,
    impute_missing_columns: bool = False,
) -> list[dict[str, Any]] | State[Any]:
    """Label the rows of a table.

    Args:
        input: CSV or Parquet table of new rows.
        output: CSV or Parquet table to write.
        model: Folder of the classifier; None takes the champion or, before the first promotion,
            ``models/classifier``.
        keep_columns: Also write the input's own columns.
        impute_missing_columns: Treat feature columns that the input lacks as missing values.

    Returns:
        One row a predicted class: how many rows got it and how novel these are on average.
    """
    from semigen.tables.sources import read_table
    from tasks.predict import predict_table, resolve_model

    try:
        labeler = resolve_model(model, Layout())
        predict_table(
            Path(input),
            Path(output),
            labeler.folder,
            keep_columns=keep_columns,
            impute_missing_columns=impute_missing_columns,
        )
    except UserError as error:
        return Failed(message=str(error))
    summary = summarize(read_table(output))
    get_run_logger().info("%s labeled by %s", input, labeler.name)
    create_table_artifact(
        summary, key="predictions", description=f"{input} labeled in {output} by {labeler.name}"
    )
    return summary


def summarize(predictions: Any) -> list[dict[str, Any]]:
    """Count rows and average ``novelty`` by ``prediction``, the most frequent class first."""
    by_class = predictions.groupby("prediction", sort=True)["novelty"].agg(["size", "mean"])
    return [
        {"prediction": label, "rows": int(n), "mean_novelty": round(float(novelty), 4)}
        for label, n, novelty in by_class.sort_values(
            "size", ascending=False, kind="stable"
        ).itertuples()
    ]


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m flows.predict", description=__doc__)
    add_predict_arguments(parser)
    add_debug(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    from tasks.predict import resolve_model

    arguments = vars(build_parser().parse_args(argv))
    debug, labeled_by = arguments.pop("debug"), ""

    def check() -> None:
        nonlocal labeled_by
        model = resolve_model(arguments["model"], Layout())
        labeled_by, arguments["model"] = model.name, str(model.folder)
        for name in ("input", "model"):
            if not Path(arguments[name]).exists():
                raise UserError(f"{arguments[name]}: no such file; check --{name}")

    def report(summary: list[dict[str, Any]]) -> None:
        n_rows = sum(row["rows"] for row in summary)
        print(f"{arguments['output']}: {n_rows} rows labeled by {labeled_by}")
        for row in summary:
            print(f"  {row['prediction']}: {row['rows']} (mean novelty {row['mean_novelty']:.2f})")

    return run_flow(
        lambda: predict(**arguments, return_state=True), check=check, then=report, debug=debug
    )


if __name__ == "__main__":
    sys.exit(main())
