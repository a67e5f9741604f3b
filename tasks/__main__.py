"""Run one stage, label new rows, or draw rows: ``python -m tasks STAGE | predict | synthesize``.

``--debug``, or ``SEMIGEN_DEBUG=1`` in the environment, shows tracebacks of mistakes.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, get_args

from semigen.artifacts import Layout, read_json, write_json
from semigen.config import Params
from semigen.errors import UserError
from semigen.generator_params import Family
from tasks import STAGES


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tasks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for stage in STAGES:
        command = commands.add_parser(stage, help=f"run the {stage} stage")
        command.add_argument("--params", default="params.yaml", help="parameter file")
        command.add_argument("--debug", action="store_true", help="show tracebacks")
    predict = commands.add_parser("predict", help="label new rows with the trained classifier")
    add_predict_arguments(predict)
    synthesize = commands.add_parser("synthesize", help="draw new rows like those of a table")
    add_synthesize_arguments(synthesize)
    for command in (predict, synthesize):
        command.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def add_predict_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``tasks.predict.predict_table``, which the flow takes too."""
    parser.add_argument("--input", required=True, help="CSV or Parquet table of new rows")
    parser.add_argument("--output", required=True, help="CSV or Parquet table to write")
    parser.add_argument("--model", default="models/classifier", help="folder of the classifier")
    parser.add_argument(
        "--keep-columns", action="store_true", help="also write the input's own columns"
    )
    parser.add_argument(
        "--impute-missing-columns",
        action="store_true",
        help="treat feature columns that the input lacks as missing values",
    )


def add_synthesize_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--input", required=True, help="CSV or Parquet table of real rows")
    parser.add_argument("--target", required=True, help="its label column; empty where unlabeled")
    parser.add_argument("--output", required=True, help="CSV or Parquet table to write")
    parser.add_argument("--rows", type=int, help="how many to draw; as many as real ones if absent")
    parser.add_argument(
        "--generator",
        choices=get_args(Family),
        default="autoregressive",
        help="model family (default: autoregressive)",
    )
    parser.add_argument("--model", help="folder in which to keep the trained model")
    parser.add_argument("--seed", type=int, default=0, help="of training and draws (default: 0)")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    try:
        if arguments.command == "predict":
            run_predict(arguments)
        elif arguments.command == "synthesize":
            run_synthesize(arguments)
        else:
            run_stage(arguments.command, Params.load(arguments.params), Layout())
    except UserError as error:
        if arguments.debug or os.environ.get("SEMIGEN_DEBUG"):
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def run_stage(stage: str, params: Params, layout: Layout) -> None:
    """Run a stage's function and note how long it took."""
    started = time.perf_counter()
    importlib.import_module(f"tasks.{stage}").run(params, layout)
    if os.environ.get("RANK", "0") != "0":
        return  # one of several processes of a stage; the first one keeps the books
    seconds = time.perf_counter() - started
    timings = read_json(layout.timings) if layout.timings.exists() else {}
    write_json(layout.timings, {**timings, stage: round(seconds, 2)})


def run_predict(arguments: argparse.Namespace) -> None:
    from tasks.predict import predict_table

    n_rows = predict_table(
        Path(arguments.input),
        Path(arguments.output),
        Path(arguments.model),
        keep_columns=arguments.keep_columns,
        impute_missing_columns=arguments.impute_missing_columns,
    )
    print(f"{arguments.output}: {n_rows} rows labeled")


def run_synthesize(arguments: argparse.Namespace) -> None:
    from tasks.synthesize import synthesize_table

    synthesize_table(
        Path(arguments.input),
        Path(arguments.output),
        arguments.target,
        generator=arguments.generator,
        n_rows=arguments.rows,
        model=Path(arguments.model) if arguments.model else None,
        seed=arguments.seed,
    )


def leave(status: int) -> NoReturn:
    """End the process without tearing down torch's modules, which takes a second a stage."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    leave(main())
