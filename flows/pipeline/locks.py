"""Processes of DVC that keep another DVC from their files, and waiting for these to end.

``--wait-for-lock`` is about DVC's lock on the project, which it gives up while a stage runs; on the
files of that stage it then refuses to wait.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence

import psutil

from flows.pipeline.retry import Log

BLOCKED_BY = re.compile(r"^  \(PID (\d+)\): ")


def holders(lines: Sequence[str]) -> list[psutil.Process]:
    """Return the live processes that DVC names as those who use its files."""
    numbers = {int(match[1]) for match in map(BLOCKED_BY.match, lines) if match}
    found = []
    for number in sorted(numbers):
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(number))
    return found


def wait_for(others: list[psutil.Process], what: str, log: Log) -> None:
    """Wait for processes to end, and say so."""
    pids = ", ".join(str(other.pid) for other in others)
    log(f"{what}: waiting for another DVC that uses its files (process {pids})")
    psutil.wait_procs(others)
