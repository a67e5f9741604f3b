"""The background processes of a project, which supervisord keeps running."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from flows.environment import (
    API_URL,
    address_file,
    is_listening,
    server_protection,
    service_settings,
)
from flows.login import (
    SERVICE_FOLDER,
    ensure_login,
    own_server_variables,
    shared_server_variables,
)
from flows.project import Project
from semigen.artifacts import make_private_folder, read_json, write_json, write_text
from semigen.errors import UserError
from tasks.process_lifetime import SERVICE, processes_with, terminate

DEFAULT_PORT = 4200
N_PORTS = 100
"""Number of ports that are tried from ``DEFAULT_PORT`` on."""
CPU, GPU = "cpu", "gpu"
POOLS = {CPU: 4, GPU: 1}
"""Kinds of workers, and the maximum number of flow runs that a worker executes at once: a CPU
worker runs predictions beside a retraining, a GPU is used by one run at a time."""
REPORT = "report"
"""Program that serves the report."""
PRIVATE, SHARED = "077", "022"
"""Umask of server, watchdog and report server, and of workers, whose runs write the outputs."""
SHUTDOWN_SECONDS = 60.0
STOP_SECONDS = 10.0
"""Time between SIGTERM and SIGKILL for processes that have lost supervisord."""
PROGRAM = """
[program:{name}]
command={command}
directory={root}
autostart={autostart}
autorestart=true
startsecs=2
startretries=100
priority={priority}
umask={umask}
stopsignal=TERM
stopwaitsecs=20
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=2
"""
SUPERVISOR = """\
[supervisord]
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
childlogdir={folder}
umask=077
[unix_http_server]
file={socket}
chmod=0700
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{socket}
"""


@dataclass(frozen=True)
class Service:
    """The background processes of one project.

    Attributes:
        root: The project's folder.
        port: Port of the project's own server, on the loopback interface unless
            ``PREFECT_SERVER_API_HOST`` is set.
        shared_url: API of a server that was started elsewhere, for several projects; empty if the
            project has its own server.
        is_port_required: Whether no other port may be used if this one is taken.
    """

    root: Path
    port: int
    shared_url: str = ""
    is_port_required: bool = False

    @classmethod
    def of(cls, root: Path, port: int | None = None) -> Service:
        """Return the service of the project in a folder.

        While it runs, its address is known. Otherwise the project uses the server that
        ``PREFECT_API_URL`` refers to or, if that is not set, its own server.

        Args:
            root: The project's folder.
            port: Port of the project's own server; by default the port that was used last.

        Raises:
            UserError: If there is no project in the folder, or it runs at another address.
        """
        if not (root / "dvc.yaml").exists():
            raise UserError(f"{root}: no dvc.yaml; run this command in the folder of a project")
        used = _last_used(root)
        url = os.environ.get(API_URL, "").rstrip("/")
        if used is not None and url == used.api_url:
            url = ""  # set by ``flows.environment.prepare``
        if used is not None and is_running(used):
            if url or port not in (None, used.port):
                raise UserError(f"already running with {used.url}; first run: semigen down")
            return used
        own = cls(root, _last_port(root))
        if url == own.api_url and not is_listening(url):
            url = ""  # exported by the user for this project's own server
        if url and port is not None:
            raise UserError(f"--port: {API_URL} is set to {url}, a server that has its own port")
        if url:
            return cls(root, DEFAULT_PORT, shared_url=url)
        if used is not None and port is None:
            return used
        return own if port is None else cls(root, port, is_port_required=True)

    @property
    def folder(self) -> Path:
        return self.root / SERVICE_FOLDER

    @property
    def port_file(self) -> Path:
        """File with the port that the project's own server used last."""
        return self.folder / "port.json"

    @property
    def api_url(self) -> str:
        return self.shared_url or f"http://127.0.0.1:{self.port}/api"

    @property
    def url(self) -> str:
        """Address of the UI."""
        return self.api_url.removesuffix("/api")

    def origins(self) -> list[str]:
        """Return the origins of the UI, as browsers name them."""
        own = [f"http://{host}:{self.port}" for host in ("127.0.0.1", "localhost")]
        public = urlsplit(os.environ.get("PREFECT_UI_API_URL", ""))
        return [*own, f"{public.scheme}://{public.netloc}"] if public.netloc else own

    def environment(self) -> dict[str, str]:
        """Return the environment of processes that use the server, with its login."""
        own = not self.shared_url
        login = own_server_variables(self.root) if own else shared_server_variables()
        return {**os.environ, **service_settings(self.root, self.api_url), **login}

    @property
    def config(self) -> Path:
        return self.folder / "supervisord.conf"

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    @property
    def socket(self) -> Path:
        """Socket of supervisord, with a short path: the maximum is about 100 characters."""
        digest = hashlib.sha256(str(self.root).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"semigen-{os.getuid()}-{digest}.sock"

    def write_address(self) -> None:
        """Record the address for flows that are started by hand and for the next start."""
        address = {"port": self.port, "api_url": self.api_url, "is_shared": bool(self.shared_url)}
        write_json(address_file(self.root), address)
        if not self.shared_url:
            write_json(self.port_file, {"port": self.port})

    def forget_address(self) -> None:
        address_file(self.root).unlink(missing_ok=True)

    def supervisor_pid(self) -> int | None:
        """Return the process id of supervisord if it is running."""
        with contextlib.suppress(OSError, ValueError, psutil.NoSuchProcess):
            pid = int((self.folder / "supervisord.pid").read_text())
            if any("supervisord" in part for part in psutil.Process(pid).cmdline()):
                return pid
        return None


def _last_used(root: Path) -> Service | None:
    """Return the service whose address was recorded and not forgotten: it runs, or was killed."""
    if not address_file(root).exists():
        return None
    address = read_json(address_file(root))
    shared_url = address["api_url"] if address.get("is_shared") else ""
    return Service(root, address["port"], shared_url)


def _last_port(root: Path) -> int:
    file = Service(root, DEFAULT_PORT).port_file
    return int(read_json(file)["port"]) if file.exists() else DEFAULT_PORT


def free_port() -> int:
    """Return the first free port from the default port on.

    Raises:
        UserError: If there is none.
    """
    for port in range(DEFAULT_PORT, DEFAULT_PORT + N_PORTS):
        if not is_listening(f"http://127.0.0.1:{port}"):
            return port
    raise UserError(
        f"no free port from {DEFAULT_PORT} to {DEFAULT_PORT + N_PORTS - 1}; choose one: "
        "semigen up --port PORT"
    )


def is_running(service: Service) -> bool:
    return service.supervisor_pid() is not None


def supervise(service: Service) -> None:
    """Start supervisord, which starts the server if the project has its own.

    All other programs are started when the project is registered.
    """
    make_private_folder(service.root / ".prefect")
    if not service.shared_url:
        ensure_login(service.root)
    write_text(service.config, _configuration(service))
    environment = service.environment() | {SERVICE: str(service.root)}
    if not service.shared_url:
        environment |= server_protection(service.origins())
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # it would slow down every import
    command = [*_python("supervisor.supervisord"), "-c", str(service.config)]
    done = subprocess.run(
        command, cwd=service.root, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise UserError(f"supervisord: {(done.stderr or done.stdout).strip()}")


def update_programs(service: Service) -> None:
    """Restart the programs whose configuration has changed, such as the name of a work pool."""
    configuration = _configuration(service)
    if service.config.read_text(encoding="utf-8") != configuration:
        write_text(service.config, configuration)
        supervisorctl(service, "update")


def supervisorctl(service: Service, *arguments: str) -> str:
    """Return the output of ``supervisorctl``; its exit code says only whether all programs run."""
    command = [*_python("supervisor.supervisorctl"), "-c", str(service.config), *arguments]
    return subprocess.run(command, capture_output=True, text=True).stdout


def stop(service: Service) -> None:
    """Stop supervisord and its programs; kill it if it does not exit in time."""
    pid = service.supervisor_pid()
    supervisorctl(service, "shutdown")
    with contextlib.suppress(psutil.NoSuchProcess):
        supervisor = psutil.Process(pid)
        _, alive = psutil.wait_procs([supervisor], timeout=SHUTDOWN_SECONDS)
        terminate(alive, (signal.SIGKILL,))


def stop_strays(service: Service) -> list[int]:
    """Terminate the processes that a killed supervisord left running; return their ids."""
    found = processes_with(SERVICE, str(service.root))
    strays = [process for process in found if process.pid != os.getpid()]
    terminate(strays, grace=STOP_SECONDS)
    return [process.pid for process in strays]


def _configuration(service: Service) -> str:
    project = Project.of(service.root)
    watchdog = ["flows.service.watchdog", project.name]  # restarted if the name changes
    programs = [
        _program(service, "watchdog", watchdog, priority=3),
        _program(service, REPORT, ["flows.service.report_server"], priority=3),
    ]
    if not service.shared_url:
        host = os.environ.get("PREFECT_SERVER_API_HOST", "127.0.0.1")
        server = [
            "tasks.background_gc",
            "prefect",
            "server",
            "start",
            "--host",
            host,
            "--port",
            str(service.port),
        ]
        programs.append(_program(service, "server", server, autostart=True, priority=1))
    for kind, limit in POOLS.items():
        worker = ["prefect", "worker", "start", "--pool", project.pool(kind), "--type", "process"]
        worker += ["--limit", str(limit)]
        programs.append(_program(service, f"{kind}-worker", worker, priority=2, umask=SHARED))
    head = SUPERVISOR.format(folder=service.folder, socket=service.socket)
    return (head + "".join(programs)).replace("%", "%%")


def _program(
    service: Service,
    name: str,
    module: list[str],
    *,
    priority: int,
    autostart: bool = False,
    umask: str = PRIVATE,
) -> str:
    """Return the section of a program: a module with arguments that exits with supervisord."""
    return PROGRAM.format(
        name=name,
        command=" ".join(_quoted(_python("tasks.process_lifetime", *module))),
        root=service.root,
        autostart=str(autostart).lower(),
        priority=priority,
        umask=umask,
        log=service.log(name),
    )


def _python(*module: str) -> list[str]:
    return [sys.executable, "-m", *module]


def _quoted(command: list[str]) -> list[str]:
    return [json.dumps(part) if " " in part else part for part in command]
