"""Names of the runs that a schedule has planned, which Prefect names at random."""

from __future__ import annotations

import contextlib

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound

from flows.project import Project

ENDING = ", planned"
SCHEDULED_BY_SERVER = "auto-scheduled"
"""Tag that Prefect gives to the runs of a schedule."""


def name_planned_runs(client: SyncPrefectClient, project: Project) -> None:
    """Name the planned runs of a project after their flows: ``train, planned``.

    Raises:
        httpx.HTTPError: If the server does not answer.
    """
    wanted = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        tags=FlowRunFilterTags(all_=[project.tag, SCHEDULED_BY_SERVER]),
    )
    for run in client.read_flow_runs(flow_run_filter=wanted):
        if not run.name.endswith(ENDING):
            with contextlib.suppress(ObjectNotFound):  # Prefect plans anew after `semigen up`
                flow = client.read_flow(run.flow_id).name
                client.update_flow_run(run.id, name=f"{flow}{ENDING}")
