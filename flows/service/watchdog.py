"""End runs of this machine whose process is gone; ``make ui`` keeps this at work.

Workers report a run whose process died, and automations of the server end what falls silent. Both
fail when they die as well: a worker that is killed reports nothing, and a server forgets the events
that it had not dealt with. Then a run would stay Pending or Running for ever and, because of the
limit of one, keep every later retraining out. This process may be killed with them, before it ever
saw the run: heartbeats that the server has kept tell of such ones.
"""

from __future__ import annotations

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
from flows.service.automations import PENDING_SECONDS, SILENT_SECONDS
from semigen.artifacts import read_json, write_json
from semigen.errors import UserError

LOOK_SECONDS = 5.0
RUN_ID = "PREFECT__FLOW_RUN_ID"
"""Names the flow run in the environment of its process and of all that it started."""
LONGEST_SILENCE = timedelta(seconds=2 * SILENT_SECONDS)
"""After which the automation, which ends silent runs, must have missed one."""
UNFINISHED = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


@dataclass
class Watchdog:
    """What was seen of runs so far.

    Attributes:
        root: The project's folder.
        missed: Runs whose process was gone when last looked for; it may have been about to report.
    """

    root: Path
    missed: set[str] = field(default_factory=set)

    def look(self, client: SyncPrefectClient, *, without_workers: bool = False) -> list[str]:
        """End the runs that nobody works at; return their names.

        Args:
            client: Of the server that knows the runs.
            without_workers: No worker runs here that could be about to report a run's end.

        Raises:
            httpx.HTTPError: If the server does not answer.
        """
        wanted = FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=UNFINISHED))
        )
        # First the runs, then the processes: one that starts in between is seen at work.
        runs = {str(run.id): run for run in client.read_flow_runs(flow_run_filter=wanted)}
        alive = runs_at_work()
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
        """The file with the runs that had a process here; it outlives this process."""
        return self.root / SERVICE_FOLDER / "runs_seen.json"

    def _seen(self) -> set[str]:
        try:
            return set(read_json(self._memory))
        except UserError:  # there is none yet
            return set()


def runs_at_work() -> set[str]:
    """Return the flow runs that have a process on this machine."""
    found = set()
    for process in psutil.process_iter(["environ", "status"]):
        run = (process.info["environ"] or {}).get(RUN_ID)
        if run and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.add(str(UUID(run)))
    return found


def is_stuck(run: FlowRun) -> bool:
    """Return whether a run was about to start for longer than any start takes."""
    state = run.state
    if state is None or state.type is not StateType.PENDING:
        return False
    return datetime.now(UTC) - state.timestamp > timedelta(seconds=PENDING_SECONDS)


def is_silent(client: SyncPrefectClient, run: FlowRun) -> bool:
    """Return whether the last heartbeat of a run is too old, by those that the server has kept.

    A run that never gave one is not judged: Prefect can be told to do without.
    """
    beats = EventFilter(
        event=EventNameFilter(name=["prefect.flow-run.heartbeat"]),
        resource=EventResourceFilter(id=[f"prefect.flow-run.{run.id}"]),
        order=EventOrder.DESC,
    )
    found = client.read_events(beats, limit=1).events
    return bool(found) and datetime.now(UTC) - found[0].occurred > LONGEST_SILENCE


def end(client: SyncPrefectClient, run: FlowRun) -> None:
    """Give a run the state that it is in."""
    if run.state is not None and run.state.is_cancelling():
        client.set_flow_run_state(run.id, Cancelled(message="Its process has ended."))
    elif run.state is not None and run.state.is_pending():
        client.set_flow_run_state(run.id, Crashed(message="It did not start."))
    else:
        client.set_flow_run_state(run.id, Crashed(message="Its process is gone."))


def main() -> int:
    watchdog = Watchdog(Path.cwd())
    while True:
        try:
            with get_client(sync_client=True) as client:
                for name in watchdog.look(client):
                    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}  ended {name}", flush=True)
        except httpx.HTTPError as error:
            print(f"the server does not answer: {error}", flush=True)
        time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
