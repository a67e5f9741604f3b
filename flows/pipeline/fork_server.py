"""A process for the time of a flow that has imported what DVC and the stages need.

What ``tasks.forked`` is called for meanwhile, by the flow and by the stages' commands, runs in
forks of it. Each of them would spend seconds on the same imports otherwise.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence

from flows.pipeline.dvc_graph import Stage
from tasks.forked import ADDRESS

DVC = ("dvc.cli", "dvc.commands.repro", "dvc.repo.reproduce")


@contextlib.contextmanager
def fork_server(stages: Sequence[Stage]) -> Iterator[None]:
    """Let what is run by ``tasks.forked`` start at once, on Linux; elsewhere nothing is changed.

    Args:
        stages: Those that may run.
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
            process_group=0,  # deaf to the terminal, in the session of the flow
        )
    os.environ[ADDRESS] = address
    try:
        yield
    finally:
        del os.environ[ADDRESS]
        server.terminate()
        server.wait()


def needed(stages: Sequence[Stage]) -> list[str]:
    """Return the modules that are worth importing, in the order in which they will be used."""
    own = [stage for stage in stages if stage.command == f"python -m tasks {stage.name}"]
    tasks = [f"tasks.{stage.name}" for stage in own]
    return [*DVC, *tasks, "tasks.promote"] if tasks else list(DVC)
