"""The work pools of a project."""

from __future__ import annotations

from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound

PROCESS = "process"
"""Type of the pools whose workers run flows as processes of their host."""
TEMPLATE: dict[str, Any] = {
    "job_configuration": {"stream_output": True},
    "variables": {"type": "object", "properties": {}, "additionalProperties": False},
}
"""Base job template without variables: neither a deployment nor a run can set the command, the
environment or the working directory. The server refuses job variables, and since the template
refers to none, a worker ignores those of a run that the server has not checked."""


def ensure_pool(client: SyncPrefectClient, name: str) -> None:
    """Create a pool of processes. A pool of another type is left as it is."""
    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound:
        new = WorkPoolCreate(name=name, type=PROCESS, base_job_template=TEMPLATE)
        client.create_work_pool(new)
        return
    if pool.type == PROCESS and pool.base_job_template != TEMPLATE:
        client.update_work_pool(name, WorkPoolUpdate(base_job_template=TEMPLATE))
