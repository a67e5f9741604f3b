"""The background processes for real: started, killed, and ended, with a flow sent to a worker."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from flows.processes import Service, is_running

if TYPE_CHECKING:
    from conftest import Project

REPOSITORY = Path(__file__).parents[2]
pytestmark = pytest.mark.slow
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


def semigen(project: Project, *arguments: str) -> str:
    result = project.run("flows.service", *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def is_healthy(service: Service) -> bool:
    try:
        return httpx.get(f"{service.api_url}/health", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def processes_of(service: Service) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SEMIGEN_SERVICE_ROOT") == str(service.root):
                found.append(process)
        except psutil.Error:
            continue
    return found


def post(service: Service, path: str, content: dict[str, object]) -> object:
    answer = httpx.post(f"{service.api_url}/{path}", json=content, timeout=30)
    answer.raise_for_status()
    return answer.json()


def get(service: Service, path: str) -> dict[str, object]:
    answer = httpx.get(f"{service.api_url}/{path}", timeout=30)
    answer.raise_for_status()
    return dict(answer.json())


@pytest.fixture
def service(settled: Project) -> Iterator[Service]:
    for name in ("flows", "semigen", "tasks"):
        (settled.root / name).symlink_to(REPOSITORY / name)
    shutil.copy(REPOSITORY / "prefect.yaml", settled.root)
    service = Service(settled.root, free_port())
    semigen(settled, "up", "--port", str(service.port))
    yield service
    settled.run("flows.service", "down")
    assert not processes_of(service)


def run_train(service: Service) -> str:
    deployment = get(service, "deployments/name/train/train")
    created = post(
        service, f"deployments/{deployment['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}}
    )
    assert isinstance(created, dict)
    return str(created["id"])


def state_of(service: Service, run: str) -> str:
    return str(get(service, f"flow_runs/{run}")["state_type"])


def test_up_twice_registers_once_and_a_worker_runs_the_stages(
    service: Service, settled: Project
) -> None:
    before = {p.pid for p in processes_of(service)}
    assert "Deployed train" in semigen(settled, "up")
    assert before <= {p.pid for p in processes_of(service)}
    assert post(service, "deployments/count", {}) == 3
    assert post(service, "work_pools/count", {}) == 2
    assert post(service, "automations/count", {}) == 4
    run = run_train(service)
    wait_for(lambda: state_of(service, run) == "COMPLETED")
    assert settled.ran() == ["sample", "validate", "train", "evaluate", "report"]


def test_killed_server_comes_back_and_keeps_what_it_knew(service: Service) -> None:
    (server,) = [p for p in processes_of(service) if "server" in p.cmdline()]
    server.send_signal(signal.SIGKILL)
    server.wait(10)
    wait_for(lambda: is_healthy(service))
    assert get(service, "deployments/name/train/train")["name"] == "train"


def test_flow_killed_on_a_worker_crashes_and_the_next_one_completes(
    service: Service, settled: Project
) -> None:
    (settled.root / "slow").touch()
    run = run_train(service)
    settled.wait_for_slow_stage()
    stage = psutil.Process(int((settled.root / "started").read_text()))
    dvc = next(process for process in stage.parents() if "dvc" in process.cmdline())
    flow = dvc.parent()
    assert flow is not None
    flow.send_signal(signal.SIGKILL)
    wait_for(lambda: state_of(service, run) == "CRASHED")
    wait_for(lambda: not settled.is_slow_stage_alive())
    (settled.root / "slow").unlink()
    following = run_train(service)
    wait_for(lambda: state_of(service, following) == "COMPLETED")
    status = subprocess.run(
        [sys.executable, "-m", "dvc", "status", "report"],
        cwd=settled.root,
        env=settled.environment,
        capture_output=True,
        text=True,
    )
    assert "up to date" in status.stdout


@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv (util-linux)")
def test_killed_supervisor_leaves_nothing_behind(service: Service) -> None:
    pid = service.supervisor_pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not processes_of(service))
    assert not is_running(service)


def test_taken_port_is_refused_by_name(settled: Project, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = settled.run("flows.service", "up", "--port", str(port))
    assert result.returncode == 1
    assert f"port {port} is taken" in result.stderr
