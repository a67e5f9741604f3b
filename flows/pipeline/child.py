"""Processes that a flow starts: deaf to the terminal's Ctrl-C, they end when it ends them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tasks.guard import GRACE_SECONDS, OWNER, owner_of_children


@contextlib.contextmanager
def child(
    module: str, argv: Sequence[str], root: Path, *, debug: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """Run ``module.main(argv)`` in a process group of its own, which ends when the block does.

    Args:
        module: Run in a fork of the flow's fork server if there is one.
        argv: Its arguments.
        root: The project's root.
        debug: Have stages show tracebacks of mistakes.
    """
    here = str(Path(sys.executable).parent)  # where the stages' `python` is
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([here, os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        OWNER: owner_of_children(),  # a killed flow cannot end its stage
    }
    if debug:
        environment["SEMIGEN_DEBUG"] = "1"
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # imports would stay slow for good
    process = subprocess.Popen(
        [sys.executable, "-m", "tasks.forked", module, *argv],
        cwd=root,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        process_group=0,
    )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """End a process and all that it started: ask first, so that temporary files are removed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
    if process.stdout is not None:
        process.stdout.close()
