"""Run a module's ``main`` in a fork of the flow's fork server, or here if there is none.

Each stage would spend three seconds on the imports of torch and scikit-learn, and DVC a fifth of a
second on its own. A flow therefore starts a process that imports them once
(``tasks.fork_server``). A module that is run by this one runs in a fork of that process, with the
arguments, environment, folder, files and process group of this process. This process waits and
exits as the fork does. It imports only the standard library, since it must start fast.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tasks.process_lifetime import POLL_SECONDS, is_orphaned, leave

ADDRESS = "SEMIGEN_FORK_SERVER"
"""Environment variable: the fork server's socket, in Linux's abstract namespace."""
STARTED = b"S"
"""Sent by a fork before it starts; a second byte is its exit code."""


def run(module: str, argv: Sequence[str]) -> int:
    """Run ``module.main(argv)`` and return its exit code.

    If the fork is killed, this process kills itself, so that its parent sees the same.
    """
    status = run_in_fork(module, argv)
    if status is None:
        sys.argv = [module, *argv]
        status = importlib.import_module(module).main(list(argv))
    return int(status or 0)


def run_in_fork(module: str, argv: Sequence[str]) -> int | None:
    """Run ``module.main(argv)`` in a fork; return its exit code, or None if none was started."""
    address = os.environ.get(ADDRESS)
    if not address or "RANK" in os.environ:  # a process of torch's launcher must stay its child
        return None
    request = {
        "module": module,
        "argv": list(argv),
        "env": dict(os.environ),
        "cwd": str(Path.cwd()),
        "path": sys.path,
    }
    line = json.dumps(request).encode() + b"\n"
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect("\0" + address)
            socket.send_fds(connection, [line[:1]], [0, 1, 2])
            connection.sendall(line[1:])
        except OSError:  # the fork server has exited
            return None
        with _ignoring_sigint():  # the fork receives it, being in the same process group
            if _receive(connection) != STARTED:
                return None
            status = _receive(connection)
    if not status:
        os.kill(os.getpid(), signal.SIGKILL)
    return status[0]


def _receive(connection: socket.socket) -> bytes:
    """Return a byte, or none if the other end was closed; exit if the parent process has exited."""
    parent = os.getppid()
    while not select.select([connection], [], [], POLL_SECONDS)[0]:
        if is_orphaned(parent):
            leave(1)  # the fork exits with this process
    with contextlib.suppress(ConnectionResetError):
        return connection.recv(1)
    return b""


@contextlib.contextmanager
def _ignoring_sigint() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    leave(run(sys.argv[1], sys.argv[2:]))
