"""Start, stop and inspect the Prefect server and the workers of this project.

``up`` starts everything that is not running and registers the deployments; run it again after a
change of ``prefect.yaml`` or ``params.yaml``. ``down`` stops everything. State, logs and the
database are in the project's folder ``.prefect``. If ``PREFECT_API_URL`` is set, the project uses
that server and starts only its own workers.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import httpx

from flows.environment import address_file, is_listening, require_disk_space
from flows.login import CLIENT_LOGIN, LOGIN, login_file, server_login
from flows.project import Project, template_variables
from flows.report_address import address_of_report, report_file
from flows.service.processes import (
    GPU,
    POOLS,
    REPORT,
    Service,
    free_port,
    is_running,
    stop,
    stop_strays,
    supervise,
    supervisorctl,
    update_programs,
)
from semigen.cli.commands import command_parser
from semigen.errors import UserError
from semigen.params.config import Params

START_SECONDS = 120.0


def up(service: Service) -> Service:
    """Start everything that is not running, and register pools, automations and deployments.

    Returns:
        The service, perhaps with another port than the given one.

    Raises:
        UserError: If a required port is taken, or the server does not start or answer.
    """
    require_disk_space(service.root)
    Params.load(service.root / "params.yaml")  # report a mistake before anything starts
    Project.of(service.root)
    was_running = is_running(service)
    if was_running:
        update_programs(service)
    else:
        stop_strays(service)
        service = _with_free_port(service)
        if not service.shared_url:
            supervise(service)
            service.write_address()
    _await_server(service)
    _check_login(service)
    options = [] if service.shared_url else ["--owns-server"]
    _set_up(service, *options, *([] if was_running else ["--without-workers"]))
    if not is_running(service):
        supervise(service)
    supervisorctl(service, "start", "watchdog", REPORT, *(f"{kind}-worker" for kind in POOLS))
    service.write_address()
    return service


def down(service: Service) -> bool:
    """Stop server, workers and their flow runs; return whether anything was running.

    Running flow runs are terminated and end as crashed; DVC keeps the results of finished stages.
    On a shared server the schedules of the project are deactivated.
    """
    is_registered = address_file(service.root).exists()
    was_running = is_running(service)
    if was_running:
        stop(service)
    was_running = bool(stop_strays(service)) or was_running
    if service.shared_url and is_registered:
        _tear_down(service)
    service.forget_address()
    return was_running


def prefect(service: Service, arguments: Sequence[str]) -> int:
    """Run Prefect's command line with this project's server and login; return its exit code.

    Raises:
        UserError: If the server is not running; Prefect would start an empty temporary server.
    """
    if not is_running(service):
        raise UserError("not running; start with: semigen up")
    params = Params.load(service.root / "params.yaml")
    variables = template_variables(Project.of(service.root), params)
    command = [sys.executable, "-m", "prefect", *arguments]
    environment = service.environment() | variables  # for `semigen prefect deploy`
    return subprocess.run(command, cwd=service.root, env=environment).returncode


def _with_free_port(service: Service) -> Service:
    """Return the service with a port that no other program uses.

    Raises:
        UserError: If the port is required and taken, or a shared server does not answer.
    """
    if service.shared_url:
        if not is_listening(service.shared_url):
            raise UserError(
                f"PREFECT_API_URL: no server answers at {service.shared_url}; start it, or unset "
                "the variable to use a server of this project"
            )
        return service
    if not is_listening(service.api_url):
        return service
    if service.is_port_required:
        raise UserError(
            f"port {service.port} is taken by another program; choose another one, or omit --port"
        )
    found = replace(service, port=free_port())
    print(f"Port {service.port} is taken by {_describe(service)}; using port {found.port}")
    return found


def _describe(service: Service) -> str:
    """Return which program uses the port, and how to share it if it is a Prefect server."""
    if _answers(service):
        return f"another Prefect server (to share it: PREFECT_API_URL={service.api_url} semigen up)"
    return "another program"


def _answers(service: Service) -> bool:
    try:
        status = httpx.get(f"{service.api_url}/health", timeout=5).status_code
    except httpx.HTTPError:
        return False
    return status < 500 if service.shared_url else status == 200  # Prefect Cloud has no /health


def _await_server(service: Service) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(service):
        if time.monotonic() > deadline:
            raise UserError(f"the Prefect server did not start; {_where_to_look(service)}")
        time.sleep(0.2)


def _where_to_look(service: Service) -> str:
    return f"check {service.shared_url or service.log('server')}"


def _check_login(service: Service) -> None:
    """Check that the server accepts the login of this environment.

    Raises:
        UserError: If it does not.
    """
    name, colon, password = service.environment().get(CLIENT_LOGIN, "").partition(":")
    login = (name, password) if colon else None
    try:
        answer = httpx.get(f"{service.api_url}/admin/version", auth=login, timeout=30)
    except httpx.TransportError as error:
        raise UserError(
            f"the Prefect server does not answer ({error}); {_where_to_look(service)}"
        ) from error
    if answer.status_code == 401 and "PREFECT_API_KEY" not in os.environ:
        if service.shared_url:
            raise UserError(
                f"the server at {service.url} requires a login: set {CLIENT_LOGIN} (the project "
                f"that started the server has it in {login_file(Path())})"
            )
        raise UserError(
            f"the server requires a login: set {LOGIN} as it was when the server was started, or "
            "stop the server first: semigen down"
        )


def _set_up(service: Service, *arguments: str) -> None:
    """Register pools, automations and deployments, in a process that uses the server.

    Raises:
        UserError: If the process failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "flows.service.setup", *arguments],
        cwd=service.root,
        env=service.environment(),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise UserError(f"set-up: {lines[-1].removeprefix('error: ') if lines else 'failed'}")
    print(done.stdout, end="")


def _tear_down(service: Service) -> None:
    """Deactivate the schedules of the project on a shared server, if the server answers."""
    try:
        _set_up(service, "--down")
    except UserError as error:
        print(f"warning: schedules are still active on {service.url}: {error}", file=sys.stderr)


def parse(argv: Sequence[str]) -> tuple[str, argparse.Namespace]:
    """Return the command and its arguments; those of ``prefect`` are not read."""
    command, *rest = argv
    if command == "prefect":
        return command, argparse.Namespace(arguments=rest)
    return command, command_parser(command).parse_args(rest)


def main(argv: Sequence[str] | None = None) -> int:
    command, arguments = parse(sys.argv[1:] if argv is None else argv)
    os.umask(0o077)  # for the state in .prefect
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by jobs of `&`
    try:
        service = Service.of(Path.cwd(), getattr(arguments, "port", None))
        if command == "up":
            _print_welcome(up(service))
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
    project = Project.of(service.root)
    whose = "shared server" if service.shared_url else "this project's server"
    print(f"UI       {service.url}  ({whose})")
    _print_login(service)
    _print_report(service)
    print(f"Workers  {', '.join(map(project.pool, POOLS))} ({GPU}: one run at a time)")
    print(f"Logs     {service.folder.relative_to(service.root)}")
    print(f"Run now  semigen prefect deployment run {project.deployment('train')}   (or in the UI)")
    print("Stop     semigen down")


def _print_login(service: Service) -> None:
    """Print the login that the browser asks for once; logs of the command show only its place."""
    if service.shared_url or os.environ.get(LOGIN):
        return
    place = login_file(service.root).relative_to(service.root)
    shown = server_login(service.root) if sys.stdout.isatty() else f"see {place}"
    print(f"Login    {shown}")


def _print_report(service: Service) -> None:
    """Print the address of the report, which is secret like the login."""
    place = report_file(service.root).relative_to(service.root)
    shown = address_of_report(service.root) if sys.stdout.isatty() else None
    print(f"Report   {shown or f'see {place}, or the artifact of a run'}")


def _print_status(service: Service) -> int:
    if not is_running(service):
        print("not running; start with: semigen up")
        return 1
    print(service.url)
    print(supervisorctl(service, "status"), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
