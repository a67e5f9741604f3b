"""The flow ``monitor``: check for changed tables and for drift, and start a retraining."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import State, flow, get_client, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, Failed
from rich.console import Console
from rich.table import Table

from flows.command import run_flow
from flows.events import DATA_CHANGED, DRIFT_DETECTED, emit
from flows.pipeline.dvc_graph import changed_tables, settle_scm
from flows.pipeline.overrides import load_params
from flows.pipeline.retry import retry_request
from flows.project import Project
from flows.run_name import project_subject, rename, shortened
from flows.run_process import record_process
from semigen.artifacts import Layout, check_input, read_json, write_json
from semigen.cli.commands import command_parser
from semigen.errors import UserError
from semigen.params.config import Params, RetrainParams
from semigen.wording import count, printable

MAX_COLUMNS_PRINTED = 15
NO_SLOT = "concurrency limit"
"""Part of the message of a run that Prefect cancels because another one is running."""
NOT_MEASURED: dict[str, Any] = {
    "changed_tables": None,
    "drift": None,
    "not_measured": "a retraining is running; tables and drift are checked after it",
    "events": [],
}
"""Result during a retraining. Its stages write the files that would be read, and the run that a
finding would start would be canceled, since only one retraining runs at a time."""


def run_name() -> str:
    """Return the name of the flow run until its result is known: the tables that are checked."""
    name = flow_run.parameters.get("input")
    if name is None:
        try:
            name = Params.load(Layout().params).monitor.input
        except UserError:  # reported by the flow
            name = None
    return shortened(f"{project_subject()}, tables{f' and {name}' if name else ''}")


def result_name(found: dict[str, Any]) -> str:
    """Return the findings in a few words, for the name of the run."""
    if found["changed_tables"] is None:
        return "not checked during a retraining"
    n_changed = len(found["changed_tables"])
    tables = f"{count(n_changed, 'table')} changed" if n_changed else "tables unchanged"
    if found["drift"] is None:
        return tables
    return f"{'drift' if found['drift']['has_drifted'] else 'no drift'}, {tables}"


@flow(name="monitor", flow_run_name=run_name, on_running=[record_process])
def monitor(input: str | None = None) -> State[Any]:  # noqa: A002 - the name of the command's option
    """Check for changed tables and for drift; report each finding once and start a retraining.

    Args:
        input: Table of new rows; ``monitor.input`` of ``params.yaml`` if None.

    Returns:
        ``changed_tables``, None if they were not checked; ``drift`` as returned by
        ``tasks.monitor.monitor``, or None with the reason in ``not_measured``; and ``events``, the
        names of the events that were sent.
    """
    layout = Layout()
    if PREFECT_API_URL.value() and is_training(Project.of(layout.root)):
        rename(f"{project_subject()}, {result_name(NOT_MEASURED)}")
        return Completed(message=describe(NOT_MEASURED), data=NOT_MEASURED)
    try:
        params = load_params(layout)
        settle_scm(layout.root)
        tables = changed_tables(layout.root)
        drift, not_measured = measure_drift(params, layout, input)
    except UserError as error:
        return Failed(message=str(error))
    found = {"changed_tables": tables, "drift": drift, "not_measured": not_measured}
    show(found, layout)
    try:
        events = report(found, layout, params.retrain)
    except UserError as error:
        return Failed(message=str(error))
    rename(f"{project_subject()}, {result_name(found)}")
    return Completed(message=describe(found), data={**found, "events": events})


def measure_drift(
    params: Params, layout: Layout, name: str | None
) -> tuple[dict[str, Any] | None, str | None]:
    """Return the drift of a table, or None and the reason why it cannot be measured.

    Raises:
        UserError: If the table was named in the call and does not exist, or cannot be read.
    """
    from tasks.monitor import is_ready
    from tasks.monitor import monitor as measure

    watched = name or params.monitor.input
    if watched is None:
        return None, "no table of new rows is set (monitor.input)"
    if not layout.source(watched).exists():
        if name:
            raise UserError(f"{name}: no such file; check input")
        return None, f"{watched} (monitor.input) does not exist"
    if not is_ready(layout):
        return None, f"{watched} cannot be compared: no run has prepared the tables yet"
    return measure(params, layout, watched), None


def describe(found: dict[str, Any]) -> str:
    """Return the findings in one line."""
    tables, drift = found["changed_tables"], found["drift"]
    if tables is None:
        return str(found["not_measured"])
    changed = f"changed tables: {', '.join(tables)}" if tables else "no table changed"
    return f"{drift['sentence']}; {changed}" if drift else f"{changed}; {found['not_measured']}"


def show(found: dict[str, Any], layout: Layout) -> None:
    """Create the artifacts: a page and, if drift was measured, a table of its columns."""
    from semigen.report.drift import HEADER, column_rows
    from semigen.report.markdown import escape

    drift, tables = found["drift"], found["changed_tables"]
    changed = "".join(f"\n- {escape(name)}" for name in tables) or " none"
    page = f"Tables changed since the last run:{changed}\n\n"
    if drift is None:
        create_markdown_artifact(f"{page}Drift: {escape(found['not_measured'])}\n", key="drift")
        return
    create_markdown_artifact(
        page + layout.drift_markdown.read_text(encoding="utf-8"),
        key="drift",
        description=escape(drift["sentence"]),
    )
    create_table_artifact(
        [dict(zip(HEADER, row, strict=True)) for row in column_rows(drift)],
        key="drift-columns",
        description=escape(f"{drift['input']}: {drift['sentence']}"),
    )


def report(found: dict[str, Any], layout: Layout, retrain: RetrainParams) -> list[str]:
    """Report the findings that are new, and start a retraining as set in ``retrain``.

    With a temporary server nothing is reported, since it has no worker that could retrain: the
    findings are left for the next run. Changed tables are left, too, if drift has started a
    retraining: of two runs that start at the same time Prefect may cancel one or none.

    Returns:
        Names of the events that were sent.

    Raises:
        UserError: If the server did not answer.
    """
    sent: list[str] = []
    if not PREFECT_API_URL.value():
        return sent
    tables, drift = found["changed_tables"], found["drift"]
    if drift and drift["has_drifted"]:
        # The reference rows are part of the finding: the same batch may have drifted from the rows
        # of a later run as well.
        compared = [drift["input"], str(layout.prepared("unlabeled"))]
        content = content_hash(layout.root, compared)
        payload = drift_payload(drift)
        if report_once(DRIFT_DETECTED, content, payload, layout, retrains=retrain.on_drift):
            sent.append(DRIFT_DETECTED)
    if tables and not (sent and retrain.on_drift):
        content = content_hash(layout.root, tables)
        payload = {"tables": tables}
        if report_once(DATA_CHANGED, content, payload, layout, retrains=retrain.on_new_data):
            sent.append(DATA_CHANGED)
    return sent


def is_training(project: Project) -> bool:
    """Return whether a retraining of the project is running or about to start."""
    types = FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING])
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=["train"])),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=types), tags=FlowRunFilterTags(all_=[project.tag])
            ),
            limit=1,
        )
    return bool(found)


def drift_payload(drift: dict[str, Any]) -> dict[str, Any]:
    """Return the payload of the event: the drift without the figures of each column."""
    names = ("input", "sentence", "drifted", "auc", "n_current", "n_reference")
    return {name: drift[name] for name in names}


def report_once(
    event: str, content: str, payload: dict[str, Any], layout: Layout, *, retrains: bool
) -> bool:
    """Report a finding unless it is the one that was reported last.

    The finding is recorded as reported when the server has accepted the run that it starts, so
    that a finding is never lost with a server or a process that is killed. If the server has then
    canceled that run because another one started at the same time, the next call starts it again.

    Args:
        event: Name of the event.
        content: Hash of the files that the finding is about.
        payload: Payload of the event, which is sent for notifications.
        layout: The project's files.
        retrains: Whether the finding starts a retraining.

    Returns:
        Whether the finding was reported.

    Raises:
        UserError: If the server did not answer.
    """
    reported = read_json(layout.reported) if layout.reported.exists() else {}
    last = reported.get(event)
    known = last if isinstance(last, dict) else {"content": last}  # a hash in earlier versions
    is_new = known["content"] != content
    if not is_new and not was_refused_a_slot(known.get("run")):
        return False
    run = start_training(event, Project.of(layout.root)) if retrains else None
    if is_new:
        emit(event, layout, {**payload, "content": content})
    write_json(layout.reported, {**reported, event: {"content": content, "run": run}})
    return is_new


def was_refused_a_slot(run: str | None) -> bool:
    """Return whether a run was canceled before its start, since only one may run at a time.

    Args:
        run: Id of the flow run; None for no run.

    Raises:
        UserError: If the server did not answer.
    """
    if run is None:
        return False

    def read() -> State[Any] | None:
        with get_client(sync_client=True) as client:
            return client.read_flow_run(UUID(run)).state

    try:
        state = retry_request(read, get_run_logger().info)
    except ObjectNotFound:  # deleted, or of another server
        return False
    return state is not None and state.is_cancelled() and NO_SLOT in (state.message or "")


def start_training(reason: str, project: Project) -> str | None:
    """Start the deployment ``train`` of the project, if it is registered.

    Returns:
        The id of the flow run; None if the deployment is not registered.

    Raises:
        UserError: If the server did not answer.
    """
    log, name = get_run_logger().info, project.deployment("train")
    options: dict[str, Any] = {
        "parameters": {"reason": reason},
        "timeout": 0,
        "as_subflow": False,  # it runs longer than this run
        # The server may receive the request twice. Projects on one server share the flow.
        "idempotency_key": f"{project.name} {flow_run.id} {reason}",
    }
    try:
        run = retry_request(lambda: run_deployment(name, **options), log)
    except ObjectNotFound:
        log("no deployment %r on the server, so no retraining was started: semigen up", name)
        return None
    assert isinstance(run, FlowRun)  # a coroutine in asynchronous flows only
    log("started %s (%s)", name, reason)
    return str(run.id)


def content_hash(root: Path, names: Iterable[str]) -> str:
    """Return a hash of the names and contents of files, which need not exist."""
    total = hashlib.sha256()
    for name in names:
        total.update(f"\0{name}\0".encode())
        if (root / name).is_file():
            with (root / name).open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def print_found(found: dict[str, Any], console: Console | None = None) -> None:
    """Print the findings, with a table of the columns that differ most."""
    from semigen.report.drift import HEADER, column_rows

    console = console or Console(highlight=False, soft_wrap=True)
    console.print(f"\n{printable(describe(found))}", markup=False)
    if found["drift"] is not None:
        rows = column_rows(found["drift"])
        table = Table(*HEADER, box=None, padding=(0, 2, 0, 0), header_style="dim")
        for row in rows[:MAX_COLUMNS_PRINTED]:
            table.add_row(*map(printable, row))
        console.print(table)
        if len(rows) > MAX_COLUMNS_PRINTED:
            console.print(f"{len(rows) - MAX_COLUMNS_PRINTED} more in reports/drift.md")
    if found["events"]:
        console.print(f"Event sent: {', '.join(found['events'])}", style="dim")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = command_parser("monitor").parse_args(argv)

    def check() -> None:
        load_params(Layout())
        if arguments.input:
            check_input(Path(arguments.input))

    return run_flow(
        monitor,
        {"input": arguments.input},
        check=check,
        then=print_found,
        debug=arguments.debug,
    )


if __name__ == "__main__":
    sys.exit(main())
