"""The background processes of a toy project, for tests that start them."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from flows.processes import Service

if TYPE_CHECKING:
    from conftest import Project

REPOSITORY = Path(__file__).parents[2]
TIMEOUT = 60.0


def wait_for(what: Callable[[], bool], seconds: float = TIMEOUT) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Running:
    """A project whose server and workers run.

    Attributes:
        project: The project.
        service: Where its server is.
        environment: What ``semigen up`` was started with, beside the project's environment.
    """

    project: Project
    service: Service
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.project.root

    @property
    def login(self) -> tuple[str, str] | None:
        name, colon, password = self.environment.get(
            "PREFECT_SERVER_API_AUTH_STRING", ""
        ).partition(":")
        return (name, password) if colon else None

    def semigen(self, *arguments: str) -> str:
        result = self.project.run("flows.service", *arguments, **self.environment)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def post(self, path: str, content: Mapping[str, Any]) -> Any:
        url = f"{self.service.api_url}/{path}"
        answer = httpx.post(url, json=content, timeout=30, auth=self.login)
        answer.raise_for_status()
        return answer.json()

    def get(self, path: str) -> Any:
        answer = httpx.get(f"{self.service.api_url}/{path}", timeout=30, auth=self.login)
        answer.raise_for_status()
        return answer.json()

    def start(self, deployment: str = "train/train", **parameters: object) -> str:
        """Have a worker run a deployment; return the id of the flow run."""
        found = self.get(f"deployments/name/{deployment}")
        asked = {"state": {"type": "SCHEDULED"}, "parameters": parameters}
        return str(self.post(f"deployments/{found['id']}/create_flow_run", asked)["id"])

    def state_of(self, run: str) -> str:
        return str(self.get(f"flow_runs/{run}")["state_type"])

    def is_healthy(self) -> bool:
        try:
            return httpx.get(f"{self.service.api_url}/health", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("SEMIGEN_SERVICE_ROOT") == str(self.root):
                    found.append(process)
            except psutil.Error:
                continue
        return found


@contextmanager
def running(project: Project, **environment: str) -> Iterator[Running]:
    """Start the processes of a toy project and end them afterwards."""
    for name in ("flows", "semigen", "tasks"):
        (project.root / name).symlink_to(REPOSITORY / name)
    shutil.copy(REPOSITORY / "prefect.yaml", project.root)
    found = Running(project, Service(project.root, free_port()), environment)
    try:
        found.semigen("up", "--port", str(found.service.port))
        yield found
    finally:
        project.run("flows.service", "down", **environment)
        left = found.processes()
        for process in left:
            os.kill(process.pid, 9)
        assert not left
