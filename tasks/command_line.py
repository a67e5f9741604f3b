"""The command line of the stages: ``python -m tasks STAGE``, which DVC runs.

``--debug``, or ``SEMIGEN_DEBUG=1`` in the environment, shows tracebacks of errors. The command for
users is ``semigen``.
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

from semigen.artifacts import Layout, make_private_folder, read_json, write_json
from semigen.cli.arguments import add_promote
from semigen.errors import UserError, describe_system_error
from semigen.params.config import Params
from tasks import STAGES
from tasks.costs import announce
from tasks.inputs import check_inputs
from tasks.process_lifetime import exit_with_owner
from tasks.stage_lock import only_one
from tasks.unaccepted import reject_unaccepted

DVC_STAGE = "DVC_STAGE"
"""Environment variable that DVC sets for the commands of its stages."""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tasks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for stage in STAGES:
        command = commands.add_parser(stage, help=f"run the {stage} stage")
        command.add_argument("--params", default="params.yaml", help="parameter file")
        command.add_argument("--debug", action="store_true", help="show tracebacks")
    add_promote(commands.add_parser("promote", help="compare the classifier with the champion"))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    try:
        if arguments.command == "promote":
            run_promote(arguments)
        else:
            exit_with_owner()
            run_stage(arguments.command, Params.load(arguments.params), Layout())
    except Exception as error:
        text = str(error) if isinstance(error, UserError) else describe_system_error(error)
        if text is None:
            raise
        if arguments.debug or os.environ.get("SEMIGEN_DEBUG"):
            traceback.print_exc()
        print(f"error: {text}", file=sys.stderr)
        return 1
    return 0


def run_stage(stage: str, params: Params, layout: Layout) -> None:
    """Run the function of a stage and record its duration."""
    make_private_folder(layout.state)
    thresholds = gc.get_threshold()
    gc.set_threshold(100_000, 50, 100)  # garbage collection takes a tenth of the time of imports
    module = importlib.import_module(f"tasks.{stage}")
    gc.set_threshold(*thresholds)
    # Where several processes run one stage, their parent process holds the lock.
    alone = (
        contextlib.nullcontext() if "RANK" in os.environ else only_one(stage, layout.lock(stage))
    )
    with alone:
        if DVC_STAGE in os.environ and "RANK" not in os.environ:
            reject_unaccepted(layout)
            check_inputs(stage, layout)
        if os.environ.get("RANK", "0") == "0":
            announce(stage, params, layout)
        started = time.perf_counter()
        module.run(params, layout)
    if os.environ.get("RANK", "0") != "0":
        return  # only the first process records the duration
    seconds = time.perf_counter() - started
    timings = read_json(layout.timings) if layout.timings.exists() else {}
    write_json(layout.timings, {**timings, stage: round(seconds, 2)})


def run_promote(arguments: argparse.Namespace) -> None:
    from semigen.report.promotion import promotion_text
    from tasks.promote import promote

    params, layout = Params.load(arguments.params), Layout()
    check_inputs("evaluate", layout)  # the same test rows and classifier
    print(promotion_text(promote(params, layout, reason=arguments.reason, force=arguments.force)))
    print(layout.promotion_markdown.relative_to(layout.root))
