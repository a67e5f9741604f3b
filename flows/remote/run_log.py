"""The output of a stage that runs on a worker, for the terminal of the flow that waits for it."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId, LogFilterTimestamp
from prefect.client.schemas.objects import Log as Record
from prefect.logging.loggers import PrefectLogAdapter
from prefect.types import DateTime

from flows.pipeline.retry import Log

OUTPUT = "prefect.flow_runs.output"
"""Logger of the stage's output. Prefect logs its own messages about the run under other names."""
END = "Finished in state "
"""Start of Prefect's last message about a run."""
OVERLAP = timedelta(seconds=10)
"""A process sends its lines in batches, so lines may arrive after later lines of another one."""
PAGE = 200
"""Maximum number of lines that the server returns at once."""
WAIT_SECONDS = 5.0
POLL_SECONDS = 0.2


def output_logger() -> Log:
    """Return a function that logs a line of output of the current flow run."""
    logger = get_run_logger()
    assert isinstance(logger, logging.LoggerAdapter)
    return PrefectLogAdapter(logging.getLogger(OUTPUT), logger.extra).info


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

    def _new_logs(self, client: SyncPrefectClient) -> list[Record]:
        after = self.latest and self.latest - OVERLAP
        wanted = LogFilter(
            flow_run_id=LogFilterFlowRunId(any_=[self.run]),
            timestamp=LogFilterTimestamp(after_=after),
        )
        found: list[Record] = []
        while len(page := client.read_logs(wanted, limit=PAGE, offset=len(found))) == PAGE:
            found += page
        new = [log for log in [*found, *page] if log.id not in self.seen]
        self.seen.update(log.id for log in new)
        self.latest = max([log.timestamp for log in new], default=self.latest)
        return new

    def _line(self, log: Record) -> list[str]:
        """Return the line of a log record, or nothing for one of Prefect or the worker."""
        if log.name == OUTPUT:
            return [log.message]
        self.has_ended = self.has_ended or log.message.startswith(END)
        return []
