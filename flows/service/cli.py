"""Server with UI, and workers, as background processes of this project.

``up`` starts what is not running and registers deployments; call it again after changing
``prefect.yaml`` or ``params.yaml``. ``down`` ends all. State, logs and the database lie in the
project's folder ``.prefect``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import psutil

from flows.environment import LOGIN, service_settings
from flows.service.processes import (
    GPU_POOL,
    POOLS,
    Service,
    is_running,
    stop_strays,
    supervise,
    supervisorctl,
)
from semigen.cli.commands import command_parser
from semigen.errors import UserError
from semigen.params.config import Params

START_SECONDS = 120.0
STOP_SECONDS = 60.0


def up(service: Service) -> None:
    """Start what is not running, and register pools, automations and deployments.

    Raises:
        UserError: If the port is another program's, or the server does not come up.
    """
    Params.load(service.root / "params.yaml")  # a mistake in it is told before anything starts
    was_running = is_running(service)
    if not was_running:
        stop_strays(service)
        _check_port(service)
        supervise(service)
    _await_server(service)
    _check_login(service)
    _set_up(service, *([] if was_running else ["--without-workers"]))
    supervisorctl(service, "start", *(f"{pool}-worker" for pool in POOLS))
    service.write_address()


def down(service: Service) -> bool:
    """End server, workers and the runs in them; return whether there was anything to end.

    Running flows are told to end, and end as crashed; DVC keeps what their stages had finished.
    """
    was_running = is_running(service)
    if was_running:
        pid = service.supervisor_pid()
        supervisorctl(service, "shutdown")
        if pid is not None:
            _await_end(pid)
    service.address_file.unlink(missing_ok=True)
    return bool(stop_strays(service)) or was_running


def prefect(service: Service, arguments: Sequence[str]) -> int:
    """Run Prefect's command line with this project's server and login; return its exit code.

    Raises:
        UserError: If the server is not running; Prefect would start one that knows nothing.
    """
    if not is_running(service):
        raise UserError("not running; start with: make ui")
    environment = {**os.environ, **service_settings(service.root, service.port)}
    command = [sys.executable, "-m", "prefect", *arguments]
    return subprocess.run(command, cwd=service.root, env=environment).returncode


def _check_port(service: Service) -> None:
    """Refuse a port on which something else listens."""
    try:
        socket.create_connection(("127.0.0.1", service.port), timeout=2).close()
    except OSError:
        return
    raise UserError(
        f"port {service.port} is taken by another program; choose another: "
        f"make ui PORT={service.port + 10}"
    )


def _await_server(service: Service) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            if httpx.get(f"{service.api_url}/health", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline:
            raise UserError(f"the Prefect server did not start; see {service.log('server')}")
        time.sleep(0.2)


def _check_login(service: Service) -> None:
    """Refuse to go on if the server asks for another login than this environment has."""
    name, colon, password = os.environ.get(LOGIN, "").partition(":")
    login = (name, password) if colon else None
    try:
        answer = httpx.get(f"{service.api_url}/admin/version", auth=login, timeout=30)
    except httpx.TransportError as error:
        raise UserError(
            f"the Prefect server does not answer ({error}); see {service.log('server')}"
        ) from error
    if answer.status_code == 401:
        raise UserError(
            f"the server asks for a login: set {LOGIN} as it was when the server was started, or "
            "first end it: make ui-stop"
        )


def _await_end(pid: int) -> None:
    try:
        psutil.Process(pid).wait(STOP_SECONDS)
    except psutil.NoSuchProcess:
        pass
    except psutil.TimeoutExpired:
        os.kill(pid, signal.SIGKILL)


def _set_up(service: Service, *arguments: str) -> None:
    """Register pools, automations and deployments, in a process that knows the server."""
    command = [sys.executable, "-m", "flows.service.setup", *arguments]
    environment = {**os.environ, **service_settings(service.root, service.port)}
    done = subprocess.run(
        command, cwd=service.root, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise UserError(f"set-up: {lines[-1].removeprefix('error: ') if lines else 'failed'}")
    print(done.stdout, end="")


def parse(argv: Sequence[str]) -> tuple[str, argparse.Namespace]:
    """Return the command and its arguments; those of ``prefect`` are not read."""
    command, *rest = argv
    if command == "prefect":
        return command, argparse.Namespace(arguments=rest)
    return command, command_parser(command).parse_args(rest)


def main(argv: Sequence[str] | None = None) -> int:
    command, arguments = parse(sys.argv[1:] if argv is None else argv)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # children of `&` would ignore it
    try:
        service = Service.of(Path.cwd(), getattr(arguments, "port", None))
        if command == "up":
            up(service)
            _print_welcome(service)
        elif command == "down":
            print("stopped" if down(service) else "nothing was running")
        elif command == "prefect":
            return prefect(service, arguments.arguments)
        else:
            return _print_status(service)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _print_welcome(service: Service) -> None:
    print(f"UI       {service.url}")
    print(f"Workers  {', '.join(POOLS)} (pool {GPU_POOL}: one run at a time)")
    print(f"Logs     {service.folder.relative_to(service.root)}")
    print("Run now  semigen prefect deployment run train/train   (or in the UI)")
    print("Stop     make ui-stop")
    if not shutil.which("setpriv"):
        print("note: without setpriv (util-linux), a killed supervisor leaves its processes behind")


def _print_status(service: Service) -> int:
    if not is_running(service):
        print("not running; start with: make ui")
        return 1
    print(service.url)
    print(supervisorctl(service, "status"), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
