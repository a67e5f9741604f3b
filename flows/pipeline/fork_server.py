"""Start a process that imports the modules of DVC and the stages once for a whole flow run.

Modules that the flow or a stage runs by ``tasks.forked`` then run in forks of that process. Each
would otherwise spend seconds on the same imports.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence

from flows.pipeline.dvc_graph import Stage
from tasks.forked import ADDRESS
from tasks.process_lifetime import terminate_group

DVC = ("dvc.cli", "dvc.commands.repro", "dvc.repo.reproduce")


@contextlib.contextmanager
def fork_server(stages: Sequence[Stage]) -> Iterator[None]:
    """Run a fork server while the block runs, on Linux; do nothing on other systems.

    Args:
        stages: Stages that may run.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    with socket.socket(socket.AF_UNIX) as listening:
        address = f"semigen-{secrets.token_hex(16)}"
        listening.bind("\0" + address)
        listening.listen()
        descriptor = listening.fileno()
        arguments = [str(descriptor), str(os.getpid()), *needed(stages)]
        command = [sys.executable, "-m", "tasks.fork_server", *arguments]
        server = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[descriptor],
            process_group=0,  # does not receive the terminal's Ctrl-C
        )
    os.environ[ADDRESS] = address
    try:
        yield
    finally:
        del os.environ[ADDRESS]
        terminate_group(server, (signal.SIGTERM, signal.SIGKILL))


def needed(stages: Sequence[Stage]) -> list[str]:
    """Return the modules to import, in the order in which they will be used."""
    own = [stage for stage in stages if stage.command == f"python -m tasks {stage.name}"]
    tasks = [f"tasks.{stage.name}" for stage in own]
    return [*DVC, *tasks, "tasks.promote"] if tasks else list(DVC)
