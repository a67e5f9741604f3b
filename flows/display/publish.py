"""Artifacts of a stage's task run in the Prefect UI: tables, plots and the report."""

from __future__ import annotations

import base64
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_table_artifact,
)

from flows.report_address import address_of_report
from semigen.artifacts import Layout, read_json
from semigen.evaluation.estimates import DASH, Estimate, Gain

DRAWING = threading.Lock()
"""Held while a plot is drawn: Matplotlib is not thread-safe."""


@dataclass(frozen=True)
class Plot:
    """A plot of a file that a stage wrote.

    Attributes:
        key: Key of the artifact.
        description: Description of the artifact.
        source: Returns the path of the file.
        draw: Returns the plot of the file as PNG.
    """

    key: str
    description: str
    source: Callable[[Layout], Path]
    draw: Callable[[Path], bytes]

    def publish(self, layout: Layout) -> None:
        """Create the artifact; errors are logged."""
        source = self.source(layout)
        if not source.exists():
            return
        try:
            with DRAWING:
                png = self.draw(source)
            create_image_artifact(data_uri(png), key=self.key, description=self.description)
        except Exception as error:  # of client, server or plots
            get_run_logger().warning("plot %s is not shown: %s", self.key, error)


def publish(stage: str, layout: Layout, plotter: Executor | None = None) -> None:
    """Create the artifacts of the current task run from the files that a stage wrote.

    Args:
        stage: Name of the stage.
        layout: The project's files.
        plotter: Executor that draws plots while the next stages run; None for no plots.
    """
    if stage in TEXTS:
        TEXTS[stage](layout)
    if plotter is None:
        return
    for plot in PLOTS.get(stage, ()):
        plotter.submit(contextvars.copy_context().run, plot.publish, layout)


def data_uri(png: bytes) -> str:
    """Return an image as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def validation_rows(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return validation results as table rows: failed errors, failed warnings, then the others."""
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


def validation_verdict(results: list[dict[str, Any]]) -> str:
    """Return the numbers of rules that were checked and that failed."""
    failed = [result["severity"] for result in results if not result["success"]]
    counts = [f"{failed.count(kind)} {kind}s" for kind in ("error", "warning") if kind in failed]
    return f"{len(results)} rules checked: {', '.join(counts) or 'all passed'}"


def metric_rows(metrics: dict[str, Any]) -> list[dict[str, str]]:
    """Return the metrics of ``metrics.json`` as table rows with their intervals."""
    return [
        {
            "metric": name.replace("_", " "),
            "selected": f"{Estimate.from_json(estimate)}",
            "labels only": f"{Estimate.from_json(metrics['labels_only'][name])}",
            "gain": f"{gain:+.3f}",
            "p": f"{gain.p_value:.3g}" if gain.has_interval else DASH,
        }
        for name, estimate in metrics["test"].items()
        for gain in [Gain.from_json(metrics["gain"][name])]
    ]


def _publish_validation(layout: Layout) -> None:
    if layout.validation_json.exists():
        results = read_json(layout.validation_json)["results"]
        create_table_artifact(
            validation_rows(results), key="validation", description=validation_verdict(results)
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


def _publish_report(layout: Layout) -> None:
    if not layout.report.exists():
        return
    page = _report_links(layout)
    if layout.model_card.exists():
        page += ["---", "", layout.model_card.read_text(encoding="utf-8")]
    create_markdown_artifact(
        "\n".join(page), key="report", description="HTML report and model card"
    )


def _report_links(layout: Layout) -> list[str]:
    """Return lines with the addresses of the latest report: by HTTP, and of the file."""
    served = address_of_report(layout.root)
    file = ["As a file, whose address you can copy:", "", f"    {layout.report.as_uri()}", ""]
    if served is None:
        return ["Browsers do not open links to local files from this page.", *file]
    return [f"**[Open the report]({served})**, the latest one, on this computer.", "", *file]


def _learning_curve(path: Path) -> bytes:
    from semigen.report import plots

    return plots.learning_curve_png(path)


def _candidates(path: Path) -> bytes:
    from semigen.report import plots

    return plots.selection_png(read_json(path))


def _confusion(path: Path) -> bytes:
    from semigen.report import plots

    return plots.confusion_png(path)


def _calibration(path: Path) -> bytes:
    from semigen.report import plots

    return plots.calibration_png(path)


TEXTS: dict[str, Callable[[Layout], None]] = {
    "validate": _publish_validation,
    "evaluate": _publish_metrics,
    "report": _publish_report,
}
PLOTS = {
    "pretrain": (
        Plot(
            "pretrain-curve",
            "Loss of the generative model",
            lambda layout: layout.plot("pretrain"),
            _learning_curve,
        ),
    ),
    "train": (
        Plot(
            "train-candidates",
            "Cross-validated accuracy and log loss of the learners",
            lambda layout: layout.selection,
            _candidates,
        ),
        Plot(
            "train-curve",
            "Loss of the neural network among the learners",
            lambda layout: layout.plot("train"),
            _learning_curve,
        ),
    ),
    "evaluate": (
        Plot(
            "confusion-matrix",
            "Errors on the test rows",
            lambda layout: layout.plot("confusion"),
            _confusion,
        ),
        Plot(
            "calibration",
            "Calibration of the predicted probabilities",
            lambda layout: layout.plot("calibration"),
            _calibration,
        ),
    ),
}
