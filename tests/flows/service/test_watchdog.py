"""The watchdog with a real server: which runs without a process on this machine it crashes."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from benchmarks.server_api import ask
from flows.project import Project
from flows.run_process import recorded_processes
from flows.service.watchdog import GONE, MAX_SILENCE, Watchdog
from tests.flows.common import REPOSITORY, wait_for
from tests.flows.servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
A_MINUTE = timedelta(minutes=1)
TAG = "project:churn"


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]
) -> Iterator[Server]:
    with Server.started(tmp_path_factory.mktemp("server"), environment) as found:
        yield found


def running(server: Server, *ages: timedelta, tag: str = TAG) -> tuple[str, str]:
    """Return id and name of a new flow run without a process, with heartbeats of some ages."""
    run, name = started(server, "Running", tags=[tag])
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
    return run, name


def started(server: Server, state: str, **fields: object) -> tuple[str, str]:
    """Return id and name of a new flow run in a state."""
    flow = server.post("flows/", {"name": "train"})["id"]
    content = {"flow_id": flow, "name": f"run-{uuid.uuid4()}", "tags": [TAG], **fields}
    content["state"] = {"type": state.upper(), "name": state}
    run = server.post("flow_runs/", content)
    return str(run["id"]), str(run["name"])


@contextmanager
def client_of(server: Server) -> Iterator[SyncPrefectClient]:
    with (
        temporary_settings({PREFECT_API_URL: server.url}),
        get_client(sync_client=True) as client,
    ):
        yield client


def state_of(server: Server, run: str) -> tuple[str, str]:
    found = ask("GET", f"{server.url}/flow_runs/{run}")["state"]
    return found["name"], found["message"]


def test_crashes_only_own_runs_without_recent_heartbeats(server: Server, tmp_path: Path) -> None:
    """Worker, server and watchdog were killed with the run before the watchdog saw it."""
    old = (MAX_SILENCE + 2 * A_MINUTE, MAX_SILENCE + A_MINUTE)
    silent, name = running(server, *old)
    others = [
        running(server, MAX_SILENCE + A_MINUTE, A_MINUTE),  # still alive
        running(server),  # without heartbeats
        running(server, *old, tag="project:another"),
    ]
    watchdog = Watchdog(Project(tmp_path, "churn"))
    with client_of(server) as client:
        (told,) = watchdog.look(client)
        assert watchdog.look(client) == []
    assert told.startswith(f"{name}: No heartbeat for ")
    state, message = state_of(server, silent)
    assert state == "Crashed"
    assert re.fullmatch(r"No heartbeat for 2\d\d s, and no process of it on .+\.", message)
    assert {state_of(server, run)[0] for run, _ in others} == {"Running"}


def test_asks_the_process_of_a_run_by_hand_before_it_crashes_the_run(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy server may have lost all recent heartbeats of a healthy run."""
    run, _ = running(server, MAX_SILENCE + A_MINUTE)
    monkeypatch.chdir(tmp_path)
    record = (
        "import sys, time, types; from prefect.settings import *; from flows.run_process import *;"
        "record_process(None, types.SimpleNamespace(id=sys.argv[1]), None);"
        "print(flush=True); time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", record, run],
        stdout=subprocess.PIPE,
        env={**server.environment, "PYTHONPATH": str(REPOSITORY)},
    )
    watchdog = Watchdog(Project(tmp_path, "churn"))
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        with client_of(server) as client:
            for _ in range(3):
                assert watchdog.look(client) == []
            assert state_of(server, run)[0] == "Running"
            process.kill()
            process.wait()
            Watchdog(Project(tmp_path, "churn")).look(client, without_workers=True)
    finally:
        process.kill()
        process.wait()
    assert state_of(server, run) == ("Crashed", GONE)
    assert list(recorded_processes(tmp_path)) == [run]
    with client_of(server) as client:
        watchdog.look(client)
    assert list(recorded_processes(tmp_path)) == [], "records of ended runs are removed"


@pytest.mark.parametrize(
    ("kind", "age", "state"),
    [
        ("process", timedelta(minutes=2), "Pending"),
        ("process", timedelta(minutes=4), "Crashed"),
        ("kubernetes", timedelta(minutes=30), "Pending"),  # pulls an image, waits for a GPU
        ("kubernetes", timedelta(minutes=70), "Crashed"),
    ],
)
def test_patience_with_pending_runs_depends_on_the_type_of_the_work_pool(
    server: Server, tmp_path: Path, kind: str, age: timedelta, state: str
) -> None:
    pool = f"pool-{uuid.uuid4()}"
    server.post("work_pools/", {"name": pool, "type": kind})
    run, _ = started(server, "Pending", work_pool_name=pool)
    with closing(sqlite3.connect(server.home / "prefect.db", timeout=60)) as database:
        entered = (datetime.now(UTC) - age).strftime("%Y-%m-%d %H:%M:%S.%f")
        changed = database.execute(
            "UPDATE flow_run_state SET timestamp = ? WHERE flow_run_id = ?", (entered, run)
        )
        database.commit()
    assert changed.rowcount == 1
    with client_of(server) as client:
        Watchdog(Project(tmp_path, "churn")).look(client)
    found, message = state_of(server, run)
    assert found == state
    if state == "Crashed":
        assert f"after it was given to a worker of the work pool {pool}" in message
