"""Import the modules that DVC and the stages need once, and fork for each request.

A flow starts this process with a listening socket; it exits with the flow. ``tasks.forked`` sends
the requests. Linux only: on other systems libraries do not survive a fork. Only imports are done
here and no computation, so that there is no state and no thread that a fork could break; the thread
pools that numpy and Arrow create at import handle forks.
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
import traceback
from collections.abc import Sequence
from pathlib import Path
from socketserver import ForkingMixIn, StreamRequestHandler, UnixStreamServer
from typing import Any

from tasks.forked import ADDRESS, STARTED
from tasks.process_lifetime import exit_with_owner, is_orphaned, leave

CREDENTIALS = struct.Struct("3i")  # of Linux's SO_PEERCRED: process, user, group


class ForkServer(ForkingMixIn, UnixStreamServer):
    """Fork for each connection to a socket that is listening already.

    Args:
        descriptor: File descriptor of the socket.
        flow: Process id of the flow, the parent process.
    """

    block_on_close = False

    def __init__(self, descriptor: int, flow: int) -> None:
        super().__init__("", Request, bind_and_activate=False)
        self.socket.close()
        self.socket = socket.socket(fileno=descriptor)
        self.flow = flow

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        """Refuse other users: sockets of the abstract namespace have no permissions."""
        return _peer(request)[1] == os.getuid()

    def service_actions(self) -> None:
        super().service_actions()
        if is_orphaned(self.flow):
            leave(0)

    def serve_waiting(self) -> None:
        """Fork for the requests that are waiting."""
        while select.select([self], [], [], 0)[0]:
            self.handle_request()


class Request(StreamRequestHandler):
    """A request, handled in a fork."""

    def handle(self) -> None:
        """Run the requested module in place of the caller; never returns."""
        first, descriptors, _, _ = socket.recv_fds(self.request, 1, 3)
        request = json.loads(first + self.rfile.readline())
        self.server.server_close()
        caller = _peer(self.request)[0]
        with contextlib.suppress(OSError):  # signals to the caller's group reach this process too
            os.setpgid(0, os.getpgid(caller))
        _replace_caller(request, descriptors)
        watching = exit_with_owner(caller)
        self.request.sendall(STARTED)
        status = _status(request["module"], request["argv"])
        watching.set()  # the caller exits when it has received the status
        with contextlib.suppress(OSError):
            self.request.sendall(bytes([status & 0xFF]))
        leave(status)


def _peer(connection: socket.socket) -> tuple[int, int]:
    """Return process id and user id of the other end of a connection."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    pid, user, _ = CREDENTIALS.unpack(credentials)
    return pid, user


def _replace_caller(request: dict[str, Any], descriptors: Sequence[int]) -> None:
    """Take over files, environment, folder, import path and process name of the caller."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.path[:] = request["path"]
    sys.argv = [request["module"], *request["argv"]]
    with contextlib.suppress(OSError):  # the name that tools such as `top` display
        package = request["module"].partition(".")[0]
        Path("/proc/self/comm").write_text(" ".join([package, *request["argv"][-1:]]))
    gc.enable()
    signal.signal(signal.SIGINT, _interrupt_once)


def _interrupt_once(_number: int, _frame: object) -> None:
    """Raise ``KeyboardInterrupt`` for the first SIGINT only: a second must not abort clean-up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _status(module: str, argv: list[str]) -> int:
    """Run ``module.main(argv)`` and return its exit code."""
    try:
        return int(importlib.import_module(module).main(argv) or 0)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1


def preload(modules: Sequence[str], server: ForkServer) -> None:
    """Import modules; requests that arrive in between are served with those imported so far."""
    gc.disable()  # imports create no garbage
    for module in modules:
        with contextlib.suppress(Exception):  # the error is raised again where it is needed
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
