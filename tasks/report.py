"""Stage ``report``: write the model card and the HTML report of the run."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform

import pandas as pd

from semigen.artifacts import Layout, read_json, write_text
from semigen.params.config import Params
from semigen.report.card import model_card
from semigen.report.html import ReportContent, render
from semigen.report.summary import read_confusion
from semigen.tables.cells import as_text
from semigen.tables.formulas import remove_guards
from semigen.tables.schema import TableSchema
from tasks import STAGES

PACKAGES = ("semigen", "torch", "scikit-learn", "numpy", "pandas", "scipy", "dvc", "prefect")
PLOTS = ("pretrain", "train", "confusion", "calibration")


def run(params: Params, layout: Layout) -> None:
    """Write ``model_card.md``, which depends on artifacts only, and ``report.html``, with dates."""
    content = ReportContent(
        params=params,
        schema=TableSchema.load(layout.schema),
        validation=read_json(layout.validation_json),
        selection=read_json(layout.selection),
        fidelity=read_json(layout.fidelity),
        metrics=read_json(layout.metrics),
        synthetic=_read_synthetic(layout),
        plots={name: layout.plot(name) for name in PLOTS},
        timings=_timings(layout),
        versions=_versions(),
        written=f"{datetime.datetime.now().astimezone():%Y-%m-%d %H:%M %Z}",
    )
    card = model_card(
        schema=content.schema,
        validation=content.validation,
        selection=content.selection,
        fidelity=content.fidelity,
        metrics=content.metrics,
        confusion=read_confusion(layout.plot("confusion")),
        confidence=params.evaluate.confidence,
    )
    write_text(layout.model_card, card)
    write_text(layout.report, render(content))
    print(f"report: {layout.report}\nmodel card: {layout.model_card}")


def _read_synthetic(layout: Layout) -> pd.DataFrame:
    """Return the synthetic rows with labels as text; there may be none."""
    table = remove_guards(pd.read_csv(layout.synthetic_table, low_memory=False))
    target = TableSchema.load(layout.schema).target
    return table.assign(**{target: as_text(table[target])})


def _timings(layout: Layout) -> dict[str, float]:
    """Return the duration of the stages before this one, in seconds, in order."""
    seconds = read_json(layout.timings) if layout.timings.exists() else {}
    return {stage: seconds[stage] for stage in STAGES[:-1] if stage in seconds}


def _versions() -> dict[str, str]:
    versions = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # not installed: a source checkout, or an optional dependency
    return versions
