"""Server and workers: started, killed and stopped, with a flow on a worker."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from flows.service.processes import DEFAULT_PORT, Service, is_running
from tests.flows.common import REPOSITORY, give_code, wait_for
from tests.flows.services import Running, running

if TYPE_CHECKING:
    from conftest import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def service(settled: Project) -> Iterator[Running]:
    with running(settled) as found:
        yield found


def test_up_twice_registers_once_and_a_worker_runs_the_stages(service: Running) -> None:
    before = {p.pid for p in service.processes()}
    assert "Deployed label-curve/semigen" in service.semigen("up")
    assert before <= {p.pid for p in service.processes()}
    listed = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]
    assert service.post("deployments/count", {}) == len(listed)
    assert service.post("work_pools/count", {}) == 2
    assert service.post("automations/count", {}) == 0
    run = service.start()
    wait_for(lambda: service.state_of(run) == "COMPLETED")
    assert service.project.ran() == ["sample", "validate", "train", "evaluate", "report"]
    arguments = ("train/semigen", "--param", "reason=once more")
    output = service.semigen("prefect", "deployment", "run", *arguments)
    (again,) = re.findall(r"UUID: ([0-9a-f-]{36})", output)
    wait_for(lambda: service.state_of(again) == "COMPLETED")
    assert service.project.ran() == []
    found = service.get(f"flow_runs/{again}")
    assert found["name"] == "digits unchanged, once more"
    assert found["state"]["message"] == "Nothing changed: all 5 stages are up to date"


def test_killed_server_restarts_with_its_data(service: Running) -> None:
    (server,) = [p for p in service.processes() if "server" in p.cmdline()]
    server.send_signal(signal.SIGKILL)
    server.wait(10)
    wait_for(service.is_healthy)
    assert service.get("deployments/name/train/semigen")["name"] == "semigen"


def test_all_processes_exit_with_a_killed_supervisor(service: Running) -> None:
    pid = service.service.supervisor_pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not service.processes())
    assert not is_running(service.service)


def test_rejects_a_required_port_that_is_taken(settled: Project, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = settled.run("flows.service.cli", "up", "--port", str(port))
        assert result.returncode == 1
        assert f"port {port} is taken" in result.stderr


def test_default_port_that_is_taken_is_replaced_by_a_free_one(settled: Project) -> None:
    give_code(settled.root)
    with contextlib.closing(listening_socket(DEFAULT_PORT)):
        try:
            started = settled.run("flows.service.cli", "up")
            assert started.returncode == 0, started.stderr
            (port,) = re.findall(
                r"Port 4200 is taken by another program; using port (\d+)", started.stdout
            )
            assert f"UI       http://127.0.0.1:{port}  (this project's server)" in started.stdout
            assert f"http://127.0.0.1:{port}" in settled.run("flows.service.cli", "status").stdout
        finally:
            settled.run("flows.service.cli", "down")
    assert Service.of(settled.root).port == int(port), "the next start uses the same port"


def listening_socket(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with contextlib.suppress(OSError):  # the port is taken already
        listening.bind(("127.0.0.1", port))
        listening.listen()
    return listening


def test_server_creates_scheduled_runs(settled: Project) -> None:
    """Errors of the server's scheduler appear only in its log."""
    params = settled.root / "params.yaml"
    params.write_text(params.read_text() + 'retrain: {cron: "0 3 * * *"}\n')
    with running(settled) as service:
        wanted = {
            "flows": {"name": {"any_": ["train"]}},
            "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        }
        wait_for(lambda: bool(service.post("flow_runs/filter", wanted)))
        wait_for(
            lambda: (
                {run["name"] for run in service.post("flow_runs/filter", wanted)}
                == {"train, planned"}
            )
        )
        planned = service.post("flow_runs/filter", wanted)
    assert {run["expected_start_time"][11:16] for run in planned} == {"03:00"}
    assert {run["parameters"]["reason"] for run in planned} == {"schedule"}
