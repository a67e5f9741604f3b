"""``monitor``: whether new rows are still like those that the classifier learned from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from semigen.artifacts import Layout, write_json, write_text
from semigen.errors import UserError
from semigen.evaluation.drift import MAX_AUC, listed, measure_drift
from semigen.params.config import Params
from semigen.tables.schema import TableSchema
from semigen.tables.sources import read_table
from semigen.validation.report import table

MAX_COLUMNS_SHOWN = 100
MAX_CATEGORIES_SHOWN = 5
LEAST_P_SHOWN = 1e-4
HEADER = ("column", "verdict", "distance", "p-value", "missing before", "now", "new categories")


def monitor(
    params: Params,
    layout: Layout,
    input: str | None = None,  # noqa: A002 - the name of the command's option
) -> dict[str, Any]:
    """Compare a batch of rows with the unlabeled training rows; write ``drift.json`` and ``.md``.

    Args:
        params: ``monitor`` names the batch and the limits.
        layout: The project's files.
        input: CSV or Parquet table; ``monitor.input`` if None.

    Returns:
        ``Drift.to_json_dict`` with the name of the ``input`` and the ``limits``.

    Raises:
        UserError: If no table is named, it cannot be read, or there is nothing to compare it with.
            A column that is absent or holds text among numbers is drift instead.
    """
    name = input or params.monitor.input
    if name is None:
        raise UserError("no table to watch: name one with --input, or in monitor.input")
    if not is_ready(layout):
        raise UserError(
            "nothing to compare with: data/prepared/unlabeled.parquet is absent; run the pipeline "
            "(python -m flows.train)"
        )
    batch = read_table(layout.source(name), name)
    limits = {
        "max_distance": params.monitor.max_distance,
        "significance": params.monitor.significance,
    }
    drift = measure_drift(
        pd.read_parquet(layout.prepared("unlabeled")),
        batch,
        TableSchema.load(layout.schema),
        seed=params.seed,
        **limits,
    )
    found = {"input": name, **drift.to_json_dict(), "limits": {**limits, "auc": MAX_AUC}}
    write_json(layout.drift_json, found)
    write_text(layout.drift_markdown, to_markdown(found))
    return found


def is_ready(layout: Layout) -> bool:
    """Return whether the pipeline has left what new rows are compared with."""
    return layout.schema.exists() and layout.prepared("unlabeled").exists()


def column_rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return a row of ``HEADER`` for each column, the drifted ones and the farthest first."""
    ranked = sorted(found["columns"], key=lambda c: (not c["has_drifted"], -c["distance"]))
    return [
        (
            column["column"],
            "drift" if column["has_drifted"] else "",
            f"{column['distance']:.3f}",
            f"{column['p_value']:.2g}" if column["p_value"] >= LEAST_P_SHOWN else "< 0.0001",
            *(f"{share:.1%}" for share in column["missing"]),
            listed(column["new_categories"], MAX_CATEGORIES_SHOWN),
        )
        for column in ranked
    ]


def to_markdown(found: Mapping[str, Any]) -> str:
    """Return what was found as a page."""
    limits, auc = found["limits"], found["auc"]
    rows = column_rows(found)
    n_more = len(rows) - MAX_COLUMNS_SHOWN
    sections = [
        "# Drift",
        f"`{found['input']}`: **{found['sentence']}**.",
        f"{found['n_current']} rows are compared with the {found['n_reference']} unlabeled rows "
        "that the classifier learned from. A classifier tells the two apart with ROC AUC "
        f"{auc['value']:.2f} [{auc['low']:.2f}, {auc['high']:.2f}]; 0.5 is guessing.",
        table(HEADER, rows[:MAX_COLUMNS_SHOWN]),
        f"{n_more} more columns are in `reports/drift.json`." if n_more > 0 else "",
        f"A column has drifted if its distance (Kolmogorov-Smirnov, total variation) is above "
        f"{limits['max_distance']:g} and its p-value, corrected for the number of columns, below "
        f"{limits['significance']:g}. All together have if the interval of the ROC AUC lies above "
        f"{limits['auc']:g}.",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"
