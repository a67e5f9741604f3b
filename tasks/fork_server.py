"""Import once what stages and DVC need, and fork a process for each that asks (``tasks.forked``).

Started by a flow with a listening socket, and ends with it. Linux only: elsewhere libraries do not
survive a fork. Only imports are done here, no computation, so that there is no state and no thread
that a fork could break; the thread pools that numpy and Arrow make at import handle forks.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from socketserver import ForkingMixIn, StreamRequestHandler, UnixStreamServer
from typing import Any

import tasks.guard
from tasks.forked import ADDRESS, STARTED, leave
from tasks.guard import GRACE_SECONDS

CREDENTIALS = struct.Struct("3i")  # of Linux's SO_PEERCRED: process, user, group


class ForkServer(ForkingMixIn, UnixStreamServer):
    """Forks for each connection to a socket that listens already."""

    block_on_close = False

    def __init__(self, descriptor: int, flow: int) -> None:
        super().__init__("", Request, bind_and_activate=False)
        self.socket.close()
        self.socket = socket.socket(fileno=descriptor)
        self.flow = flow

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        """Serve nobody but the own user: the abstract namespace knows no permissions."""
        return _peer(request)[1] == os.getuid()

    def service_actions(self) -> None:
        super().service_actions()
        if os.getppid() != self.flow:
            leave(0)

    def serve_waiting(self) -> None:
        """Fork for those that are waiting."""
        while select.select([self], [], [], 0)[0]:
            self.handle_request()


class Request(StreamRequestHandler):
    """What one fork does."""

    def handle(self) -> None:
        """Take the place of the process that asks; never returns."""
        first, descriptors, _, _ = socket.recv_fds(self.request, 1, 3)
        asked = json.loads(first + self.rfile.readline())
        self.server.server_close()
        _join(_peer(self.request)[0])
        _take_over(asked, descriptors)
        has_ended = threading.Event()
        threading.Thread(target=_end_with, args=(self.request, has_ended), daemon=True).start()
        self.request.sendall(STARTED)
        status = _status(asked["module"], asked["argv"])
        has_ended.set()
        with contextlib.suppress(OSError):
            self.request.sendall(bytes([status & 0xFF]))
        leave(status)


def _peer(connection: socket.socket) -> tuple[int, int]:
    """Return process and user at the other end."""
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    pid, user, _ = CREDENTIALS.unpack(told)
    return pid, user


def _join(caller: int) -> None:
    """Enter a process's group, so that signals to that reach this process too."""
    tasks.guard.parent = caller
    with contextlib.suppress(OSError):
        os.setpgid(0, os.getpgid(caller))


def _take_over(asked: dict[str, Any], descriptors: Sequence[int]) -> None:
    """Have the files, the environment, the folder, the import path and the name of the caller."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    sys.path[:] = asked["path"]
    sys.argv = [asked["module"], *asked["argv"]]
    with contextlib.suppress(OSError):  # what tools such as `top` call it
        package = asked["module"].partition(".")[0]
        Path("/proc/self/comm").write_text(" ".join([package, *asked["argv"][-1:]]))
    gc.enable()
    signal.signal(signal.SIGINT, _interrupt_once)


def _interrupt_once(_number: int, _frame: object) -> None:
    """Interrupt, and be deaf from then on: several may ask, and none must cut the tidying short."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _status(module: str, argv: list[str]) -> int:
    try:
        return int(importlib.import_module(module).main(argv) or 0)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1


def _end_with(connection: socket.socket, has_ended: threading.Event) -> None:
    """End when the process that asked has ended; all of its group if it was the first in that.

    Args:
        connection: To the process that asked.
        has_ended: Whether it is told how this one ended, and free to go.
    """
    leader = _peer(connection)[0]
    with contextlib.suppress(ConnectionError):
        connection.recv(1)  # nothing is sent: this returns when the connection is closed
    if has_ended.is_set():
        return
    is_all_ours = os.getpgid(0) == leader
    end = (lambda number: os.killpg(leader, number)) if is_all_ours else _end_self
    end(signal.SIGINT)
    time.sleep(GRACE_SECONDS)
    end(signal.SIGKILL)


def _end_self(number: int) -> None:
    os.kill(os.getpid(), number)


def preload(modules: Sequence[str], server: ForkServer) -> None:
    """Import modules; those who ask in between are served with what is there."""
    gc.disable()  # what imports make is no garbage
    for module in modules:
        with contextlib.suppress(Exception):  # who needs it will be told
            importlib.import_module(module)
        server.serve_waiting()
    gc.freeze()
    gc.enable()


def main(argv: Sequence[str]) -> None:
    descriptor, flow, *modules = argv
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.pop(ADDRESS, None)
    with ForkServer(int(descriptor), int(flow)) as server:
        preload(modules, server)
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
