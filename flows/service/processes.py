"""The background processes of a project, kept alive by supervisord."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil

from flows.environment import SERVICE_FOLDER, address_file, service_settings
from semigen.artifacts import read_json, write_json, write_text
from semigen.errors import UserError

DEFAULT_PORT = 4200
CPU_POOL, GPU_POOL = "cpu", "gpu"
POOLS = {CPU_POOL: 4, GPU_POOL: 1}
"""Work pools, and how many flow runs a worker takes at once: a training, and beside it predictions
and looks at the data; a GPU does one thing at a time."""
MARK = "SEMIGEN_SERVICE_ROOT"
"""Names the project in the environment of all that it started."""
PROGRAM = """
[program:{name}]
command={command}
directory={root}
autostart={autostart}
autorestart=true
startsecs=2
startretries=100
priority={priority}
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
    """Where a project's server listens and its processes keep their files.

    Attributes:
        root: The project's root.
        port: Of the server, on the loopback interface unless ``PREFECT_SERVER_API_HOST`` says
            otherwise.
    """

    root: Path
    port: int

    @classmethod
    def of(cls, root: Path, port: int | None = None) -> Service:
        """Return the project's service; the port defaults to that with which it was started.

        Raises:
            UserError: If there is no project, or it runs with another port.
        """
        if not (root / "dvc.yaml").exists():
            raise UserError(f"{root}: no dvc.yaml here; call this in the project's folder")
        service = cls(root, port or DEFAULT_PORT)
        if service.address_file.exists():
            known = read_json(service.address_file)["port"]
            if port not in (None, known) and is_running(service):
                raise UserError(f"it runs already, on port {known}; first: make ui-stop")
            service = cls(root, port or known)
        return service

    @property
    def folder(self) -> Path:
        return self.root / SERVICE_FOLDER

    @property
    def address_file(self) -> Path:
        """Says to flows that are started by hand where the server is."""
        return address_file(self.root)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_url(self) -> str:
        return f"{self.url}/api"

    @property
    def config(self) -> Path:
        return self.folder / "supervisord.conf"

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    @property
    def socket(self) -> Path:
        """A short path: that of a socket has 100 characters or so, a project's may have more."""
        digest = hashlib.sha256(str(self.root).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"semigen-{os.getuid()}-{digest}.sock"

    def write_address(self) -> None:
        write_json(self.address_file, {"port": self.port, "api_url": self.api_url})

    def supervisor_pid(self) -> int | None:
        """Return the number of the supervisor's process if it is alive."""
        with contextlib.suppress(OSError, ValueError, psutil.NoSuchProcess):
            pid = int((self.folder / "supervisord.pid").read_text())
            if any("supervisord" in part for part in psutil.Process(pid).cmdline()):
                return pid
        return None


def is_running(service: Service) -> bool:
    return service.supervisor_pid() is not None


def supervise(service: Service) -> None:
    """Start the supervisor, which starts the server; workers follow when it answers."""
    service.folder.mkdir(parents=True, exist_ok=True)
    write_text(service.config, _configuration(service))
    environment = {
        **os.environ,
        **service_settings(service.root, service.port),
        MARK: str(service.root),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # imports would stay slow for good
    command = [*_python("supervisor.supervisord"), "-c", str(service.config)]
    done = subprocess.run(
        command, cwd=service.root, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise UserError(f"supervisord: {(done.stderr or done.stdout).strip()}")


def supervisorctl(service: Service, *arguments: str) -> str:
    """Return what ``supervisorctl`` says; its exit code only says whether all programs run."""
    command = [*_python("supervisor.supervisorctl"), "-c", str(service.config), *arguments]
    return subprocess.run(command, capture_output=True, text=True).stdout


def stop_strays(service: Service) -> list[int]:
    """End what a killed supervisor left behind; return the numbers of the processes."""
    strays = [p for p in psutil.process_iter() if _is_of(p, service) and p.pid != os.getpid()]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in strays:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        _, alive = psutil.wait_procs(strays, timeout=10)
        if not alive:
            break
    return [process.pid for process in strays]


def _is_of(process: psutil.Process, service: Service) -> bool:
    try:
        return process.environ().get(MARK) == str(service.root)
    except (psutil.Error, OSError):  # another user's, or gone
        return False


def _configuration(service: Service) -> str:
    host = os.environ.get("PREFECT_SERVER_API_HOST", "127.0.0.1")
    server = ["server", "start", "--host", host, "--port", str(service.port)]
    programs = [
        _program(service, "server", ["prefect", *server], autostart=True, priority=1),
        _program(service, "watchdog", ["flows.service.watchdog"], autostart=True, priority=3),
    ]
    for pool, limit in POOLS.items():
        worker = ["prefect", "worker", "start", "--pool", pool, "--type", "process"]
        worker += ["--limit", str(limit)]
        programs.append(_program(service, f"{pool}-worker", worker, autostart=False, priority=2))
    head = SUPERVISOR.format(folder=service.folder, socket=service.socket)
    return (head + "".join(programs)).replace("%", "%%")


def _program(
    service: Service, name: str, module: list[str], *, autostart: bool, priority: int
) -> str:
    """Return the section of a program: a module and its arguments."""
    return PROGRAM.format(
        name=name,
        command=" ".join(_quoted([*_dying_with_parent(), *_python(*module)])),
        root=service.root,
        autostart=str(autostart).lower(),
        priority=priority,
        log=service.log(name),
    )


def _dying_with_parent() -> list[str]:
    """Return what makes Linux end a program whose supervisor is killed."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


def _python(*module: str) -> list[str]:
    return [sys.executable, "-m", *module]


def _quoted(command: list[str]) -> list[str]:
    return [json.dumps(part) if " " in part else part for part in command]
