"""Crash the project's flow runs whose process is gone; ``semigen up`` keeps this process running.

The process also names the planned runs of schedules.

A worker reports a flow run whose process died, unless the worker is killed too. The run would then
stay Pending or Running and, because of the concurrency limit of one, keep out every later
retraining. This process looks for the processes of the runs. A run whose process is alive is never
crashed, even if its heartbeats are lost, as on a busy server. Runs without a process on this host,
those of other hosts among them, are judged by the heartbeats that the server has stored.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx
import psutil
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events.filters import (
    EventFilter,
    EventNameFilter,
    EventOrder,
    EventResourceFilter,
)
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed

from flows.environment import HEARTBEAT_SECONDS
from flows.login import SERVICE_FOLDER
from flows.project import Project
from flows.run_process import RUN_ID, forget_process, recorded_processes
from flows.service.planned import name_planned_runs
from flows.service.pools import PROCESS
from semigen.artifacts import read_json, write_json
from semigen.errors import UserError
from tasks.process_lifetime import processes_with

INTERVAL_SECONDS = 5.0
GONE = f"Its process on {socket.gethostname()} exited without a report: killed, or out of memory."
MAX_SILENCE = timedelta(seconds=6 * HEARTBEAT_SECONDS)
"""Maximum age of the last heartbeat of a run that may be alive on another host."""
MAX_PENDING = {PROCESS: timedelta(minutes=3)}
"""Maximum time that a run stays Pending, for each type of work pool: a worker starts a process in
seconds."""
MAX_PENDING_ELSEWHERE = timedelta(hours=1)
"""The same for all other types: to pull an image or to start a machine with a GPU takes minutes."""
UNFINISHED = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


@dataclass
class Watchdog:
    """State of the watchdog of one project.

    Attributes:
        project: The project whose flow runs are checked.
        missed: Ids of the runs that had no process at the last check; their worker may still have
            been about to report them.
    """

    project: Project
    missed: set[str] = field(default_factory=set)

    def look(self, client: SyncPrefectClient, *, without_workers: bool = False) -> list[str]:
        """Crash the runs that no process works on; return their names and the reasons.

        Args:
            client: Client of the server.
            without_workers: No worker runs on this machine that could still report a run.

        Raises:
            httpx.HTTPError: If the server does not answer.
        """
        # Read the runs before the processes: a run that starts in between then has a process.
        runs = {str(run.id): run for run in unfinished_runs(client, self.project)}
        by_hand = recorded_processes(self.project.root)
        alive = runs_with_process() | {run for run, is_alive in by_hand.items() if is_alive}
        seen = (self._seen() | alive | set(by_hand)) & set(runs)
        lost = seen - alive
        reasons = dict.fromkeys(lost if without_workers else lost & self.missed, GONE)
        for key, run in runs.items():
            if key not in alive and key not in reasons:
                reason = reason_pending(client, run) or reason_silent(client, run)
                reasons |= {key: reason} if reason else {}
        for key, reason in reasons.items():
            end(client, runs[key], reason)
        for key in set(by_hand) - alive - set(runs):
            forget_process(self.project.root, key)
        self.missed = lost
        write_json(self._memory, sorted(seen), durable=False)
        return [f"{runs[key].name}: {reason}" for key, reason in reasons.items()]

    @property
    def _memory(self) -> Path:
        """File with the runs that had a process on this machine; it outlives this process."""
        return self.project.root / SERVICE_FOLDER / "runs_seen.json"

    def _seen(self) -> set[str]:
        try:
            return set(read_json(self._memory))
        except UserError:  # no file yet
            return set()


def unfinished_runs(client: SyncPrefectClient, project: Project) -> list[FlowRun]:
    """Return the flow runs of a project that have started, or are starting, and have not ended."""
    wanted = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=UNFINISHED)),
        tags=FlowRunFilterTags(all_=[project.tag]),
    )
    return client.read_flow_runs(flow_run_filter=wanted)


def runs_with_process() -> set[str]:
    """Return the ids of the flow runs that have a process on this machine."""
    found = set()
    for process in processes_with(RUN_ID):
        with contextlib.suppress(psutil.Error):
            found.add(str(UUID(process.environ()[RUN_ID])))
    return found


def reason_pending(client: SyncPrefectClient, run: FlowRun) -> str | None:
    """Return a message if a run has been Pending for longer than a start can take."""
    state = run.state
    if state is None or state.type is not StateType.PENDING:
        return None
    age = datetime.now(UTC) - state.timestamp
    if age <= min(MAX_PENDING.values()) or age <= max_pending(client, run.work_pool_name):
        return None
    where = f"a worker of the work pool {run.work_pool_name}" if run.work_pool_name else "a process"
    return f"It has not started {_seconds(age)} after it was given to {where}."


def max_pending(client: SyncPrefectClient, pool: str | None) -> timedelta:
    """Return for how long a run of a work pool may stay Pending; None is a run by hand."""
    kind = PROCESS
    if pool is not None:
        with contextlib.suppress(ObjectNotFound):
            kind = client.read_work_pool(pool).type
    return MAX_PENDING.get(kind, MAX_PENDING_ELSEWHERE)


def reason_silent(client: SyncPrefectClient, run: FlowRun) -> str | None:
    """Return a message if the last stored heartbeat of a run is too old.

    A run without any heartbeat is not silent: heartbeats can be disabled in Prefect.
    """
    beats = EventFilter(
        event=EventNameFilter(name=["prefect.flow-run.heartbeat"]),
        resource=EventResourceFilter(id=[f"prefect.flow-run.{run.id}"]),
        order=EventOrder.DESC,
    )
    found = client.read_events(beats, limit=1).events
    silence = datetime.now(UTC) - found[0].occurred if found else timedelta(0)
    if silence <= MAX_SILENCE:
        return None
    return f"No heartbeat for {_seconds(silence)}, and no process of it on {socket.gethostname()}."


def _seconds(duration: timedelta) -> str:
    return f"{duration.total_seconds():.0f} s"


def end(client: SyncPrefectClient, run: FlowRun, reason: str) -> None:
    """Set the final state of a run that no process works on."""
    state = Cancelled if run.state is not None and run.state.is_cancelling() else Crashed
    client.set_flow_run_state(run.id, state(message=reason))


def main() -> int:
    watchdog = Watchdog(Project.of(Path.cwd()))
    while True:
        try:
            with get_client(sync_client=True) as client:
                for run in watchdog.look(client):
                    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}  crashed {run}", flush=True)
                name_planned_runs(client, watchdog.project)
        except httpx.HTTPError as error:
            print(f"the server does not answer: {error}", flush=True)
        time.sleep(INTERVAL_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
