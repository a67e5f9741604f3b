"""Watch the tables: which changed since the last run, and whether new rows drifted.

``python -m tasks monitor`` looks for drift without Prefect.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from prefect import State, flow, get_client
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, Failed
from rich.console import Console
from rich.table import Table

from flows.command import run_flow
from flows.events import DATA_CHANGED, DRIFT_DETECTED, emit
from flows.pipeline.dvc_graph import changed_tables, settle_scm
from flows.pipeline.overrides import load_params
from semigen.artifacts import Layout, read_json, write_json
from semigen.cli.commands import command_parser
from semigen.errors import UserError
from semigen.params.config import Params

MAX_COLUMNS_PRINTED = 15
NOT_NOW: dict[str, Any] = {
    "changed_tables": None,
    "drift": None,
    "not_measured": "a retraining is at work; tables and drift are looked at after it",
    "events": [],
}
"""What is found during a retraining: its stages are writing what would be read, and the run that a
finding starts would be canceled, for only one runs at a time. Nothing would tell of it again."""


def run_name() -> str:
    """Return what is watched, as the name of the flow run."""
    name = flow_run.parameters.get("input")
    if name is None:
        try:
            name = Params.load(Layout().params).monitor.input
        except UserError:  # the flow says what is wrong
            name = None
    return f"tables and {name}" if name else "tables"


@flow(name="monitor", flow_run_name=run_name)
def monitor(input: str | None = None) -> State[Any]:  # noqa: A002 - the name of the command's option
    """Look for changed tables and for drift, and tell Prefect of each finding once.

    Args:
        input: CSV or Parquet table of new rows; ``monitor.input`` of ``params.yaml`` if None.

    Returns:
        ``changed_tables``, None if they were not looked at; ``drift`` as ``tasks.monitor.monitor``
        returns it, or None with the reason in ``not_measured``; and ``events``, those sent, by
        name.
    """
    layout = Layout()
    if PREFECT_API_URL.value() and is_training():
        return Completed(message=in_words(NOT_NOW), data=NOT_NOW)
    try:
        params = load_params(layout)
        settle_scm(layout.root)
        tables = changed_tables(layout.root)
        drift, not_measured = look_for_drift(params, layout, input)
    except UserError as error:
        return Failed(message=str(error))
    found = {"changed_tables": tables, "drift": drift, "not_measured": not_measured}
    show(found, layout)
    events = report(found, layout, drift_retrains=params.retrain.on_drift)
    return Completed(message=in_words(found), data={**found, "events": events})


def look_for_drift(
    params: Params, layout: Layout, name: str | None
) -> tuple[dict[str, Any] | None, str | None]:
    """Return the drift of a table, or None and why there is nothing to measure.

    Raises:
        UserError: If the table was named in the call and is absent, or cannot be read.
    """
    from tasks.monitor import is_ready
    from tasks.monitor import monitor as measure

    watched = name or params.monitor.input
    if watched is None:
        return None, "no table of new rows is watched (monitor.input)"
    if not layout.source(watched).exists():
        if name:
            raise UserError(f"{name}: no such file; check input")
        return None, f"{watched} (monitor.input) is not there"
    if not is_ready(layout):
        return None, f"{watched} has nothing to be compared with: no run prepared the tables so far"
    return measure(params, layout, watched), None


def in_words(found: dict[str, Any]) -> str:
    """Return what was found in one line."""
    tables, drift = found["changed_tables"], found["drift"]
    if tables is None:
        return str(found["not_measured"])
    changed = f"changed tables: {', '.join(tables)}" if tables else "no table changed"
    return f"{drift['sentence']}; {changed}" if drift else f"{changed}; {found['not_measured']}"


def show(found: dict[str, Any], layout: Layout) -> None:
    """Create the artifacts: a page and, if drift was measured, a table of its columns."""
    from semigen.report.drift import HEADER, column_rows

    drift, tables = found["drift"], found["changed_tables"]
    changed = "".join(f"\n- `{name}`" for name in tables) or " none"
    page = f"Tables changed since the last run:{changed}\n\n"
    if drift is None:
        create_markdown_artifact(f"{page}Drift: {found['not_measured']}\n", key="drift")
        return
    create_markdown_artifact(
        page + layout.drift_markdown.read_text(encoding="utf-8"),
        key="drift",
        description=drift["sentence"],
    )
    create_table_artifact(
        [dict(zip(HEADER, row, strict=True)) for row in column_rows(drift)],
        key="drift-columns",
        description=f"{drift['input']}: {drift['sentence']}",
    )


def report(found: dict[str, Any], layout: Layout, *, drift_retrains: bool) -> list[str]:
    """Emit the events of findings that have not been reported yet, and return their names.

    A temporary server has no automation that would hear of them: then they are left for later. So
    are changed tables where drift starts a retraining already: two that start in the same moment
    race for the one place that there is, and Prefect may give it to both.
    """
    sent: list[str] = []
    if not PREFECT_API_URL.value():
        return sent
    tables, drift = found["changed_tables"], found["drift"]
    if drift and drift["has_drifted"]:
        # The rows that it is compared with are part of the finding: after a run on other tables
        # the same batch may have drifted from those too.
        compared = [drift["input"], str(layout.prepared("unlabeled"))]
        content = content_hash(layout.root, compared)
        if report_once(DRIFT_DETECTED, content, drift_payload(drift), layout):
            sent.append(DRIFT_DETECTED)
    if tables and not (sent and drift_retrains):
        content = content_hash(layout.root, tables)
        if report_once(DATA_CHANGED, content, {"tables": tables}, layout):
            sent.append(DATA_CHANGED)
    return sent


def is_training() -> bool:
    """Return whether a retraining is at work, or about to be."""
    types = FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING])
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=["train"])),
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=types)),
            limit=1,
        )
    return bool(found)


def drift_payload(drift: dict[str, Any]) -> dict[str, Any]:
    """Return what the event says of drift: all but the figures of each column."""
    names = ("input", "sentence", "drifted", "auc", "n_current", "n_reference")
    return {name: drift[name] for name in names}


def report_once(event: str, content: str, payload: dict[str, Any], layout: Layout) -> bool:
    """Emit an event unless it was the last of its name about the same content.

    Returns:
        Whether it was emitted.
    """
    reported = read_json(layout.reported) if layout.reported.exists() else {}
    if reported.get(event) == content:
        return False
    emit(event, layout, {**payload, "content": content})
    write_json(layout.reported, {**reported, event: content})
    return True


def content_hash(root: Path, names: Iterable[str]) -> str:
    """Return a hash of files' names and contents, absent ones included."""
    total = hashlib.sha256()
    for name in names:
        total.update(f"\0{name}\0".encode())
        if (root / name).is_file():
            with (root / name).open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def print_found(found: dict[str, Any], console: Console | None = None) -> None:
    """Print what was found, with a table of the columns that are farthest off."""
    from semigen.report.drift import HEADER, column_rows

    console = console or Console(highlight=False, soft_wrap=True)
    console.print(f"\n{in_words(found)}", markup=False)
    if found["drift"] is not None:
        rows = column_rows(found["drift"])
        table = Table(*HEADER, box=None, padding=(0, 2, 0, 0), header_style="dim")
        for row in rows[:MAX_COLUMNS_PRINTED]:
            table.add_row(*row)
        console.print(table)
        if len(rows) > MAX_COLUMNS_PRINTED:
            console.print(f"{len(rows) - MAX_COLUMNS_PRINTED} more in reports/drift.md")
    if found["events"]:
        console.print(f"Event sent: {', '.join(found['events'])}", style="dim")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = command_parser("monitor").parse_args(argv)

    def check() -> None:  # before a server is started, what would be refused anyway
        load_params(Layout())
        if arguments.input and not Path(arguments.input).exists():
            raise UserError(f"{arguments.input}: no such file; check --input")

    return run_flow(
        lambda: monitor(arguments.input, return_state=True),
        check=check,
        then=print_found,
        debug=arguments.debug,
    )


if __name__ == "__main__":
    sys.exit(main())
