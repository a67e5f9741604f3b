"""Remove what a project registered under former names, so that no schedule runs twice.

Earlier versions used names without the project's (``train/train``, pools ``cpu`` and ``gpu``), and
a project may have been renamed since.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    DeploymentFilterTags,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from flows.project import TAG_PREFIX, Project
from flows.service import automations
from flows.service.claims import former_names, release
from flows.service.processes import POOLS
from flows.service.watchdog import UNFINISHED, end

UNSCOPED = (
    "train/train",
    "stage/gpu",
    "predict/predict",
    "label-curve/label-curve",
    "monitor/monitor",
)
UNSCOPED_AUTOMATIONS = (
    "semigen: crash silent runs",
    "semigen: crash runs stuck pending",
    "semigen: notify webhook",
    "semigen: train on drift.detected",
    "semigen: train on data.changed",
)


@dataclass(frozen=True)
class Former:
    """What was registered under a former name.

    Attributes:
        deployments: Deployments to delete, with their scheduled runs.
        pools: Work pools to delete if no other deployment uses them.
        automations: Names of automations to delete.
        webhook: Block to delete, which holds the URL of the webhook.
    """

    deployments: list[DeploymentResponse]
    pools: Iterable[str]
    automations: Iterable[str]
    webhook: str

    def remove(self, client: SyncPrefectClient) -> None:
        """Delete everything; crash runs that are unfinished."""
        for deployment in self.deployments:
            _crash_runs(client, deployment)
            client.delete_deployment(deployment.id)
        for pool in self.pools:
            _delete_pool(client, pool)
        automations.remove(client, self.automations)
        with contextlib.suppress(ObjectNotFound):
            block = client.read_block_document_by_name(self.webhook, "webhook")
            client.delete_block_document(block.id)


def remove_former(client: SyncPrefectClient, project: Project, *, owns_server: bool) -> None:
    """Remove what the project registered under former names.

    Args:
        client: Client of the server.
        project: The project under its present name.
        owns_server: Whether no other project uses the server. Names without a project's may
            otherwise be another project's.
    """
    if owns_server:
        _unscoped(client, project).remove(client)
    for former in former_names(client, project):
        _renamed(client, former).remove(client)
        release(client, former)


def _unscoped(client: SyncPrefectClient, project: Project) -> Former:
    found = []
    for name in UNSCOPED:
        with contextlib.suppress(ObjectNotFound):
            deployment = client.read_deployment_by_name(name)
            # A project called "train" has a deployment train/train too.
            if not any(tag.startswith(TAG_PREFIX) for tag in deployment.tags):
                found.append(deployment)
    own = automations.names_of(project)
    names = [name for name in UNSCOPED_AUTOMATIONS if name not in own]
    return Former(found, POOLS if found else (), names, "semigen-notifications")


def _renamed(client: SyncPrefectClient, former: Project) -> Former:
    tag = DeploymentFilter(tags=DeploymentFilterTags(all_=[former.tag]))
    return Former(
        client.read_deployments(deployment_filter=tag),
        [former.pool(kind) for kind in POOLS],
        automations.names_of(former),
        automations.webhook_of(former),
    )


def _crash_runs(client: SyncPrefectClient, deployment: DeploymentResponse) -> None:
    of_deployment = DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=UNFINISHED))
    unfinished = FlowRunFilter(state=state)
    for run in client.read_flow_runs(flow_run_filter=unfinished, deployment_filter=of_deployment):
        end(client, run, "Its deployment was removed.")


def _delete_pool(client: SyncPrefectClient, name: str) -> None:
    used = WorkPoolFilter(name=WorkPoolFilterName(any_=[name]))
    if not client.read_deployments(work_pool_filter=used):
        with contextlib.suppress(ObjectNotFound):
            client.delete_work_pool(name)
