"""Automations of the server for one project: notify a webhook.

None of them crashes runs: the server cannot see whether a run's process is alive, and on a busy
server it loses heartbeats. ``flows.service.watchdog`` looks at the processes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from datetime import timedelta

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import CallWebhook
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from flows.events import DRIFT_DETECTED, MODEL_PROMOTED, project_id
from flows.project import Project

WEBHOOK_URL = "SEMIGEN_WEBHOOK_URL"
"""Environment variable of ``semigen up``: URL that is notified of failures, promotions and drift.
It is stored encrypted in a Prefect block."""
FAILURES = {"prefect.flow-run.Failed", "prefect.flow-run.Crashed"}
FINDINGS = {DRIFT_DETECTED, MODEL_PROMOTED}
PAYLOAD = (
    '{"event": "{{ event.event }}", "payload": {{ event.payload | tojson }}, '
    '"message": {{ (event.resource["prefect.state-message"] or "") | tojson }}, '
    '"run": "{{ event.resource.name or event.resource.id }}", '
    '"occurred": "{{ event.occurred }}"}'
)


@dataclass(frozen=True)
class Names:
    """Names of a project's automations; earlier versions registered the first two."""

    silent: str
    pending: str
    failures: str
    findings: str


def names_of(project: Project) -> tuple[str, ...]:
    """Return the names of a project's automations."""
    return astuple(_names(project))


def webhook_of(project: Project) -> str:
    """Return the name of the block that holds the URL of a project's webhook."""
    return f"semigen-notifications-{project.key}"


def _names(project: Project) -> Names:
    return Names(
        silent=f"{project.name}: crash silent runs",
        pending=f"{project.name}: crash runs stuck pending",
        failures=f"{project.name}: notify of failures",
        findings=f"{project.name}: notify of drift and promotions",
    )


def register(client: SyncPrefectClient, project: Project) -> None:
    """Create or update the automations of a project.

    Notifications are removed if no webhook is set, and so are automations of earlier versions.
    """
    names = _names(project)
    for automation in notifications(project):
        _save(client, automation)
    remove(client, (names.silent, names.pending))
    if not os.environ.get(WEBHOOK_URL):
        remove(client, (names.failures, names.findings))


def remove(client: SyncPrefectClient, names: Iterable[str]) -> None:
    """Delete the automations of some names."""
    for name in names:
        for automation in client.read_automations_by_name(name):
            client.delete_automation(automation.id)


def notifications(project: Project) -> list[AutomationCore]:
    """Return the automations that call the webhook, if one is set."""
    url = os.environ.get(WEBHOOK_URL)
    if not url:
        return []
    names = _names(project)
    block = Webhook(url=url, method="POST").save(webhook_of(project), overwrite=True)
    action = CallWebhook(block_document_id=block, payload=PAYLOAD)
    runs = EventTrigger(
        expect=FAILURES,
        match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
        match_related=_of_project(project),
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(0),
    )
    findings = EventTrigger(
        expect=FINDINGS,
        match=ResourceSpecification({"prefect.resource.id": [project_id(project)]}),
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(0),
    )
    return [
        AutomationCore(name=names.failures, trigger=runs, actions=[action]),
        AutomationCore(name=names.findings, trigger=findings, actions=[action]),
    ]


def _save(client: SyncPrefectClient, automation: AutomationCore) -> None:
    """Create an automation, or update the existing one of its name."""
    existing = client.read_automations_by_name(automation.name)
    for duplicate in existing[1:]:
        client.delete_automation(duplicate.id)
    if existing:
        client.update_automation(existing[0].id, automation)
    else:
        client.create_automation(automation)


def _of_project(project: Project) -> ResourceSpecification:
    """Return what selects events of a project's flow runs: its tag among the related resources."""
    return ResourceSpecification(
        {
            "prefect.resource.role": ["tag"],
            "prefect.resource.id": [f"prefect.tag.{project.tag}"],
        }
    )
