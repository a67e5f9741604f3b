"""The report: one self-contained HTML page."""

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
from semigen.wording import count, first_few

MAX_EXAMPLE_ROWS = 12
MAX_EXAMPLE_COLUMNS = 12
MAX_LISTED = 25
MAX_CLASSES_SHOWN = 12
PIXELS_PER_INCH = 88
"""Size of plots on the page. The images have a higher resolution, for dense screens and print."""


@dataclass(frozen=True)
class ReportContent:
    """Content of the page.

    Attributes:
        params: Parameters of the run.
        schema: Columns and classes of the table.
        validation: Content of ``validation.json``.
        selection: Content of ``selection.json``.
        fidelity: Content of ``fidelity.json``.
        metrics: Content of ``metrics.json``.
        synthetic: Synthetic rows with columns for the target and ``source``.
        plots: CSV files of the plots, by name (see ``Layout.plot``).
        timings: Duration in seconds, by stage.
        versions: Version, by package.
        written: Date and time when the page is written, as text.
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
    """Return the page. Text from data is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(text=summary, limit=MAX_LISTED, first_few=first_few, count=count)
    confidence = content.params.evaluate.confidence
    confusion = summary.read_confusion(content.plots["confusion"])
    classes = summary.class_figures(confusion)
    return environment.get_template("report.html.j2").render(
        content=content,
        confidence=f"{confidence:.0%}",
        verdict=summary.verdict(content.metrics, content.selection, confidence),
        no_error_note=summary.no_error_note(content.metrics),
        cross_validated=summary.cross_validated_text(content.metrics, content.selection),
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
    """A few rows and columns of a table as text.

    Attributes:
        columns: Names of the columns shown.
        rows: Cells of the rows shown.
        n_columns: Number of columns of the table.
        n_rows: Number of rows of the table.

    Examples:
        >>> rows = pd.DataFrame({"age": [31, 47, 52], "label": ["a", "a", "b"]})
        >>> schema = TableSchema.infer(rows, rows, "label")
        >>> example_rows(rows, schema).rows
        [['a', '31'], ['b', '52'], ['a', '47']]
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    n_columns: int
    n_rows: int


def example_rows(synthetic: pd.DataFrame, schema: TableSchema) -> ExampleRows:
    """Return at most a dozen rows and columns, with rows of as many classes as possible.

    The feature columns are evenly spaced, because neighboring columns are often similar.
    """
    fixed = [name for name in (schema.target, "source") if name in synthetic]
    features = [c.name for c in schema.features if c.name in synthetic and c.name not in fixed]
    n_shown = min(len(features), MAX_EXAMPLE_COLUMNS - len(fixed))
    selected = np.linspace(0, max(len(features) - 1, 0), n_shown).round().astype(int)
    shown = fixed + [features[i] for i in selected]
    # The first row of every class, then the second row of every class, and so on.
    rank = synthetic.groupby(schema.target).cumcount()
    rows = synthetic.loc[rank.sort_values(kind="stable").index[:MAX_EXAMPLE_ROWS], shown]
    return ExampleRows(
        columns=shown,
        rows=[[_cell(value) for value in row] for row in rows.itertuples(index=False)],
        n_columns=len(synthetic.columns),
        n_rows=len(synthetic),
    )


@dataclass(frozen=True)
class Parameter:
    """A parameter in the list of parameters.

    Attributes:
        name: Full name, e.g. ``train.epochs``.
        value: Value as text.
        is_default: Whether the value is the default.
        meaning: Description of the parameter.

    Examples:
        >>> first = list_parameters(Params(seed=7))[0]
        >>> first.name, first.value, first.is_default
        ('seed', '7', False)
    """

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
    """A plot on the page.

    Attributes:
        uri: PNG image as a data URI.
        width: Width on the page in CSS pixels.
    """

    uri: str
    width: int

    @classmethod
    def of(cls, png: bytes) -> Image:
        """Return the image of a PNG file's content."""
        # A PNG's width is the first field of its header.
        width = int.from_bytes(png[16:20], "big") * PIXELS_PER_INCH // plots.DPI
        return cls("data:image/png;base64," + base64.b64encode(png).decode("ascii"), width)


def _images(content: ReportContent) -> dict[str, Image | None]:
    """Return images by plot; None for a plot without data."""
    pngs = {
        "pretrain": plots.learning_curve_png(content.plots["pretrain"]),
        "train": plots.learning_curve_png(content.plots["train"]),
        "confusion": plots.confusion_png(content.plots["confusion"]),
        "calibration": plots.calibration_png(
            content.plots["calibration"], content.params.evaluate.confidence
        ),
        "selection_accuracy": plots.selection_png(content.selection, ("accuracy",)),
        "selection_log_loss": plots.selection_png(content.selection, ("log_loss",)),
        "fidelity": plots.fidelity_png(content.fidelity)
        if content.fidelity["n_synthetic"]
        else None,
    }
    return {name: None if png is None else Image.of(png) for name, png in pngs.items()}


def _cell(value: Any) -> str:
    if pd.isna(value):
        return "missing"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
