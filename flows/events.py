"""Events by which the project tells Prefect what it found; automations subscribe to them.

The resource is the project: ``semigen.project.<folder name>``.
"""

from __future__ import annotations

from typing import Any

from prefect.events import emit_event

from semigen.artifacts import Layout

DRIFT_DETECTED = "semigen.drift.detected"
"""New rows are not like those that were learned from. The payload is that of
``flows.monitor.drift_payload``."""
DATA_CHANGED = "semigen.data.changed"
"""Tables that the pipeline reads differ from those of its last run. The payload lists ``tables``
and has the ``content`` hash of all of them."""

MODEL_PROMOTED = "semigen.model.promoted"
"""A retrained model became champion. The payload says ``what``, with its ``version``."""


def project_id(layout: Layout) -> str:
    """Return the id of the resource that the project's events are about."""
    return f"semigen.project.{layout.root.name}"


def emit(event: str, layout: Layout, payload: dict[str, Any]) -> None:
    """Send an event about the project.

    Args:
        event: One of this module's names.
        layout: The project.
        payload: What happened, JSON types only.
    """
    resource = {
        "prefect.resource.id": project_id(layout),
        "prefect.resource.name": layout.root.name,
    }
    emit_event(event, resource=resource, payload=payload)
