"""The entry point of the ``semigen`` command."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence

from semigen.cli.commands import COMMANDS, Command, build_parser, find_command
from semigen.errors import UserError, describe_system_error

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: Arguments of the command line; None takes those of this process.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Processes that a shell started in the background would otherwise ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    command, parsed = _parse(arguments)
    try:
        return run(command, parsed, arguments[1:])
    except Exception as error:
        text = str(error) if isinstance(error, UserError) else describe_system_error(error)
        if text is None:
            raise
        if getattr(parsed, "debug", False) or os.environ.get("SEMIGEN_DEBUG"):
            traceback.print_exc()
        print(f"error: {text}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def run(command: Command, parsed: argparse.Namespace, arguments: list[str]) -> int:
    """Run a parsed command: in the project that it needs, or in this process."""
    if command.project_module is not None:
        from semigen.cli.project import run_in_project

        return run_in_project(command, arguments)
    assert command.handler is not None
    module, _, function = command.handler.partition(":")
    return getattr(importlib.import_module(module), function)(parsed) or 0


def _parse(arguments: list[str]) -> tuple[Command, argparse.Namespace]:
    """Return the command and its arguments; those of ``repro`` and ``prefect`` are not read."""
    passing = {command.name for command in COMMANDS if command.passes_arguments}
    if arguments and arguments[0] in passing and arguments[1:2] != ["--help"]:
        return find_command(arguments[0]), argparse.Namespace()
    parsed = build_parser().parse_args(arguments)
    return find_command(parsed.command), parsed
