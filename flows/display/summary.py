"""The summary that is printed at the end of a run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from semigen.artifacts import Layout, read_json
from semigen.evaluation.estimates import Estimate, Gain


def print_summary(layout: Layout, ran: Mapping[str, bool], console: Console | None = None) -> None:
    """Print the score, the time of each stage, the paths of the results, and the next commands.

    Args:
        layout: The project's files.
        ran: For each stage whether it ran; the others were up to date.
        console: Console to print to; the terminal by default.
    """
    console = console or Console(highlight=False, soft_wrap=True)
    console.print()
    metrics = read_json(layout.metrics)
    console.print(score_table(metrics))
    console.print(f"Selected     {metrics['selected']}", markup=False)
    console.print()
    console.print(stage_table(read_json(layout.timings) if layout.timings.exists() else {}, ran))
    console.print()
    console.print(f"Report  {_relative(layout.report, layout)}")
    console.print(f"Model   {_relative(layout.classifier, layout)}")
    console.print("\nNext")
    for command, purpose in next_commands(layout):
        console.print(f"  {command}", markup=False)
        console.print(f"      {purpose}", style="dim", markup=False)


def score_table(metrics: dict[str, Any]) -> Table:
    """Return accuracy, accuracy of the labels-only baseline, and gain, with their intervals."""
    table = Table.grid(padding=(0, 2))
    accuracy = Estimate.from_json(metrics["test"]["accuracy"])
    baseline = Estimate.from_json(metrics["labels_only"]["accuracy"])
    gain = Gain.from_json(metrics["gain"]["accuracy"])
    table.add_row("Accuracy", f"{accuracy:.1%}", f"{metrics['n_test']} test rows", style="bold")
    table.add_row("Labels only", f"{baseline:.1%}", f"{metrics['n_labeled']} labeled rows")
    table.add_row("Gain", f"{gain:+.1p}", f"p = {gain.p_value:.2g}")
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
    """Return three commands that a user may need next, with the purpose of each."""
    script = Path(sys.executable).with_name("semigen")
    semigen = _relative(script, layout) if _is_inside(script, layout) else "semigen"
    return [
        (
            f"{semigen} predict --input data/samples/test.csv --output predictions.csv",
            "predict the classes of new rows",
        ),
        (
            f"{semigen} run -S data.labeled=LABELED.csv -S data.unlabeled=UNLABELED.csv "
            "-S data.target=COLUMN",
            "train on your own tables",
        ),
        (f"{semigen} up", "see runs, logs and plots in the browser"),
    ]


def _is_inside(path: Path, layout: Layout) -> bool:
    return path.absolute().is_relative_to(layout.root)


def _relative(path: Path, layout: Layout) -> str:
    return str(path.absolute().relative_to(layout.root))
