"""The watchdog beside a real server: which runs it ends that have no process on this machine."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.service.watchdog import LONGEST_SILENCE, Watchdog
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


def running(server: Server, *ages: timedelta) -> str:
    """Return the name of a run at work elsewhere that gave heartbeats so long ago."""
    flow = server.post("flows/", {"name": "train"})["id"]
    name = f"run-{uuid.uuid4()}"
    state = {"type": "RUNNING", "name": "Running"}
    run = server.post("flow_runs/", {"flow_id": flow, "name": name, "state": state})["id"]
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
    kept = {"filter": {"resource": {"id": [resource["prefect.resource.id"]]}}}
    wait_for(
        lambda: (
            sum(
                e["event"].endswith("heartbeat")
                for e in server.post("events/filter", kept)["events"]
            )
            == len(ages)
        )
    )
    return name


def test_run_that_fell_silent_before_it_was_ever_seen_is_ended(
    server: Server, tmp_path: Path
) -> None:
    """Its worker, its server and the watchdog were killed with it, and all of them forgot it."""
    silent = running(server, LONGEST_SILENCE + 2 * A_MINUTE, LONGEST_SILENCE + A_MINUTE)
    running(server, LONGEST_SILENCE + A_MINUTE, A_MINUTE)  # it still gives signs of life
    running(server)  # it never gave one
    watchdog = Watchdog(tmp_path)
    with (
        temporary_settings({PREFECT_API_URL: server.url}),
        get_client(sync_client=True) as client,
    ):
        assert watchdog.look(client) == [silent]
        assert watchdog.look(client) == []
    assert sorted(server.states("train")) == ["Crashed", "Running", "Running"]
