"""The output of a stage that runs on a worker, for the terminal of the flow that waits for it."""

from __future__ import annotations

import time
from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId, LogFilterTimestamp
from prefect.client.schemas.objects import Log
from prefect.types import DateTime

LOGGER = "prefect.flow_runs"
"""Logger of the run itself; the worker logs under other names."""
OF_PREFECT = ("Beginning flow run ", END := "Finished in state ", "View at ")
"""Prefect's own messages, which are not relayed."""
OVERLAP = timedelta(seconds=10)
"""A process sends its lines in batches, so lines may arrive after later lines of another one."""
PAGE = 200
"""Maximum number of lines that the server returns at once."""
WAIT_SECONDS = 5.0
POLL_SECONDS = 0.2


class RunLog:
    """The lines that a flow run logs, each of which is returned once.

    Args:
        run: Id of the flow run.
    """

    def __init__(self, run: UUID) -> None:
        self.run = run
        self.seen: set[UUID] = set()
        self.latest: DateTime | None = None
        self.has_ended = False

    def new_lines(self, client: SyncPrefectClient) -> list[str]:
        """Return the lines that have arrived since the last call.

        Raises:
            httpx.HTTPError: If the server does not answer.
        """
        return [line for log in self._new_logs(client) for line in self._line(log)]

    def last_lines(self, client: SyncPrefectClient) -> list[str]:
        """Return the last lines of a run that has ended; its process sends them after its state.

        Raises:
            httpx.HTTPError: If the server does not answer.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        lines = self.new_lines(client)
        while not self.has_ended and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            lines += self.new_lines(client)
        return lines

    def _new_logs(self, client: SyncPrefectClient) -> list[Log]:
        after = self.latest and self.latest - OVERLAP
        wanted = LogFilter(
            flow_run_id=LogFilterFlowRunId(any_=[self.run]),
            timestamp=LogFilterTimestamp(after_=after),
        )
        found: list[Log] = []
        while len(page := client.read_logs(wanted, limit=PAGE, offset=len(found))) == PAGE:
            found += page
        new = [log for log in [*found, *page] if log.id not in self.seen]
        self.seen.update(log.id for log in new)
        self.latest = max([log.timestamp for log in new], default=self.latest)
        return new

    def _line(self, log: Log) -> list[str]:
        """Return the line of a log record, or nothing for one of Prefect or the worker."""
        if log.name != LOGGER:
            return []
        self.has_ended = self.has_ended or log.message.startswith(END)
        return [] if log.message.startswith(OF_PREFECT) else [log.message]
