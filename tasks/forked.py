"""Run a module's ``main`` in a fork of the flow's fork server, or here if there is none.

Imports of torch and scikit-learn take each stage three seconds, those of DVC a fifth of one. A flow
starts a process that imports them once (``tasks.fork_server``); what this module is called for then
runs in a fork of it, with this process's arguments, environment, folder, files and process group.
This process waits and ends as the fork does. It must stay light: nothing but the standard library.
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
from typing import NoReturn

ADDRESS = "SEMIGEN_FORK_SERVER"
"""Names, in the environment, the fork server's socket (in Linux's abstract namespace)."""
STARTED = b"S"
"""What a fork says before it begins; a second byte is its exit code."""
LOOK_SECONDS = 0.5


def run(module: str, argv: Sequence[str]) -> int:
    """Return the exit code of ``module.main(argv)``.

    A fork that was killed ends this process in the same way, so that whoever waits for it sees
    that.
    """
    status = run_there(module, argv)
    if status is None:
        sys.argv = [module, *argv]
        status = importlib.import_module(module).main(list(argv))
    return int(status or 0)


def run_there(module: str, argv: Sequence[str]) -> int | None:
    """Run ``module.main(argv)`` in a fork; return its exit code, or None if none was started."""
    address = os.environ.get(ADDRESS)
    if not address or "RANK" in os.environ:  # one of several processes is its launcher's
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
        except OSError:  # it has ended
            return None
        with _deaf_to_interrupts():  # the fork hears them, for it is in the same process group
            if _receive(connection) != STARTED:
                return None
            status = _receive(connection)
    if not status:
        os.kill(os.getpid(), signal.SIGKILL)
    return status[0]


def _receive(connection: socket.socket) -> bytes:
    """Return a byte, or none if the other side has ended; end with this process's parent."""
    parent = os.getppid()
    while not select.select([connection], [], [], LOOK_SECONDS)[0]:
        if os.getppid() != parent:
            leave(1)  # the fork sees the closed connection
    with contextlib.suppress(ConnectionResetError):
        return connection.recv(1)
    return b""


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def leave(status: int) -> NoReturn:
    """End the process without tearing down torch's modules, which takes a second a stage."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    leave(run(sys.argv[1], sys.argv[2:]))
