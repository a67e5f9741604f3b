"""The summary that is printed at the end of a run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.environment import address_file
from semigen.artifacts import Layout, read_json
from semigen.errors import UserError
from semigen.evaluation.estimates import DASH, Estimate, Gain
from semigen.params.config import Params, is_sample
from semigen.report.summary import (
    cross_validated_text,
    estimate_text,
    majority_accuracy,
    never_predicted,
    read_confusion,
)


def print_summary(layout: Layout, ran: Mapping[str, bool], console: Console | None = None) -> None:
    """Print the score, the time of each stage, the paths of the results, and the next commands.

    Args:
        layout: The project's files.
        ran: For each stage whether it ran; the others were up to date.
        console: Console to print to; the terminal by default.
    """
    console = console or Console(highlight=False, soft_wrap=True)
    console.print()
    try:
        metrics, confusion = read_json(layout.metrics), read_confusion(layout.plot("confusion"))
        selection = read_json(layout.selection)
    except (FileNotFoundError, UserError) as error:
        if not isinstance(error.__cause__ or error, FileNotFoundError):
            raise
        console.print("Another run is replacing the results, so there is no summary of this one.")
        return
    console.print(score_table(metrics, selection, confusion))
    if missed := never_predicted(confusion):
        console.print(f"Never predicted: {missed}", markup=False)
    console.print()
    console.print(stage_table(read_json(layout.timings) if layout.timings.exists() else {}, ran))
    console.print()
    console.print(f"Report  {_relative(layout.report, layout)}")
    console.print(f"Model   {_relative(layout.classifier, layout)}")
    console.print("\nNext")
    for command, purpose in next_commands(layout):
        console.print(f"  {command}", markup=False)
        console.print(f"      {purpose}", style="dim", markup=False)


def score_table(
    metrics: Mapping[str, Any], selection: Mapping[str, Any], confusion: pd.DataFrame
) -> Table:
    """Return accuracy beside what puts it into proportion, each with its interval.

    Args:
        metrics: Content of ``metrics.json``.
        selection: Content of ``selection.json``.
        confusion: Confusion matrix of the test rows (``read_confusion``).
    """
    table = Table.grid(padding=(0, 2))
    accuracy = Estimate.from_json(metrics["test"]["accuracy"])
    baseline = Estimate.from_json(metrics["labels_only"]["accuracy"])
    gain = Gain.from_json(metrics["gain"]["accuracy"])
    table.add_row("Accuracy", f"{accuracy:.1%}", f"{metrics['n_test']} test rows", style="bold")
    if cross_validated := cross_validated_text(metrics, selection):
        table.add_row("Cross-validated", cross_validated, f"{metrics['n_labeled']} labeled rows")
    balanced = estimate_text("balanced_accuracy", metrics["test"]["balanced_accuracy"])
    table.add_row("Balanced", balanced, "mean recall over the classes")
    majority = f"{majority_accuracy(confusion):.1%}"
    table.add_row("Majority", majority, "always the most frequent class")
    table.add_row("Labels only", f"{baseline:.1%}", f"{metrics['n_labeled']} labeled rows")
    table.add_row("Gain", f"{gain:+.1p}", f"p = {gain.p_value:.2g}" if gain.has_interval else DASH)
    table.add_row("Selected", escape(metrics["selected"]))
    return table


def stage_table(timings: Mapping[str, float], ran: Mapping[str, bool]) -> Table:
    """Return the duration of each stage that ran, and ``Cached`` for the others."""
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    for stage, has_run in ran.items():
        table.add_row(stage, f"{timings.get(stage, 0):.1f} s" if has_run else "Cached")
    return table


def next_commands(layout: Layout) -> list[tuple[str, str]]:
    """Return commands that a user may need next, with the purpose of each."""
    script = Path(sys.executable).with_name("semigen")
    semigen = _relative(script, layout) if _is_inside(script, layout) else "semigen"
    embedded = is_sample(Params.load(layout.params).data.labeled)
    new_rows = "data/samples/test.csv" if embedded else "NEW.csv"
    commands = [
        (
            f"{semigen} predict --input {new_rows} --output predictions.csv",
            "predict the classes of new rows",
        )
    ]
    if embedded:
        own = f"{semigen} run LABELED.csv UNLABELED.csv --target COLUMN"
        commands.append((own, "train on your own tables"))
    if not address_file(layout.root).exists():  # otherwise the run has printed its address
        commands.append((f"{semigen} up", "see runs, logs and plots in the browser"))
    return commands


def _is_inside(path: Path, layout: Layout) -> bool:
    return path.absolute().is_relative_to(layout.root)


def _relative(path: Path, layout: Layout) -> str:
    return str(path.absolute().relative_to(layout.root))
