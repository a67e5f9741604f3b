"""The command line: run one stage, or work with what the stages made.

``--debug``, or ``SEMIGEN_DEBUG=1`` in the environment, shows tracebacks of mistakes.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from semigen.artifacts import Layout, read_json, write_json
from semigen.errors import UserError
from semigen.params.config import Params
from semigen.params.generators import Family
from tasks import STAGES
from tasks.guard import end_with_parents, only_one


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tasks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for stage in STAGES:
        command = commands.add_parser(stage, help=f"run the {stage} stage")
        command.add_argument("--params", default="params.yaml", help="parameter file")
        command.add_argument("--debug", action="store_true", help="show tracebacks")
    predict = commands.add_parser("predict", help="label new rows with the champion")
    add_predict_arguments(predict)
    synthesize = commands.add_parser("synthesize", help="draw new rows like those of a table")
    add_synthesize_arguments(synthesize)
    registry = add_registry_commands(commands)
    monitor = commands.add_parser("monitor", help="look for drift in new rows")
    add_monitor_arguments(monitor)
    for command in (predict, synthesize, *registry, monitor):
        command.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def add_predict_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``tasks.predict.predict_table``, which the flow takes too."""
    parser.add_argument("--input", required=True, help="CSV or Parquet table of new rows")
    parser.add_argument("--output", required=True, help="CSV or Parquet table to write")
    parser.add_argument(
        "--model",
        help="folder of the classifier (default: the champion's or, before the first promotion, "
        "models/classifier)",
    )
    parser.add_argument(
        "--keep-columns", action="store_true", help="also write the input's own columns"
    )
    parser.add_argument(
        "--impute-missing-columns",
        action="store_true",
        help="treat feature columns that the input lacks as missing values",
    )


def add_monitor_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the argument of ``tasks.monitor.monitor``, which the flow takes too."""
    parser.add_argument(
        "--input", help="CSV or Parquet table of new rows (default: monitor.input of params.yaml)"
    )


def add_registry_commands(commands: Any) -> list[argparse.ArgumentParser]:
    """Add what makes champions, takes them back, and lists them."""
    promote = commands.add_parser("promote", help="make the trained classifier champion, if it may")
    promote.add_argument("--params", default="params.yaml", help="parameter file")
    promote.add_argument("--force", action="store_true", help="promote it whatever is found")
    rollback = commands.add_parser("rollback", help="make the champion before this one champion")
    rollback.add_argument("--to", metavar="VERSION", help="or this version, e.g. v0003")
    for command in (promote, rollback):
        command.add_argument("--reason", default="by hand", help="what the history says of it")
    return [
        promote,
        rollback,
        commands.add_parser("registry", help="list champion and challengers"),
    ]


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
        elif arguments.command == "promote":
            run_promote(arguments)
        elif arguments.command == "rollback":
            run_rollback(arguments)
        elif arguments.command == "registry":
            run_registry()
        elif arguments.command == "monitor":
            run_monitor(arguments)
        else:
            end_with_parents()
            run_stage(arguments.command, Params.load(arguments.params), Layout())
    except UserError as error:
        if arguments.debug or os.environ.get("SEMIGEN_DEBUG"):
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def run_stage(stage: str, params: Params, layout: Layout) -> None:
    """Run a stage's function and note how long it took."""
    thresholds = gc.get_threshold()
    gc.set_threshold(100_000, 50, 100)  # what imports make is no garbage; looking costs a tenth
    module = importlib.import_module(f"tasks.{stage}")
    gc.set_threshold(*thresholds)
    # One of several processes of a stage leaves the lock to the one that started them.
    alone = (
        contextlib.nullcontext() if "RANK" in os.environ else only_one(stage, layout.lock(stage))
    )
    with alone:
        started = time.perf_counter()
        module.run(params, layout)
    if os.environ.get("RANK", "0") != "0":
        return  # the first process keeps the books
    seconds = time.perf_counter() - started
    timings = read_json(layout.timings) if layout.timings.exists() else {}
    write_json(layout.timings, {**timings, stage: round(seconds, 2)})


def run_predict(arguments: argparse.Namespace) -> None:
    from tasks.predict import predict_table, resolve_model

    model = resolve_model(arguments.model, Layout())
    n_rows = predict_table(
        Path(arguments.input),
        Path(arguments.output),
        model.folder,
        keep_columns=arguments.keep_columns,
        impute_missing_columns=arguments.impute_missing_columns,
    )
    print(f"{arguments.output}: {n_rows} rows labeled by {model.name}")


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


def run_promote(arguments: argparse.Namespace) -> None:
    from semigen.report.promotion import promotion_text
    from tasks.promote import promote

    params, layout = Params.load(arguments.params), Layout()
    print(promotion_text(promote(params, layout, reason=arguments.reason, force=arguments.force)))
    print(layout.promotion_markdown.relative_to(layout.root))


def run_rollback(arguments: argparse.Namespace) -> None:
    from semigen.registry.registry import Registry

    event = Registry(Layout().registry).rollback(arguments.to, trigger=arguments.reason)
    print(f"{event.version} is the champion, in the place of {event.replaced or 'none'}")


def run_registry() -> None:
    from semigen.registry.registry import Registry
    from semigen.report.promotion import registry_text

    print(registry_text(Registry(Layout().registry)))


def run_monitor(arguments: argparse.Namespace) -> None:
    from tasks.monitor import monitor

    layout = Layout()
    found = monitor(Params.load(layout.params), layout, arguments.input)
    print(f"{found['input']}: {found['sentence']}")
    print(layout.drift_markdown.relative_to(layout.root))
