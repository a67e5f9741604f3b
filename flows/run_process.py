"""The processes of flow runs that were started by hand.

A worker gives a flow run's process the run's id in its environment. A process that creates the run
itself is recorded in a file instead, so that the watchdog can tell whether it is alive.
"""

from __future__ import annotations

import atexit
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from prefect.settings import PREFECT_API_URL

from flows.login import SERVICE_FOLDER
from semigen.artifacts import make_private_folder, read_json, write_json
from semigen.errors import UserError
from tasks.process_lifetime import find_process, is_alive

RUN_ID = "PREFECT__FLOW_RUN_ID"
"""Environment variable of a worker's flow runs: the id of the run."""


def record_process(flow: Any, flow_run: Any, state: Any) -> None:  # noqa: ARG001 - a hook of Prefect
    """Record that this process executes a flow run, until the process exits."""
    if RUN_ID in os.environ or not PREFECT_API_URL.value():
        return
    path = _folder(Path.cwd()) / f"{flow_run.id}.json"
    make_private_folder(path.parent)
    started = psutil.Process().create_time()
    write_json(path, {"host": socket.gethostname(), "pid": os.getpid(), "started": started})
    atexit.register(path.unlink, missing_ok=True)


def recorded_processes(root: Path) -> dict[str, bool]:
    """Return for each flow run that was started by hand on this host whether its process lives."""
    return dict(_read(root))


def forget_process(root: Path, run: str) -> None:
    """Remove the record of a flow run, if there is one."""
    (_folder(root) / f"{run}.json").unlink(missing_ok=True)


def _read(root: Path) -> Iterator[tuple[str, bool]]:
    for path in _folder(root).glob("*.json"):
        try:
            found = read_json(path)
        except UserError:  # the process has exited and removed the file
            continue
        if found["host"] == socket.gethostname():
            process = find_process(found["pid"], found["started"])
            yield path.stem, process is not None and is_alive(process)


def _folder(root: Path) -> Path:
    return root / SERVICE_FOLDER / "runs"
