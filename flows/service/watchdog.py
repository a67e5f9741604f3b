"""Crash the project's flow runs whose process is gone; ``semigen up`` keeps this process running.

A worker reports a flow run whose process died, and automations of the server crash runs without
heartbeats. Both fail if they are killed too: a killed worker reports nothing, and a server that
restarts forgets the events that it had not processed. The run would then stay Pending or Running
and, because of the concurrency limit of one, keep out every later retraining. This process may be
killed as well before it has seen a run: such runs are recognized by the heartbeats that the server
has stored.
"""

from __future__ import annotations

import contextlib
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
from prefect.states import Cancelled, Crashed

from flows.environment import SERVICE_FOLDER
from flows.project import Project
from flows.service.automations import PENDING_SECONDS, SILENT_SECONDS
from semigen.artifacts import read_json, write_json
from semigen.errors import UserError
from tasks.process_lifetime import processes_with

INTERVAL_SECONDS = 5.0
RUN_ID = "PREFECT__FLOW_RUN_ID"
"""Environment variable of a flow run's processes: the id of the run."""
MAX_SILENCE = timedelta(seconds=2 * SILENT_SECONDS)
"""Age of the last heartbeat above which the automation must have missed the run."""
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
        """Crash the runs that no process works on; return their names.

        Args:
            client: Client of the server.
            without_workers: No worker runs on this machine that could still report a run.

        Raises:
            httpx.HTTPError: If the server does not answer.
        """
        # Read the runs before the processes: a run that starts in between then has a process.
        runs = {str(run.id): run for run in unfinished_runs(client, self.project)}
        alive = runs_with_process()
        seen = (self._seen() | alive) & set(runs)
        lost = seen - alive
        ended = [runs[run] for run in (lost if without_workers else lost & self.missed)]
        others = [run for key, run in runs.items() if key not in alive and run not in ended]
        ended += [run for run in others if is_stuck(run) or is_silent(client, run)]
        for run in ended:
            end(client, run)
        self.missed = lost
        write_json(self._memory, sorted(seen))
        return [run.name for run in ended]

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


def is_stuck(run: FlowRun) -> bool:
    """Return whether a run has been Pending for longer than a start can take."""
    state = run.state
    if state is None or state.type is not StateType.PENDING:
        return False
    return datetime.now(UTC) - state.timestamp > timedelta(seconds=PENDING_SECONDS)


def is_silent(client: SyncPrefectClient, run: FlowRun) -> bool:
    """Return whether the last stored heartbeat of a run is too old.

    A run without any heartbeat is not silent: heartbeats can be disabled in Prefect.
    """
    beats = EventFilter(
        event=EventNameFilter(name=["prefect.flow-run.heartbeat"]),
        resource=EventResourceFilter(id=[f"prefect.flow-run.{run.id}"]),
        order=EventOrder.DESC,
    )
    found = client.read_events(beats, limit=1).events
    return bool(found) and datetime.now(UTC) - found[0].occurred > MAX_SILENCE


def end(client: SyncPrefectClient, run: FlowRun) -> None:
    """Set the final state of a run that no process works on."""
    if run.state is not None and run.state.is_cancelling():
        client.set_flow_run_state(run.id, Cancelled(message="Its process has exited."))
    elif run.state is not None and run.state.is_pending():
        client.set_flow_run_state(run.id, Crashed(message="It did not start."))
    else:
        client.set_flow_run_state(run.id, Crashed(message="Its process is gone."))


def main() -> int:
    watchdog = Watchdog(Project.of(Path.cwd()))
    while True:
        try:
            with get_client(sync_client=True) as client:
                for name in watchdog.look(client):
                    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}  crashed {name}", flush=True)
        except httpx.HTTPError as error:
            print(f"the server does not answer: {error}", flush=True)
        time.sleep(INTERVAL_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
