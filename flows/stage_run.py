"""The flow ``stage``, which runs one stage on a worker of another pool for the flow ``train``.

The run exits when its parent run has ended. It checks that itself, since a flow that is killed
cannot terminate a process on another host.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import httpx
from prefect import State, flow, get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed

from flows.pipeline.dvc_graph import plan
from flows.pipeline.stage import reproduce
from flows.remote.checkpoints import SECONDS_BETWEEN
from flows.remote.clone import default_workspace
from flows.remote.exchange import run_in_clone
from flows.remote.run_log import output_logger
from flows.run_name import project_subject, rename, shortened
from semigen.artifacts import Layout
from semigen.errors import UserError

CACHED = "Cached"
"""Name of the state of a stage that is up to date."""
POLL_SECONDS = 5.0


def run_name() -> str:
    """Return the name of the flow run until its result is known: the one that its parent chose."""
    chosen = flow_run.name if flow_run.parent_flow_run_id else None
    return chosen or shortened(f"{project_subject()}, {flow_run.parameters['name']}")


@flow(name="stage", flow_run_name=run_name)
def stage_run(
    name: str,
    force: bool = False,
    debug: bool = False,
    url: str = "",
    ref: str = "",
    checkpoint_seconds: float = SECONDS_BETWEEN,
) -> State[Any]:
    """Run one stage in the project's folder, or in a clone.

    Args:
        name: The stage. The stages that it depends on must be up to date.
        force: Run the stage even if nothing has changed.
        debug: Log DVC's messages too.
        url: Repository to clone; empty if this worker sees the folder of the parent run.
        ref: Ref of the request in that repository (``flows.remote.exchange``).
        checkpoint_seconds: Minimum time between uploads of a clone's checkpoints.
    """
    log, started = output_logger(), time.monotonic()
    try:
        with exit_with_parent_run(log):
            if url:
                run_in_clone(
                    *(url, ref, name, default_workspace()),
                    log=log,
                    force=force,
                    debug=debug,
                    checkpoint_seconds=checkpoint_seconds,
                )
                ran = True
            else:
                root = Layout().root
                ran = reproduce(plan(root, name)[-1], root, force=force, debug=debug, log=log)
    except UserError as error:
        return Failed(message=str(error))
    result = f"in {time.monotonic() - started:.0f} s" if ran else "cached"
    rename(f"{flow_run.name} {result}")
    return Completed() if ran else Completed(name=CACHED)


@contextlib.contextmanager
def exit_with_parent_run(log: Callable[[str], None]) -> Iterator[None]:
    """Terminate this process when its flow run or the parent run has ended."""
    own, parent = flow_run.id, flow_run.parent_flow_run_id
    if own is None:
        yield
        return
    stop = threading.Event()
    arguments = (UUID(own), UUID(parent) if parent else None, log, stop)
    watcher = threading.Thread(target=_watch, args=arguments, daemon=True, name="parent-run")
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()


def _watch(
    own: UUID, parent: UUID | None, log: Callable[[str], None], stop: threading.Event
) -> None:
    with get_client(sync_client=True) as client:
        while not stop.wait(POLL_SECONDS):
            with contextlib.suppress(httpx.HTTPError):  # the server may be down for a while
                if has_ended(client, own):
                    break
                if parent is not None and has_ended(client, parent):
                    message = f"The parent run has ended: {_last_state(client, parent)}"
                    log(message)
                    client.set_flow_run_state(own, Cancelled(message=message), force=True)
                    break
        else:
            return
    os.kill(os.getpid(), signal.SIGTERM)  # Prefect's handler terminates the stage too


def _last_state(client: SyncPrefectClient, run: UUID) -> str:
    try:
        state = client.read_flow_run(run).state
    except ObjectNotFound:
        return "it was deleted"
    return f"{state.name} {state.message or ''}".strip() if state else "unknown state"


def has_ended(client: SyncPrefectClient, run: UUID) -> bool:
    """Return whether a flow run has ended, is being canceled, or was deleted."""
    try:
        state = client.read_flow_run(run).state
    except ObjectNotFound:
        return True
    return state is not None and (state.is_final() or state.is_cancelling())
