"""Two projects on one server, and what earlier versions registered there."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.aftermath import wait_until
from flows.login import login_file
from flows.service.former import UNSCOPED_AUTOMATIONS
from tests.flows.common import give_code, wait_for
from tests.flows.servers import Server
from tests.flows.services import Running, running

if TYPE_CHECKING:
    from conftest import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
EVERY_MINUTE = 'retrain: {cron: "* * * * *"}\nmonitor: {cron: null}\n'
NEVER = "retrain: {cron: null}\nmonitor: {cron: null}\n"


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]
) -> Iterator[Server]:
    with Server.started(tmp_path_factory.mktemp("server"), environment) as found:
        yield found


def copy_of(project: Project, name: str, schedules: str = NEVER) -> Project:
    """Return a copy of a project with its own folder and name."""
    root = project.root.with_name(f"{project.root.name}-{name}")
    shutil.copytree(project.root, root)
    give_code(root)
    rename(root, name)
    with (root / "params.yaml").open("a") as params:
        params.write(schedules)
    return type(project)(root, project.environment)


def rename(root: Path, name: str) -> None:
    lines = (root / "prefect.yaml").read_text().splitlines()
    lines = [f"name: {name}" if line.startswith("name:") else line for line in lines]
    (root / "prefect.yaml").write_text("\n".join(lines) + "\n")


@contextmanager
def shared(project: Project, server: Server) -> Iterator[Running]:
    with running(project, PREFECT_API_URL=server.url) as found:
        yield found


def runs(server: Server, project: str, *states: str) -> list[dict[str, Any]]:
    """Return the runs of a project's deployment ``train`` in some states; in all by default."""
    wanted: dict[str, Any] = {
        "flows": {"name": {"any_": ["train"]}},
        "deployments": {"name": {"any_": [project]}},
    }
    if states:
        wanted["flow_runs"] = {"state": {"type": {"any_": list(states)}}}
    return list(server.post("flow_runs/filter", wanted))


def completed(server: Server, project: str, n: int = 1) -> bool:
    return len(runs(server, project, "COMPLETED")) >= n


def await_runs(server: Server, project: str, n: int = 1) -> None:
    """Wait for some completed runs; SQLite may block a server with two projects for a minute."""
    assert wait_until(lambda: completed(server, project, n), 300, pause=1), f"{project}: no run"


def test_two_scheduled_projects_share_a_server_and_one_is_killed(
    settled: Project, server: Server
) -> None:
    churn, fraud = copy_of(settled, "churn", EVERY_MINUTE), copy_of(settled, "fraud", EVERY_MINUTE)
    with shared(churn, server) as first, shared(fraud, server) as second:
        names = {d["name"] for d in server.post("deployments/filter", {})}
        assert names == {"churn", "churn-gpu", "fraud", "fraud-gpu"}
        assert not [p for p in first.processes() if "server" in p.cmdline()]
        for name in ("churn", "fraud"):
            await_runs(server, name)

        pid = first.service.supervisor_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not first.processes(), "the killed project is still running")
        await_runs(server, "fraud", len(runs(server, "fraud", "COMPLETED")) + 1)
        assert second.processes()

        first.semigen("up")
        await_runs(server, "churn", len(runs(server, "churn", "COMPLETED")) + 1)
        for root, name in ((churn.root, "churn"), (fraud.root, "fraud")):
            for run in runs(server, name, "COMPLETED"):
                assert run["work_pool_name"] == f"{name}-cpu"
                assert f"project:{name}" in run["tags"]
            assert (root / "ran").exists()
    for name in ("churn", "fraud"):
        assert runs(server, name, "SCHEDULED") == [], "semigen down deactivates the schedules"


def test_second_project_needs_the_login_of_the_first(settled: Project) -> None:
    first, second = copy_of(settled, "first"), copy_of(settled, "second")
    with running(first) as own:
        address = {"PREFECT_API_URL": own.service.api_url}
        refused = second.run("flows.service.cli", "up", **address)
        assert refused.returncode == 1
        assert "requires a login: set PREFECT_API_AUTH_STRING" in refused.stderr
        login = login_file(first.root).read_text().strip()
        with running(second, **address, PREFECT_API_AUTH_STRING=login) as guest:
            run = guest.start()
            wait_for(lambda: guest.state_of(run) == "COMPLETED")
        files = [path for path in second.root.rglob("*") if path.is_file()]
        assert [path for path in files if login.encode() in path.read_bytes()] == []


def test_refuses_the_name_of_another_folder(settled: Project, server: Server) -> None:
    first = copy_of(settled, "claims")
    with shared(first, server):
        second = copy_of(settled, "other")
        rename(second.root, "claims")
        refused = second.run("flows.service.cli", "up", PREFECT_API_URL=server.url)
        assert refused.returncode == 1
        assert f"project 'claims' on this server belongs to {first.root}" in refused.stderr
        rename(second.root, "other")
        with shared(second, server) as found:
            rename(second.root, "Re_named")
            found.semigen("up")
            names = {d["name"] for d in server.post("deployments/filter", {})}
            assert {"claims", "Re_named", "Re_named-gpu"} <= names
            assert not {"other", "other-gpu"} & names
    shutil.rmtree(first.root)
    third = copy_of(settled, "third")
    rename(third.root, "claims")
    with shared(third, server):
        pass  # the folder that claimed the name is gone


def test_own_server_forgets_names_of_earlier_versions(settled: Project) -> None:
    project = copy_of(settled, "train")  # whose deployment train/train is not one of the old ones
    with running(project) as service:
        flow = service.post("flows/", {"name": "monitor"})["id"]
        service.post("work_pools/", {"name": "cpu", "type": "process"})
        old = {"name": "monitor", "flow_id": flow, "work_pool_name": "cpu", "paused": False}
        old["schedules"] = [{"schedule": {"cron": "* * * * *"}}]
        service.post("deployments/", old)
        trigger = {"type": "event", "expect": ["x"], "posture": "Reactive", "threshold": 1}
        action = {"type": "do-nothing"}
        for name in (*UNSCOPED_AUTOMATIONS, "train: crash silent runs"):
            content = {"name": name, "trigger": trigger, "actions": [action]}
            service.post("automations/", content)
        service.semigen("up")
        found = {d["name"] for d in service.post("deployments/filter", {})}
        assert found == {"train", "train-gpu"}
        pools = {pool["name"] for pool in service.post("work_pools/filter", {})}
        assert pools == {"train-cpu", "train-gpu"}
        automations = {a["name"] for a in service.post("automations/filter", {})}
        assert automations == set()
        scheduled = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
        assert service.post("flow_runs/filter", scheduled) == []
        assert service.get("deployments/name/train/train")
