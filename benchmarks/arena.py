"""A small project with a server and workers, for ``benchmarks.chaos`` and the tests of faults."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks import aftermath
from benchmarks.chaos_stages import DVC_YAML, OUTPUTS
from benchmarks.server_api import TIMEOUT_SECONDS, ask
from flows.environment import API_URL, NO_TELEMETRY
from flows.login import CLIENT_LOGIN, server_login
from flows.pipeline.dvc_graph import settle_scm
from flows.project import Project
from flows.service.processes import Service
from tasks.process_lifetime import SERVICE, processes_with

ROOT = Path(__file__).resolve().parents[1]
SEEDS = (1, 2)
"""Alternating values of the parameter ``seed``, so that every run has stages to execute."""
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
END_SECONDS = 240.0
"""Timeout of a disturbed run. The watchdog crashes runs that have not started after 180 s."""
RERUN_SECONDS = 180.0


class Arena:
    """A project with its server and workers.

    Attributes:
        root: The project's folder.
        service: Background processes of the project.
        host: Project whose server this one uses; None if it has its own.
        expected: For each seed, the hashes after an undisturbed run.
        seconds: Duration of an undisturbed run.
    """

    def __init__(self, root: Path, port: int, host: Arena | None = None) -> None:
        self.root, self.host = root, host
        self.service: Service = Service(root, port, host.service.api_url if host else "")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = {**inherited, **NO_TELEMETRY, "PATH": path, "PYTHONPATH": str(ROOT)}
        self.expected: dict[int, dict[str, str]] = {}
        self.seconds = 0.0
        self.deployment = ""

    def make(self) -> None:
        """Write the project's files."""
        (self.root / ".dvc").mkdir(parents=True)
        (self.root / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
        (self.root / "dvc.yaml").write_text(DVC_YAML)
        (self.root / "params.yaml").write_text(
            "seed: 0\nretrain: {cron: null}\nmonitor: {cron: null}\n"
        )
        for name in ("flows", "semigen", "tasks", "benchmarks", ".dvcignore"):
            (self.root / name).symlink_to(ROOT / name)
        text = (ROOT / "prefect.yaml").read_text()
        name = re.sub("^name: .*$", f"name: {self.root.name}", text, flags=re.MULTILINE)
        (self.root / "prefect.yaml").write_text(name)
        settle_scm(self.root)

    def learn(self) -> None:
        """Run once without a fault for each seed, and keep the hashes."""
        for seed in (*SEEDS, SEEDS[0]):  # the first run also compiles bytecode
            started = time.monotonic()
            state = self.await_end(self.start(seed), RERUN_SECONDS)
            if state != "COMPLETED":
                raise SystemExit(f"the undisturbed run ended as {state}; see {self.service.folder}")
            self.seconds = time.monotonic() - started
            found = aftermath.hashes(self.root, OUTPUTS)
            if self.expected.setdefault(seed, found) != found:
                raise SystemExit("two undisturbed runs differ")

    def up(self) -> None:
        self._command("up", *([] if self.host else ["--port", str(self.service.port)]))
        deployment = Project.of(self.root).deployment("train")
        self.deployment = self._get(f"deployments/name/{deployment}")["id"]

    def down(self) -> None:
        self._command("down")

    def start(self, seed: int) -> str:
        """Start a retraining in which no stage is up to date; return the id of the run."""
        for name in ("runs", "files"):  # otherwise DVC would restore results from its cache
            subprocess.run(["rm", "-rf", str(self.root / ".dvc" / "cache" / name)], check=True)
        return self.run(seed)

    def run(self, seed: int) -> str:
        content = {
            "state": {"type": "SCHEDULED"},
            "parameters": {"overrides": [f"seed={seed}"], "reason": "chaos"},
            "idempotency_key": str(uuid.uuid4()),
        }
        return str(self._post(f"deployments/{self.deployment}/create_flow_run", content)["id"])

    def state(self, run: str) -> str:
        """Return the state of a run, or an empty text while the server is down."""
        try:
            return str(self._get(f"flow_runs/{run}", timeout=0)["state_type"])
        except httpx.HTTPError:
            return ""

    def message(self, run: str) -> str:
        """Return the message of a run's state."""
        return self._get(f"flow_runs/{run}")["state"]["message"] or ""

    def runs(self) -> list[dict[str, Any]]:
        """Return all runs of the retraining from the server."""
        wanted = {"deployments": {"id": {"any_": [self.deployment]}}}
        return list(self._post("flow_runs/filter", wanted))

    def await_end(self, run: str, seconds: float) -> str:
        """Return the state of a run when it is final, or after a timeout."""
        aftermath.wait_until(lambda: self.state(run) in FINAL, seconds, pause=0.5)
        return self.state(run) or "no server"

    def lost(self, state: str, seed: int) -> list[str]:
        """Run again and return descriptions of everything that the fault lost.

        Args:
            state: Final state of the disturbed run.
            seed: Seed of the disturbed run.
        """
        lost = [] if state in FINAL else [f"the run did not end: {state}"]
        if state == "COMPLETED":
            lost += [f"completed, but {complaint}" for complaint in self.complaints(seed)]
        second = self.await_end(self.run(seed), RERUN_SECONDS)
        if second != "COMPLETED":
            lost.append(f"the rerun ended as {second}")
        return lost + self.complaints(seed)

    def complaints(self, seed: int) -> list[str]:
        return aftermath.complaints(self.root, self.expected[seed], OUTPUTS, self.environment)

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Return the running processes of the project by kind."""
        found: dict[str, list[psutil.Process]] = {}
        for process in processes_with(SERVICE, str(self.root)):
            with contextlib.suppress(psutil.Error):
                kind = kind_of(process.cmdline(), process.environ(), process)
                found.setdefault(kind, []).append(process)
        return found

    def _get(self, path: str, *, timeout: float = TIMEOUT_SECONDS) -> dict[str, Any]:
        return dict(self._ask("GET", path, timeout=timeout))

    def _post(self, path: str, content: dict[str, Any]) -> Any:
        return self._ask("POST", path, content)

    def _ask(self, method: str, path: str, content: Any = None, **options: float) -> Any:
        login = server_login((self.host or self).root)
        return ask(method, f"{self.service.api_url}/{path}", content, login=login, **options)

    def _command(self, *arguments: str) -> None:
        shared = {}
        if self.host:
            login = server_login(self.host.root) or ""
            shared = {API_URL: self.service.api_url, CLIENT_LOGIN: login}
        done = subprocess.run(
            [sys.executable, "-m", "flows.service.cli", *arguments],
            cwd=self.root,
            env={**self.environment, **shared},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"semigen {arguments[0]}: {done.stderr.strip()}")


def kind_of(command: list[str], environment: dict[str, str], process: psutil.Process) -> str:
    """Return the kind of a process."""
    line = " ".join(command)
    if "supervisor.supervisord" in line:
        return "supervisor"
    if "tasks.fork_server" in line:  # forks have the name of what they run
        name = process.name().partition(" ")[0]
        return {"dvc": "dvc", "benchmarks": "stage"}.get(name, "fork server")
    if "dvc.cli" in line:
        return "dvc"
    if "benchmarks.chaos_stages" in line and "/bin/sh" not in line:
        return "stage"
    if "prefect server start" in line:
        return "server"
    if "prefect worker start" in line:
        return f"{'gpu' if is_of_gpu_pool(line) else 'cpu'} worker"
    if "PREFECT__FLOW_RUN_ID" in environment:
        pool = environment.get("PREFECT__WORK_POOL_NAME", "")
        return "stage run" if is_of_gpu_worker(process) or pool.endswith("-gpu") else "flow"
    return "other"


def is_of_gpu_pool(command: str) -> bool:
    """Return whether a command starts a worker of a project's pool for GPUs."""
    return bool(re.search(r"--pool \S+-gpu\b", command))


def is_of_gpu_worker(process: psutil.Process) -> bool:
    try:
        return any(is_of_gpu_pool(" ".join(p.cmdline())) for p in process.parents())
    except psutil.Error:
        return False


@contextlib.contextmanager
def arena_in(folder: Path, port: int) -> Iterator[Arena]:
    """Yield a project with a running service, which is stopped afterwards."""
    with arenas_in(folder, port, 1) as (arena,):
        yield arena


@contextlib.contextmanager
def arenas_in(folder: Path, port: int, n: int) -> Iterator[list[Arena]]:
    """Yield projects with running services, which are stopped afterwards.

    Args:
        folder: Folder of the projects.
        port: Port of the server of the first project, which the others use.
        n: Number of projects.
    """
    arenas: list[Arena] = []
    with contextlib.ExitStack() as stack:
        for i in range(n):
            name = "project" if i == 0 else f"guest{i}"
            arenas.append(Arena(folder / name, port, arenas[0] if arenas else None))
            arenas[-1].make()
            stack.callback(arenas[-1].down)
            arenas[-1].up()
        yield arenas
