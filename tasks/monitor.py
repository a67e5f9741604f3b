"""``semigen monitor``: compare new rows with the rows that the classifier was trained on."""

from __future__ import annotations

from typing import Any

import pandas as pd

from semigen.artifacts import Layout, write_json, write_text
from semigen.errors import UserError
from semigen.evaluation.drift import MAX_AUC, measure_drift
from semigen.params.config import Params
from semigen.report.drift import drift_markdown
from semigen.tables.schema import TableSchema
from semigen.tables.sources import read_table


def monitor(
    params: Params,
    layout: Layout,
    input: str | None = None,  # noqa: A002 - the name of the command's option
) -> dict[str, Any]:
    """Compare a table with the unlabeled training rows (if there are none, with the labeled rows).

    Writes ``drift.json`` and ``drift.md``.

    Args:
        params: All parameters; section ``monitor`` names the table and the limits.
        layout: The project's files.
        input: Table of new rows; ``monitor.input`` if None.

    Returns:
        ``Drift.to_json_dict`` with the name of the ``input`` and the ``limits``.

    Raises:
        UserError: If no table is given, it cannot be read, or the pipeline has not run yet. A
            missing column, or text in a numeric column, is drift instead.
    """
    name = input or params.monitor.input
    if name is None:
        raise UserError("no table to monitor: give one with --input, or set monitor.input")
    if not is_ready(layout):
        raise UserError(
            "nothing to compare with: data/prepared/unlabeled.parquet does not exist; run the "
            "pipeline first (semigen run)"
        )
    limits = {
        "max_distance": params.monitor.max_distance,
        "significance": params.monitor.significance,
    }
    drift = measure_drift(
        read_reference(layout),
        read_table(layout.source(name), name, params.data.read),
        TableSchema.load(layout.schema),
        seed=params.seed,
        **limits,
    )
    found = {
        "input": name,
        **drift.to_json_dict(sample_values=params.privacy.sample_values),
        "limits": {**limits, "auc": MAX_AUC},
    }
    write_json(layout.drift_json, found)
    write_text(layout.drift_markdown, drift_markdown(found))
    return found


def read_reference(layout: Layout) -> pd.DataFrame:
    """Return the unlabeled training rows, or the labeled ones if there are none."""
    rows = pd.read_parquet(layout.prepared("unlabeled"))
    return pd.read_parquet(layout.prepared("labeled"))[list(rows)] if rows.empty else rows


def is_ready(layout: Layout) -> bool:
    """Return whether the pipeline has written the tables that new rows are compared with."""
    return layout.schema.exists() and layout.prepared("unlabeled").exists()
