"""The report: one HTML page that needs nothing but itself."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel

from semigen.params.config import Params
from semigen.report import plots, summary
from semigen.tables.schema import TableSchema

MAX_EXAMPLE_ROWS = 12
MAX_EXAMPLE_COLUMNS = 12
MAX_LISTED = 25
MAX_CLASSES_SHOWN = 12
PIXELS_PER_INCH = 88
"""Size of plots on the page; they have more pixels than that, for dense screens and print."""


@dataclass(frozen=True)
class ReportContent:
    """Everything that the page shows.

    Attributes:
        params: Parameters of the run.
        schema: The table's columns and classes.
        validation: Content of ``validation.json``.
        selection: Content of ``selection.json``.
        fidelity: Content of ``fidelity.json``.
        metrics: Content of ``metrics.json``.
        synthetic: Synthetic rows with the target and ``source``.
        plots: Tables behind the plots, by name (see ``Layout.plot``).
        timings: Seconds by stage.
        versions: Versions by package.
        written: When the page is written, for people.
    """

    params: Params
    schema: TableSchema
    validation: Mapping[str, Any]
    selection: Mapping[str, Any]
    fidelity: Mapping[str, Any]
    metrics: Mapping[str, Any]
    synthetic: pd.DataFrame
    plots: Mapping[str, Path]
    timings: Mapping[str, float]
    versions: Mapping[str, str]
    written: str


def render(content: ReportContent) -> str:
    """Return the page. Whatever comes from data is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(text=summary, limit=MAX_LISTED)
    confidence = content.params.evaluate.confidence
    confusion = summary.read_confusion(content.plots["confusion"])
    classes = summary.class_figures(confusion)
    return environment.get_template("report.html.j2").render(
        content=content,
        confidence=f"{confidence:.0%}",
        verdict=summary.verdict(content.metrics, content.selection, confidence),
        no_error_note=summary.no_error_note(content.metrics),
        majority_text=summary.majority_text(content.metrics, confusion),
        images=_images(content),
        warnings=summary.warnings_of(content.validation),
        classes=classes.head(MAX_CLASSES_SHOWN).to_dict("records"),
        n_classes=len(classes),
        confusions=summary.frequent_confusions(confusion).to_dict("records"),
        examples=example_rows(content.synthetic, content.schema),
        parameters=list_parameters(content.params),
    )


@dataclass(frozen=True)
class ExampleRows:
    """A few rows and columns of a table as text."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    n_columns: int
    n_rows: int


def example_rows(synthetic: pd.DataFrame, schema: TableSchema) -> ExampleRows:
    """Return rows of as many classes as fit, with at most a dozen columns.

    Feature columns are taken at even distances, because neighbors are often alike.
    """
    fixed = [name for name in (schema.target, "source") if name in synthetic]
    features = [c.name for c in schema.features if c.name in synthetic and c.name not in fixed]
    n_shown = min(len(features), MAX_EXAMPLE_COLUMNS - len(fixed))
    picked = np.linspace(0, max(len(features) - 1, 0), n_shown).round().astype(int)
    shown = fixed + [features[i] for i in picked]
    # The first row of every class, then the second, until there are enough.
    turn = synthetic.groupby(schema.target).cumcount()
    rows = synthetic.loc[turn.sort_values(kind="stable").index[:MAX_EXAMPLE_ROWS], shown]
    return ExampleRows(
        columns=shown,
        rows=[[_cell(value) for value in row] for row in rows.itertuples(index=False)],
        n_columns=len(synthetic.columns),
        n_rows=len(synthetic),
    )


@dataclass(frozen=True)
class Parameter:
    """A parameter as the page lists it."""

    name: str
    value: str
    is_default: bool
    meaning: str


def list_parameters(params: Params) -> list[Parameter]:
    """Return every parameter with its full name, in the order of ``params.yaml``."""
    return _list_section(params, prefix="")


def _list_section(section: BaseModel, prefix: str) -> list[Parameter]:
    listed = []
    for attribute, field in type(section).model_fields.items():
        value, name = getattr(section, attribute), f"{prefix}{field.alias or attribute}"
        if isinstance(value, BaseModel):
            listed += _list_section(value, f"{name}.")
            continue
        is_default = value == field.get_default(call_default_factory=True)
        meaning = " ".join((field.description or "").replace("``", "").split())
        shown = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        listed.append(Parameter(name, shown, is_default, meaning))
    return listed


@dataclass(frozen=True)
class Image:
    """A plot as a data URI, and its width on the page in CSS pixels."""

    uri: str
    width: int

    @classmethod
    def of(cls, png: bytes) -> Image:
        # A PNG's width is the first field of its header.
        width = int.from_bytes(png[16:20], "big") * PIXELS_PER_INCH // plots.DPI
        return cls("data:image/png;base64," + base64.b64encode(png).decode("ascii"), width)


def _images(content: ReportContent) -> dict[str, Image | None]:
    """Return images by plot; None where there is nothing to draw."""
    drawn = {
        "pretrain": plots.learning_curve_png(content.plots["pretrain"]),
        "train": plots.learning_curve_png(content.plots["train"]),
        "confusion": plots.confusion_png(content.plots["confusion"]),
        "calibration": plots.calibration_png(
            content.plots["calibration"], content.params.evaluate.confidence
        ),
        "selection": plots.selection_png(content.selection),
        "fidelity": plots.fidelity_png(content.fidelity)
        if content.fidelity["n_synthetic"]
        else None,
    }
    return {name: None if png is None else Image.of(png) for name, png in drawn.items()}


def _cell(value: Any) -> str:
    if pd.isna(value):
        return "missing"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
