"""A Prefect server and workers without supervisord, with the repository's deployments."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.server_api import ask, is_healthy
from flows.project import Project
from tests.flows.common import REPOSITORY, free_port, wait_for
from tests.flows.hosts import kill_all

POOL = Project.of(REPOSITORY).pool("gpu")


@dataclass(frozen=True)
class Server:
    """A running server, and the environment of its clients."""

    url: str
    environment: dict[str, str]
    home: Path

    @classmethod
    @contextlib.contextmanager
    def started(
        cls, home: Path, environment: dict[str, str], host: str = "127.0.0.1"
    ) -> Iterator[Server]:
        port = free_port(host)
        url = f"http://{host}:{port}/api"
        own = {**environment, "PREFECT_HOME": str(home), "PREFECT_API_URL": url}
        own["PREFECT_WORKER_HEARTBEAT_SECONDS"] = "3"
        own |= {"PREFECT_WORKER_QUERY_SECONDS": "1", "DO_NOT_TRACK": "1"}
        own["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", host]
        home.mkdir(exist_ok=True)
        with (home / "server.log").open("w") as log:
            process = subprocess.Popen(
                [*command, "--port", str(port)], cwd=home, env=own, stdout=log, stderr=log
            )
        server = cls(url, own, home)
        try:
            wait_for(lambda: is_healthy(url), "the server did not start", 120)
            yield server
        finally:
            kill_all(process)

    def post(self, path: str, content: dict[str, Any]) -> Any:
        return ask("POST", f"{self.url}/{path}", content)

    def states(self, flow: str) -> list[str]:
        """Return the states of a flow's runs, the latest last."""
        wanted = {"flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_ASC"}
        return [str(run["state_name"]) for run in self.post("flow_runs/filter", wanted)]

    def set_up(self, root: Path) -> None:
        """Register pools, deployments and automations for a project that has the code."""
        done = subprocess.run(
            [sys.executable, "-m", "flows.service.setup"],
            cwd=root,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    @contextlib.contextmanager
    def watchdog(self, root: Path) -> Iterator[None]:
        """Run the watchdog of a project."""
        command = [sys.executable, "-m", "flows.service.watchdog"]
        process = subprocess.Popen(command, cwd=root, env=self.environment)
        try:
            yield
        finally:
            kill_all(process)

    def flow(self, root: Path, *arguments: str) -> subprocess.Popen[str]:
        """Start the retraining flow by hand."""
        return subprocess.Popen(
            [sys.executable, "-m", "flows.train", *arguments],
            cwd=root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @contextlib.contextmanager
    def worker(
        self, folder: Path, home: Path, name: str = "gpu-1", prefix: Sequence[str] = ()
    ) -> Iterator[subprocess.Popen[str]]:
        """Start a worker of the GPU pool that uses ``folder`` as the project."""
        home.mkdir(exist_ok=True)
        options = ["--pool", POOL, "--type", "process", "--limit", "1", "--name", name]
        with (home / "worker.log").open("w") as log:
            process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "prefect", "worker", "start", *options],
                cwd=home,
                env={
                    **self.environment,
                    "HOME": str(home),
                    "PREFECT_HOME": str(home / ".prefect"),
                    "SEMIGEN_PROJECT": str(folder),
                },
                stdout=log,
                stderr=log,
                text=True,
            )
        try:
            yield process
        finally:
            kill_all(process)

    def workers(self) -> list[str]:
        """Return the names of the GPU workers that are online."""
        found = self.post(f"work_pools/{POOL}/workers/filter", {})
        return [str(worker["name"]) for worker in found if worker["status"] == "ONLINE"]
