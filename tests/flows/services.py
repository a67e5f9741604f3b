"""Background processes of a toy project."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.server_api import ask, is_healthy
from flows.login import CLIENT_LOGIN, LOGIN, server_login
from flows.project import Project
from flows.service.processes import Service
from tasks.process_lifetime import SERVICE, processes_with
from tests.flows.common import free_port, give_code

if TYPE_CHECKING:
    from conftest import Project


@dataclass(frozen=True)
class Running:
    """A project whose server and workers are running.

    Attributes:
        project: The project.
        service: Its background processes.
        environment: Variables of ``semigen up`` in addition to the project's environment.
    """

    project: Project
    service: Service
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.project.root

    @property
    def login(self) -> str | None:
        given = self.environment.get(LOGIN) or self.environment.get(CLIENT_LOGIN)
        return given or (None if self.service.shared_url else server_login(self.root))

    def semigen(self, *arguments: str) -> str:
        result = self.project.run("flows.service.cli", *arguments, **self.environment)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def post(self, path: str, content: Mapping[str, Any]) -> Any:
        return ask("POST", f"{self.service.api_url}/{path}", content, login=self.login)

    def get(self, path: str) -> Any:
        return ask("GET", f"{self.service.api_url}/{path}", login=self.login)

    def start(self, flow: str = "train", **parameters: object) -> str:
        """Have a worker run a flow; return the id of the flow run."""
        found = self.get(f"deployments/name/{Project.of(self.root).deployment(flow)}")
        content = {
            "state": {"type": "SCHEDULED"},
            "parameters": parameters,
            "idempotency_key": str(uuid.uuid4()),  # the request may be received twice
        }
        return str(self.post(f"deployments/{found['id']}/create_flow_run", content)["id"])

    def state_of(self, run: str) -> str:
        return str(self.get(f"flow_runs/{run}")["state_type"])

    def is_healthy(self) -> bool:
        return is_healthy(self.service.api_url)

    def processes(self) -> list[psutil.Process]:
        return list(processes_with(SERVICE, str(self.root)))


@contextmanager
def running(project: Project, **environment: str) -> Iterator[Running]:
    """Start the processes of a toy project and stop them afterwards.

    Args:
        project: The project.
        environment: Variables of ``semigen up``. With ``PREFECT_API_URL`` the project uses that
            server, otherwise its own on a free port.
    """
    if not (project.root / "prefect.yaml").exists():
        give_code(project.root)
    shared_url = environment.get("PREFECT_API_URL", "")
    service = Service(project.root, free_port(), shared_url)
    found = Running(project, service, environment)
    try:
        found.semigen("up", *([] if shared_url else ["--port", str(service.port)]))
        yield found
    finally:
        project.run("flows.service.cli", "down", **environment)
        left = found.processes()
        for process in left:
            os.kill(process.pid, 9)
        assert not left
