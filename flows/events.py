"""Events that a project sends to the Prefect server; automations use them for notifications.

The resource of an event is the project: ``semigen.project.<name>``.
"""

from __future__ import annotations

from typing import Any

from prefect.events import emit_event

from flows.project import Project
from semigen.artifacts import Layout

DRIFT_DETECTED = "semigen.drift.detected"
"""New rows differ from the rows that the model was trained on. ``flows.monitor.drift_payload``
returns the payload."""
DATA_CHANGED = "semigen.data.changed"
"""Tables that the pipeline reads have changed since its last run. The payload contains their names
(``tables``) and a hash of their contents (``content``)."""

MODEL_PROMOTED = "semigen.model.promoted"
"""A retrained model became champion. The payload contains its ``version`` and the reason
(``what``)."""


def project_id(project: Project) -> str:
    """Return the id of the resource of a project's events."""
    return f"semigen.project.{project.name}"


def emit(event: str, layout: Layout, payload: dict[str, Any]) -> None:
    """Send an event about the project.

    Args:
        event: One of this module's constants.
        layout: The project's files.
        payload: Details of the event, JSON types only.
    """
    project = Project.of(layout.root)
    resource = {
        "prefect.resource.id": project_id(project),
        "prefect.resource.name": project.name,
    }
    emit_event(event, resource=resource, payload=payload)
