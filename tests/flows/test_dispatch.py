"""Stages on GPU workers: real server and real workers."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.flows.common import give_code, wait_for
from tests.flows.servers import Server

if TYPE_CHECKING:
    from conftest import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
ORDER = ["sample", "validate", "train", "evaluate", "report"]


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]
) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("server")
    with Server.started(home, environment) as found:
        yield found


@pytest.fixture
def shared(settled: Project, server: Server) -> Iterator[Project]:
    """The toy project with its deployments registered, and no worker."""
    give_code(settled.root)
    server.set_up(settled.root)
    wait_for(lambda: not server.workers(), "the worker of an earlier test is still online")
    yield settled
    (settled.root / "prefect.yaml").unlink()  # the next test registers the name for its folder


def output(process: subprocess.Popen[str], status: int = 0) -> str:
    text, _ = process.communicate(timeout=120)
    assert process.returncode == status, text
    return text


def require_gpu(project: Project, seconds: float) -> None:
    with (project.root / "params.yaml").open("a") as params:
        params.write(f"compute: {{require_gpu: true, gpu_wait_seconds: {seconds}}}\n")


def stage_process(project: Project) -> psutil.Process:
    return psutil.Process(int((project.root / "started").read_text()))


def flow_of(stage: psutil.Process) -> psutil.Process:
    """Return the flow's process, the parent of the stage's DVC or of its fork server."""
    *_, outermost = (process for process in stage.parents() if "dvc.cli" in process.cmdline())
    flow = outermost.parent()
    assert flow is not None
    return flow


def test_stage_runs_in_place_without_worker(shared: Project, server: Server) -> None:
    before = server.states("stage")
    assert "sent to" not in output(server.flow(shared.root))
    assert shared.ran() == ORDER
    assert server.states("stage") == before


def test_required_worker_that_does_not_come_online_is_an_error(
    shared: Project, server: Server
) -> None:
    require_gpu(shared, 2)
    text = output(server.flow(shared.root), 1)
    assert "waiting up to 2 s for a worker of the pool semigen-gpu" in text
    assert re.search(
        r"^error: no worker of the pool semigen-gpu is online after 2 s .* start one: prefect",
        text,
        re.M,
    )
    assert shared.ran() == ["sample", "validate"]


def test_required_worker_without_a_server_is_an_error(settled: Project) -> None:
    require_gpu(settled, 0)
    done = settled.run("flows.train")
    assert done.returncode == 1
    assert "error: compute.require_gpu is set, but without a Prefect server" in done.stderr
    assert settled.ran() == ["sample", "validate"]


def test_waits_for_the_required_worker(shared: Project, server: Server, tmp_path: Path) -> None:
    require_gpu(shared, 100)
    flow = server.flow(shared.root)
    assert flow.stdout is not None
    for line in flow.stdout:
        if "waiting up to" in line:
            break
    with server.worker(shared.root, tmp_path / "gpu"):
        text = output(flow)
    assert "sent to a worker of the pool semigen-gpu" in text
    assert "gpu worker" not in text
    lines = [line.split("  ")[-1].strip() for line in text.splitlines()]
    assert lines.count("fitting") == 1, "the terminal shows what the worker's run logs, once"
    assert lines.index("fitting") < lines.index("sent to a worker of the pool semigen-gpu") + 3
    assert server.states("stage")[-1] == "Completed"
    assert shared.ran() == ORDER
    completed = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
    runs = server.post("flow_runs/filter", {**completed, "sort": "START_TIME_DESC"})
    names = [run["name"] for run in runs]
    assert re.fullmatch(r"digits, train in \d+ s", names[0])
    assert names[1] == "digits 90.0% (+90.0 points), by hand"


def test_stage_runs_again_if_its_process_was_killed_but_not_if_it_failed(
    shared: Project, server: Server, tmp_path: Path
) -> None:
    (shared.root / "slow").touch()
    with server.worker(shared.root, tmp_path / "gpu"):
        wait_for(server.workers, "no worker")
        flow = server.flow(shared.root)
        shared.wait_for_slow_stage()
        (shared.root / "slow").unlink()
        stage = stage_process(shared)
        killed = flow_of(stage)
        assert killed.pid != flow.pid
        killed.kill()
        text = output(flow)
        assert "the worker that ran train was lost" in text
        assert server.states("stage")[-2:] == ["Crashed", "Completed"]
        assert shared.ran() == ["sample", "validate", "train", "train", "evaluate", "report"]
        assert not stage.is_running()

        shared.edit("toy.py", 'print("fitting", flush=True)', 'sys.exit("error: no luck")')
        runs = len(server.states("stage"))
        text = output(server.flow(shared.root, "--force"), 1)
        assert text.rstrip().endswith("error: no luck")
        assert server.states("stage")[runs:] == ["Failed"]


def test_interrupted_flow_terminates_its_stage_on_the_worker(
    shared: Project, server: Server, tmp_path: Path
) -> None:
    (shared.root / "slow").touch()
    with server.worker(shared.root, tmp_path / "gpu"):
        wait_for(server.workers, "no worker")
        flow = server.flow(shared.root)
        shared.wait_for_slow_stage()
        stage = stage_process(shared)
        flow.send_signal(signal.SIGTERM)
        output(flow, 143)
        wait_for(lambda: not shared.is_slow_stage_alive(), "the stage is still running")
        wait_for(
            lambda: server.states("stage")[-1] in ("Cancelled", "Crashed"), "the run has not ended"
        )
        assert not stage.is_running()


def test_reports_a_worker_that_uses_another_folder(
    shared: Project, done: Project, server: Server
) -> None:
    give_code(done.root)
    with server.worker(done.root, done.root / "gpu"):
        wait_for(server.workers, "no worker")
        text = output(server.flow(shared.root), 1)
    assert re.search(r"^error: stage 'train' completed on a worker, .* to clone$", text, re.M)
