"""What the server does by itself: end runs that died, retrain on events, tell people."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import CallWebhook, ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from flows.environment import HEARTBEAT_SECONDS
from flows.events import DATA_CHANGED, DRIFT_DETECTED, MODEL_PROMOTED, project_id
from semigen.artifacts import Layout
from semigen.params.config import Params

WEBHOOK_URL = "SEMIGEN_WEBHOOK_URL"
"""Names, in the environment of ``make ui``, the address that is told of failures, promotions and
drift; it is kept in a Prefect block, where it is encrypted."""
WEBHOOK_BLOCK = "semigen-notifications"
SILENT_SECONDS = 3 * HEARTBEAT_SECONDS
PENDING_SECONDS = 180
ENDED = {
    "prefect.flow-run.Completed",
    "prefect.flow-run.Failed",
    "prefect.flow-run.Cancelled",
    "prefect.flow-run.Crashed",
    "prefect.flow-run.Cached",
}
NEWS = {
    DRIFT_DETECTED,
    MODEL_PROMOTED,
    "prefect.flow-run.Failed",
    "prefect.flow-run.Crashed",
}


@dataclass(frozen=True)
class Registered:
    """An automation and whether the project wants it."""

    automation: AutomationCore
    is_wanted: bool = True

    def register(self, client: SyncPrefectClient) -> None:
        """Create or update the automation of its name; delete it if it is not wanted."""
        known = client.read_automations_by_name(self.automation.name)
        for old in known[1:] if self.is_wanted else known:
            client.delete_automation(old.id)
        if self.is_wanted and known:
            client.update_automation(known[0].id, self.automation)
        elif self.is_wanted:
            client.create_automation(self.automation)


def watchdogs() -> list[Registered]:
    """Return what ends runs whose process died without a word.

    A flow run that was killed together with its worker would stay Running, one whose worker died
    while starting it Pending, both for ever.
    """
    return [
        Registered(
            _watchdog(
                "semigen: crash silent runs",
                f"No sign of life for {SILENT_SECONDS} s.",
                after={"prefect.flow-run.heartbeat"},
                expect={"prefect.flow-run.heartbeat", *ENDED},
                seconds=SILENT_SECONDS,
            )
        ),
        Registered(
            _watchdog(
                "semigen: crash runs stuck pending",
                f"Not started after {PENDING_SECONDS} s.",
                after={"prefect.flow-run.Pending"},
                expect={"prefect.flow-run.Running", "prefect.flow-run.Scheduled", *ENDED},
                seconds=PENDING_SECONDS,
            )
        ),
    ]


def responses(client: SyncPrefectClient, params: Params, root: Path) -> list[Registered]:
    """Return what starts ``train`` on events of ``monitor``, as ``retrain`` wants it."""
    train = client.read_deployment_by_name("train/train")
    wanted = {DRIFT_DETECTED: params.retrain.on_drift, DATA_CHANGED: params.retrain.on_new_data}
    reason = {"__prefect_kind": "jinja", "template": "{{ event.event }}"}
    return [
        Registered(
            AutomationCore(
                name=f"semigen: train on {event.removeprefix('semigen.')}",
                description="What monitor finds starts a retraining.",
                trigger=_reaction({event}, root),
                actions=[
                    RunDeployment(
                        source="selected", deployment_id=train.id, parameters={"reason": reason}
                    )
                ],
            ),
            is_wanted,
        )
        for event, is_wanted in wanted.items()
    ]


def notifications(root: Path) -> list[Registered]:
    """Return what tells a webhook of failures, promotions and drift, if one is named."""
    url = os.environ.get(WEBHOOK_URL)
    actions: list[Any] = []
    if url:
        block = Webhook(url=url, method="POST")
        actions = [
            CallWebhook(
                block_document_id=block.save(WEBHOOK_BLOCK, overwrite=True),
                payload=(
                    '{"event": "{{ event.event }}", "payload": {{ event.payload | tojson }}, '
                    '"message": {{ (event.resource["prefect.state-message"] or "") | tojson }}, '
                    '"run": "{{ event.resource.name or event.resource.id }}", '
                    '"occurred": "{{ event.occurred }}"}'
                ),
            )
        ]
    automation = AutomationCore(
        name="semigen: notify webhook",
        description="Failures, promotions and drift.",
        trigger=EventTrigger(
            expect=NEWS,
            match=ResourceSpecification(
                {"prefect.resource.id": ["prefect.flow-run.*", project_id(Layout(root))]}
            ),
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=actions,
    )
    return [Registered(automation, is_wanted=True)] if url else []


def _watchdog(
    name: str, message: str, *, after: set[str], expect: set[str], seconds: int
) -> AutomationCore:
    return AutomationCore(
        name=name,
        description=message,
        trigger=EventTrigger(
            after=after,
            expect=expect,
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=seconds),
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=message)],
    )


def _reaction(events: set[str], root: Path) -> EventTrigger:
    return EventTrigger(
        expect=events,
        match=ResourceSpecification({"prefect.resource.id": [project_id(Layout(root))]}),
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(0),
    )
