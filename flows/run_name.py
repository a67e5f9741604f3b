"""Names of flow runs: what a run is about and, at its end, its result.

Otherwise Prefect would name runs at random, such as ``crouching-shrew``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect import get_client
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run

from flows.events import DATA_CHANGED, DRIFT_DETECTED
from semigen.artifacts import Layout
from semigen.errors import UserError
from semigen.evaluation.estimates import Estimate, Gain
from semigen.params.config import Params, is_sample
from semigen.wording import printable

MAX_LENGTH = 100
GENERIC_TARGETS = {"class", "label", "labels", "target", "y"}
GENERIC_TABLES = {"labeled", "labeled_data", "train"}
REASONS = {DRIFT_DETECTED: "drift", DATA_CHANGED: "new data"}
"""Why ``monitor`` starts a run, in the name of the run."""


def subject(params: Params) -> str:
    """Return what a project predicts: the label column, or the table if that says more.

    Examples:
        >>> subject(Params())
        'digits'
        >>> tables = {"labeled": "data/raw/customers.csv", "unlabeled": "u.csv"}
        >>> subject(Params.model_validate({"data": {**tables, "target": "churn"}}))
        'churn'
        >>> subject(Params.model_validate({"data": {**tables, "target": "y"}}))
        'customers'
    """
    if is_sample(params.data.labeled):
        return params.sample.dataset
    if params.data.target.lower() not in GENERIC_TARGETS:
        return params.data.target
    table = Path(params.data.labeled)
    is_generic = table.stem in GENERIC_TABLES and table.parent.name
    return f"{table.parent.name}/{table.stem}" if is_generic else table.stem


def project_subject() -> str:
    """Return the subject of the project in the current folder."""
    try:
        return subject(Params.load(Layout().params))
    except UserError:  # reported by the flow
        return "invalid parameters"


def training_name(about: str, reason: str) -> str:
    """Return the name of a training run that has no result yet."""
    return shortened(f"{about}, {REASONS.get(reason, reason)}")


def trained_name(about: str, reason: str, metrics: Mapping[str, Any], *, changed: bool) -> str:
    """Return the name of a training run with its result.

    Args:
        about: What the run is about (``subject``).
        reason: Why the run was started.
        metrics: Content of ``metrics.json``.
        changed: Whether any stage ran.

    Examples:
        >>> accuracy, gain = ({"value": x, "low": None, "high": None} for x in (0.8, 0.05))
        >>> metrics = {"test": {"accuracy": accuracy}}
        >>> metrics["gain"] = {"accuracy": {**gain, "p_value": None}}
        >>> trained_name("churn", "by hand", metrics, changed=True)
        'churn 80.0% (+5.0 points), by hand'
    """
    if not changed:
        return training_name(f"{about} unchanged", reason)
    accuracy = Estimate.from_json(metrics["test"]["accuracy"]).value
    gain = Gain.from_json(metrics["gain"]["accuracy"]).value
    return training_name(f"{about} {accuracy:.1%} ({100 * gain:+z.1f} points)", reason)


def rename(name: str) -> None:
    """Rename the current flow run. If the server does not answer, the run keeps its name."""
    if flow_run.id is None:
        return
    with contextlib.suppress(httpx.HTTPError, ObjectNotFound), get_client(sync_client=True) as api:
        api.update_flow_run(UUID(flow_run.id), name=shortened(name))


def shortened(name: str) -> str:
    """Return a name as one line of limited length."""
    name = printable(name)
    return name if len(name) <= MAX_LENGTH else f"{name[: MAX_LENGTH - 1]}\u2026"
