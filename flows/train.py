"""Run every stage of the pipeline that is not up to date, each as a Prefect task run.

``semigen run`` and ``dvc repro`` do the same work, and each uses the results of the other.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

from prefect import State, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.context import TagsContext
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, Failed

from flows.command import run_flow
from flows.dispatch import run_where_wanted
from flows.display.live import show_progress
from flows.display.publish import publish
from flows.display.run_page import champion_line, headline, show_run
from flows.display.summary import print_summary
from flows.pipeline.dvc_graph import Stage, is_changed, plan, settle_scm
from flows.pipeline.fork_server import fork_server
from flows.pipeline.history import record, tag
from flows.pipeline.overrides import (
    TABLE_PARAMETERS,
    checked_params,
    data_overrides,
    load_params,
)
from flows.pipeline.promotion import is_promotion_due, promote_model
from flows.pipeline.retry import Log
from flows.pipeline.trial import FIRST_STAGES, Trial
from flows.run_name import rename, subject, trained_name, training_name
from flows.run_process import record_process
from flows.stage_run import CACHED
from semigen.artifacts import Layout, read_json
from semigen.cli.commands import command_parser
from semigen.cli.tables import table_overrides
from semigen.errors import UserError
from semigen.params.config import PARTS, Params


def run_name() -> str:
    """Return the name of the flow run until its result is known."""
    given = flow_run.parameters
    tables = {name: given[name] for name in TABLE_PARAMETERS}
    try:
        params = checked_params([*data_overrides(**tables), *given["overrides"]], Layout())
    except UserError:  # reported by the flow
        return training_name("invalid parameters", given["reason"])
    return training_name(subject(params), given["reason"])


@flow(name="train", flow_run_name=run_name, on_running=[record_process])
def train(
    labeled: str = "",
    unlabeled: str = "",
    target: str = "",
    test: str = "",
    overrides: Sequence[str] = (),
    force: bool = False,
    debug: bool = False,
    reason: str = "by hand",
) -> dict[str, bool] | State[Any]:
    """Bring ``report`` and every stage that it depends on up to date, then promote the model.

    Args:
        labeled: Table of labeled rows, CSV or Parquet, as a path in the project's folder. This and
            the next three fields set ``data`` in ``params.yaml``; an empty field changes nothing.
        unlabeled: Table of unlabeled rows. If only the labeled table is given, it is this one too.
        target: Name of the label column.
        test: Table of test rows. If there is none, they are split off the labeled table.
        overrides: Other parameters to set in ``params.yaml`` first, e.g. ``train.epochs=20``. The
            file keeps all values unless the stages ``sample`` and ``validate`` refuse them.
        force: Run all stages, even those that are up to date.
        debug: Log DVC's messages too.
        reason: Why the run was started.

    Returns:
        For each stage whether it ran; the others were up to date.
    """
    layout, log = Layout(), get_run_logger().info
    tables = data_overrides(labeled=labeled, unlabeled=unlabeled, target=target, test=test)
    overrides = [*tables, *overrides]
    with Trial(layout, log) as trial:
        try:
            params = checked_params(overrides, layout)
            gather(params, layout, log)
            for change in trial.set_parameters(overrides):
                log("params.yaml  %s", change)
            params = load_params(layout)
            settle_scm(layout.root)
            stages = plan(layout.root, log=log)
        except UserError as error:
            return Failed(message=str(error))
        # For each tag of a task run Prefect requests a slot, and SQLite may take two seconds to
        # answer.
        with TagsContext(current_tags=set()):
            options = {"force": force, "debug": debug}
            return _run_tasks(stages, layout, params, trial, reason=reason, **options)


def gather(params: Params, layout: Layout, log: Log) -> None:
    """Write the tables that are gathered from the sources in section ``sources``, if any.

    Raises:
        UserError: As ``gather_tables``.
    """
    if any(getattr(params.sources, part) for part in PARTS):
        from semigen.tables.gather import gather_tables  # importing pandas takes long

        for line in gather_tables(params, layout):
            log(line)


def _run_tasks(
    stages: list[Stage],
    layout: Layout,
    params: Params,
    trial: Trial,
    *,
    force: bool,
    debug: bool,
    reason: str,
) -> State[Any]:
    """Run stages, promotion and commit as tasks; return the state of the flow run."""
    ran, about = {}, subject(params)
    due = [stage for stage in stages if force or stage.pending]
    trial.protect([stage for stage in due if stage.name in FIRST_STAGES])
    plotter = ThreadPoolExecutor(1, "plots") if due else None
    options = {"force": force, "debug": debug, "plotter": plotter}
    with fork_server(due) if due else nullcontext(), plotter or nullcontext():
        for stage in stages:
            if stage.command and stage.name not in FIRST_STAGES:
                trial.accept()
            state = _as_task(stage)(stage, **options, return_state=True)
            if not state.is_completed():
                rename(training_name(f"{about} failed in {stage.name}", reason))
                return Failed(message=trial.refuse(state.message or f"stage {stage.name!r} failed"))
            ran[stage.name] = state.name != CACHED
        summary = headline(layout, ran)
        if is_promotion_due(layout):
            state = promote_model(reason, return_state=True)
            if not state.is_completed():
                return Failed(message=state.message)
    name = trained_name(about, reason, read_json(layout.metrics), changed=any(ran.values()))
    rename(name)
    if params.retrain.commit:
        state = commit_run(stages, summary, name, return_state=True)
        if not state.is_completed():
            return Failed(message=state.message)
    if PREFECT_API_URL.value():
        show_run(layout, stages, ran)
    get_run_logger().info(summary)
    return Completed(message=summary, data=ran)


@task(name="commit", task_run_name="commit", cache_policy=NO_CACHE)
def commit_run(stages: list[Stage], summary: str, name: str) -> State[Any]:
    """Push DVC's cache and commit the changes of the run, as set in ``retrain.commit``."""
    layout, log = Layout(), get_run_logger().info
    message = f"{summary}\n\nRun: {name} {flow_run.id}\nChampion: {champion_line(layout)}"
    try:
        commit = record(layout, stages, message, log)
        tag(layout, log)
    except UserError as error:
        return Failed(message=str(error))
    return Completed(name="Completed" if commit else CACHED)


@task(cache_policy=NO_CACHE)
def run_stage(stage: Stage, *, force: bool, debug: bool, plotter: Executor | None) -> State[Any]:
    """Run a stage unless it is up to date; its state is then named ``CACHED``.

    Args:
        stage: The stage. The stages that it depends on have been run.
        force: Run the stage even if nothing has changed.
        debug: Log DVC's messages too.
        plotter: Executor that draws plots of the results; None for no plots.
    """
    layout, logger = Layout(), get_run_logger()
    force = force or (stage.name == "report" and is_report_stale(layout))
    try:
        with show_progress(stage.name, layout):
            ran = is_due(stage, layout, force=force) and run_where_wanted(
                stage,
                layout,
                load_params(layout).compute,
                force=force,
                debug=debug,
                log=logger.info,
            )
    except UserError as error:
        publish(stage.name, layout, plotter)
        return Failed(message=str(error))
    if ran or PREFECT_API_URL.value():  # a temporary server needs no artifacts of cached stages
        publish(stage.name, layout, plotter)
    return Completed() if ran else Completed(name=CACHED)


def is_due(stage: Stage, layout: Layout, *, force: bool) -> bool:
    """Return whether a stage must run.

    A pending stage need not run if the stages before it ran and wrote the same files as before.
    """
    return force or (stage.pending and is_changed(layout.root, stage.name))


def is_report_stale(layout: Layout) -> bool:
    """Return whether the HTML page, which DVC does not track, is older than the metrics."""
    if not (layout.report.exists() and layout.metrics.exists()):
        return True
    return layout.report.stat().st_mtime < layout.metrics.stat().st_mtime


def _as_task(stage: Stage) -> Any:
    return run_stage.with_options(name=stage.name, task_run_name=stage.name)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = command_parser("run").parse_args(argv)
    layout = Layout()
    overrides = [*table_overrides(arguments, layout.root), *arguments.overrides]

    def check() -> None:
        with Trial(layout, print):  # restores the parameters if the last run was killed
            checked_params(overrides, layout)

    return run_flow(
        train,
        {"overrides": overrides, "force": arguments.force, "debug": arguments.debug},
        check=check,
        then=lambda ran: print_summary(layout, ran),
        debug=arguments.debug,
    )


if __name__ == "__main__":
    sys.exit(main())
