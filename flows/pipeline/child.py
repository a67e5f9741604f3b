"""Processes that a flow starts for stages and commands, and terminates."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from semigen.wording import MARK_CELLS
from tasks.process_lifetime import owner_variable, terminate_group


@contextlib.contextmanager
def child(
    module: str, argv: Sequence[str], root: Path, *, debug: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """Run ``module.main(argv)`` in a process group of its own; terminate the group after the block.

    The process does not receive the terminal's Ctrl-C, and exits if the flow is killed.

    Args:
        module: Module with a function ``main``. It runs in a fork of the flow's fork server if
            there is one.
        argv: Arguments of ``main``.
        root: The project's folder.
        debug: Let stages print tracebacks.
    """
    bin_folder = str(Path(sys.executable).parent)  # DVC runs the `python` on the path
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([bin_folder, os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        MARK_CELLS: "1",
        **owner_variable(),
    }
    if debug:
        environment["SEMIGEN_DEBUG"] = "1"
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # it would slow down every import
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
        terminate_group(process)
        if process.stdout is not None:
            process.stdout.close()
