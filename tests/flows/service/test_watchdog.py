"""The watchdog with a real server: which runs without a process on this machine it crashes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.project import Project
from flows.service.watchdog import MAX_SILENCE, Watchdog
from tests.flows.common import wait_for
from tests.flows.servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
A_MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]
) -> Iterator[Server]:
    with Server.started(tmp_path_factory.mktemp("server"), environment) as found:
        yield found


def running(server: Server, *ages: timedelta, tag: str = "project:churn") -> str:
    """Return the name of a new flow run of another host with heartbeats of some ages."""
    flow = server.post("flows/", {"name": "train"})["id"]
    name = f"run-{uuid.uuid4()}"
    content = {"flow_id": flow, "name": name, "tags": [tag]}
    content["state"] = {"type": "RUNNING", "name": "Running"}
    run = server.post("flow_runs/", content)["id"]
    resource = {"prefect.resource.id": f"prefect.flow-run.{run}"}
    beats = [
        {
            "id": str(uuid.uuid4()),
            "occurred": (datetime.now(UTC) - age).isoformat(),
            "event": "prefect.flow-run.heartbeat",
            "resource": resource,
        }
        for age in ages
    ]
    if beats:
        server.post("events", beats)
    stored = {"filter": {"resource": {"id": [resource["prefect.resource.id"]]}}}
    wait_for(
        lambda: (
            sum(
                e["event"].endswith("heartbeat")
                for e in server.post("events/filter", stored)["events"]
            )
            == len(ages)
        )
    )
    return name


def test_crashes_only_own_runs_without_recent_heartbeats(server: Server, tmp_path: Path) -> None:
    """Worker, server and watchdog were killed with the run before the watchdog saw it."""
    old = (MAX_SILENCE + 2 * A_MINUTE, MAX_SILENCE + A_MINUTE)
    silent = running(server, *old)
    running(server, MAX_SILENCE + A_MINUTE, A_MINUTE)  # still alive
    running(server)  # without heartbeats
    running(server, *old, tag="project:another")
    watchdog = Watchdog(Project(tmp_path, "churn"))
    with (
        temporary_settings({PREFECT_API_URL: server.url}),
        get_client(sync_client=True) as client,
    ):
        assert watchdog.look(client) == [silent]
        assert watchdog.look(client) == []
    assert sorted(server.states("train")) == ["Crashed", "Running", "Running", "Running"]
