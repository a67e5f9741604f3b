"""Wait for other DVC processes that use the same files.

``--wait-for-lock`` applies to DVC's lock of the project, which DVC releases while a stage runs. For
the locks of that stage's files DVC fails instead of waiting.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence

import psutil

from flows.pipeline.retry import Log

BLOCKED_BY = re.compile(r"^  \(PID (\d+)\): ")


def holders(lines: Sequence[str]) -> list[psutil.Process]:
    """Return the running processes that DVC lists as users of its files."""
    numbers = {int(match[1]) for match in map(BLOCKED_BY.match, lines) if match}
    found = []
    for number in sorted(numbers):
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(number))
    return found


def wait_for(others: list[psutil.Process], what: str, log: Log) -> None:
    """Log that processes are waited for, and wait until they have exited."""
    pids = ", ".join(str(other.pid) for other in others)
    log(f"{what}: waiting for another DVC process that uses its files (process {pids})")
    psutil.wait_procs(others)
