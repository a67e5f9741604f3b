"""The flow ``label-curve``: accuracy as a function of the number of labels, on demand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, cast
from uuid import UUID

from prefect import State, flow
from prefect.artifacts import (
    create_image_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.states import Completed, Failed
from rich.console import Console
from rich.table import Table

from flows.command import run_flow
from flows.display.publish import data_uri
from flows.pipeline.overrides import load_params
from flows.run_name import project_subject, rename, shortened
from flows.run_process import record_process
from semigen.artifacts import Layout
from semigen.cli.arguments import DEFAULT_DRAWS
from semigen.cli.commands import command_parser
from semigen.errors import UserError
from semigen.evaluation.estimates import Estimate
from semigen.wording import count


def run_name() -> str:
    """Return the name of the flow run until its result is known."""
    return shortened(f"{project_subject()}, label curve")


@flow(name="label-curve", flow_run_name=run_name, log_prints=True, on_running=[record_process])
def label_curve(budgets: Sequence[int] | None = None, draws: int = DEFAULT_DRAWS) -> State[Any]:
    """Train on fewer labels and evaluate on the test rows; finished fits are reused.

    Args:
        budgets: Numbers of labels; a quarter, a half, three quarters and all of them if None.
        draws: Number of random subsets of the labels for each budget.

    Returns:
        As ``tasks.label_curve.label_curve``.
    """
    from tasks.label_curve import label_curve as compute

    layout = Layout()
    try:
        params = load_params(layout)
        found = compute(params, layout, budgets=budgets, draws=draws, on_fit=progress(layout))
    except UserError as error:
        return Failed(message=str(error))
    create_table_artifact(rows(found), key="label-curve-figures", description=found["sentence"])
    rename(f"{project_subject()}, label curve: {result_name(found)}")
    return Completed(message=found["sentence"], data=found)


def result_name(found: dict[str, Any]) -> str:
    """Return the gain from unlabeled rows with all labels, for the name of the run."""
    last = max(found["gains"], key=lambda point: int(point["n_labeled"]))
    gain = Estimate.from_json(last["gain"]).value
    return f"{100 * gain:+z.1f} points with {count(last['n_labeled'], 'label')}"


def progress(layout: Layout) -> Callable[[int, int], None]:
    """Return a callback that shows, after each fit, the number of finished fits and the curve."""
    made = create_progress_artifact(0.0, key="label-curve-progress", description="label curve")
    shown = cast(UUID, made)  # a coroutine only where this is called from one

    def show(done: int, total: int) -> None:
        text = f"{done} of {total} fits"
        update_progress_artifact(shown, 100 * done / total, description=text)
        if done:
            png = layout.label_curve("png").read_bytes()
            create_image_artifact(data_uri(png), key="label-curve", description=text)

    return show


def rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the curve as table rows with number of labels, accuracies and gain."""
    accuracy = {
        (p["learner"], p["n_labeled"]): f"{Estimate.from_json(p['accuracy'])}"
        for p in found["points"]
    }
    learners = list(dict.fromkeys(point["learner"] for point in found["points"]))
    return [
        {
            "labels": point["n_labeled"],
            **{name: accuracy[name, point["n_labeled"]] for name in learners},
            "gain": f"{Estimate.from_json(point['gain']):+.3f}",
        }
        for point in found["gains"]
    ]


def print_curve(found: dict[str, Any], console: Console | None = None) -> None:
    """Print the curve, the expected gain of more labels, and the paths of the files."""
    console = console or Console(highlight=False, soft_wrap=True)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    content = rows(found)
    for name in content[0]:
        table.add_column(name, justify="right" if name == "labels" else "left")
    for row in content:
        table.add_row(*map(str, row.values()))
    console.print()
    console.print(table)
    console.print(f"\n{found['sentence']} ({found['n_test']} test rows)", markup=False)
    console.print("reports/label_curve.png, .csv, .json", style="dim")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = command_parser("label-curve").parse_args(argv)

    def check() -> None:
        from semigen.evaluation.label_curve import check_budgets
        from tasks.label_curve import read_problem

        layout = Layout()
        load_params(layout)
        check_budgets(arguments.budgets, read_problem(layout).y)
        if arguments.draws < 1:
            raise UserError(f"--draws: must be at least 1, not {arguments.draws}")

    return run_flow(
        label_curve,
        {"budgets": arguments.budgets, "draws": arguments.draws},
        check=check,
        then=print_curve,
        debug=arguments.debug,
    )


if __name__ == "__main__":
    sys.exit(main())
