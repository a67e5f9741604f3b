"""What the Prefect UI shows beside a stage's task run: tables, plots and a link to the report."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect.artifacts import create_image_artifact, create_link_artifact, create_table_artifact

from semigen.artifacts import Layout, read_json


def publish(stage: str, layout: Layout) -> None:
    """Create the artifacts of a stage from the files that it left, if it has any."""
    publisher = PUBLISHERS.get(stage)
    if publisher is not None:
        publisher(layout)


def validation_rows(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return validation results as table rows, failed errors first, then failed warnings."""
    order = {(False, "error"): 0, (False, "warning"): 1}
    ranked = sorted(results, key=lambda r: order.get((r["success"], r["severity"]), 2))
    return [
        {
            "result": "passed" if result["success"] else result["severity"],
            "table": result["part"],
            "column": result["column"] or "",
            "rule": result["rule"],
            "failed": f"{result['n_failed']} of {result['n_checked']}",
            "values": ", ".join(map(str, result["sample_values"])),
            "message": result["message"],
        }
        for result in ranked
    ]


def metric_rows(metrics: dict[str, Any]) -> list[dict[str, str]]:
    """Return the metrics of ``metrics.json`` as table rows with their intervals."""
    return [
        {
            "metric": name.replace("_", " "),
            "selected": interval(estimate),
            "labels only": interval(metrics["labels_only"][name]),
            "gain": interval(metrics["gain"][name], sign="+"),
            "p": f"{metrics['gain'][name]['p_value']:.3g}",
        }
        for name, estimate in metrics["test"].items()
    ]


def interval(estimate: dict[str, float], sign: str = "") -> str:
    """Return an estimate as ``0.950 [0.925, 0.972]``."""
    value, low, high = (format(estimate[k], f"{sign}.3f") for k in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _publish_validation(layout: Layout) -> None:
    if layout.validation_json.exists():
        results = read_json(layout.validation_json)["results"]
        create_table_artifact(
            validation_rows(results), key="validation", description="Tables checked by validate"
        )


def _publish_metrics(layout: Layout) -> None:
    if layout.metrics.exists():
        metrics = read_json(layout.metrics)
        create_table_artifact(
            metric_rows(metrics),
            key="metrics",
            description=f"Selected: {metrics['selected']}. {metrics['n_test']} test rows, "
            f"{metrics['n_labeled']} labeled and {metrics['n_unlabeled']} unlabeled training rows",
        )
    _publish_plot(layout.plot("confusion"), "confusion-matrix")
    _publish_plot(layout.plot("calibration"), "calibration")


def _publish_curve(stage: str) -> Callable[[Layout], None]:
    return lambda layout: _publish_plot(layout.plot(stage), f"{stage}-curve")


def _publish_plot(table: Path, key: str) -> None:
    if not table.exists():
        return
    from semigen.report import plots

    draw = {"confusion-matrix": plots.confusion_png, "calibration": plots.calibration_png}
    png = draw.get(key, plots.learning_curve_png)(table)
    create_image_artifact(
        f"data:image/png;base64,{base64.b64encode(png).decode()}",
        key=key,
        description=key.replace("-", " "),
    )


def _publish_report(layout: Layout) -> None:
    if layout.report.exists():
        create_link_artifact(layout.report.as_uri(), link_text="report.html", key="report")


PUBLISHERS: dict[str, Callable[[Layout], None]] = {
    "validate": _publish_validation,
    "pretrain": _publish_curve("pretrain"),
    "train": _publish_curve("train"),
    "evaluate": _publish_metrics,
    "report": _publish_report,
}
