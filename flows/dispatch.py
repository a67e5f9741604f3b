"""Decide where a stage runs: on a worker, or in the process of the flow.

``meta: {worker: gpu}`` in ``dvc.yaml`` names a kind of worker; whether its host has a GPU is known
to the worker alone. If a worker of the project's pool for that kind (``churn-gpu`` for the project
``churn``) is online, the stage is sent there as a run of the deployment ``stage/churn-gpu``, and to
the next worker if the first one is lost. Without a worker the stage runs in place, unless
``compute.require_gpu`` forbids it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar
from uuid import UUID, uuid4

import httpx
from prefect import State, get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import WorkerFilter, WorkerFilterStatus
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, Cancelling

from flows.pipeline import dvc_remote, git
from flows.pipeline.dvc_graph import Stage, is_changed
from flows.pipeline.retry import Log, retry, retry_request
from flows.pipeline.stage import reproduce
from flows.project import Project
from flows.remote import checkpoints
from flows.remote import exchange as remote
from flows.remote.run_log import RunLog
from flows.run_name import project_subject
from flows.stage_run import CACHED, has_ended
from semigen.artifacts import Layout
from semigen.errors import UserError
from semigen.params.config import ComputeParams

ATTEMPTS = 3
"""Number of workers that may be lost while they run a stage before the stage fails."""
POLL_SECONDS = 1.0
T = TypeVar("T")


class Exchange(Protocol):
    """How the files of a stage get to a worker and back."""

    def hand_over(self) -> dict[str, Any]:
        """Make the inputs available to the worker; return parameters for the flow ``stage``."""

    def take_over(self) -> None:
        """Fetch the outputs that the worker wrote."""

    def resume_here(self) -> None:
        """Fetch the checkpoint of a lost worker, so that the stage resumes in place."""


def run_where_wanted(
    stage: Stage,
    layout: Layout,
    compute: ComputeParams,
    *,
    force: bool = False,
    debug: bool = False,
    log: Log = print,
) -> bool:
    """Run a stage on a worker of the kind that it asks for, or in place.

    Args:
        stage: The stage. The stages that it depends on must be up to date.
        layout: The project's files.
        compute: Whether a worker is required, for how long to wait for one, and whether workers
            see the project's folder.
        force: Run the stage even if nothing has changed.
        debug: Log DVC's messages and tracebacks too.
        log: Called with each line of output.

    Returns:
        Whether the stage ran; False if DVC took its outputs from the cache.

    Raises:
        UserError: If the stage failed, if a worker is required and none is online, or if several
            workers were lost while they ran the stage.
    """
    options = {"force": force, "debug": debug}
    project, exchange = Project.of(layout.root), None
    if stage.worker and await_worker(stage.worker, project, compute, log):
        exchange = _exchange(stage, layout, compute, log)
        for _ in range(ATTEMPTS):
            ran = _run_by_worker(stage, project, exchange, options, log)
            if ran is not None:
                return ran
            log(f"the worker that ran {stage.name} was lost")
            if not await_worker(stage.worker, project, compute, log):
                break
        else:
            raise UserError(
                f"stage {stage.name!r}: {ATTEMPTS} workers were lost while they ran it; check "
                "their logs (out of memory?)"
            )
        log(f"no worker is left: {stage.name} runs in place")
        exchange.resume_here()
    return reproduce(stage, layout.root, log=log, **options)


def await_worker(kind: str, project: Project, compute: ComputeParams, log: Log) -> bool:
    """Return whether a worker of a kind is online; wait for one if it is required.

    Raises:
        UserError: If a worker is required and none came online in time.
    """
    if not PREFECT_API_URL.value():
        if compute.require_gpu:
            raise UserError(
                "compute.require_gpu is set, but without a Prefect server there is no "
                "worker: start both with `semigen up`, or set compute.require_gpu to false"
            )
        return False
    pool = project.pool(kind)
    deadline = time.monotonic() + compute.gpu_wait_seconds
    has_logged = False
    while not _query(lambda client: has_worker(client, pool), log):
        if not compute.require_gpu:
            return False
        if time.monotonic() >= deadline:
            raise UserError(
                f"no worker of the pool {pool} is online after {compute.gpu_wait_seconds:.0f} s "
                "(compute.gpu_wait_seconds) and compute.require_gpu is set; start one: "
                f"prefect worker start --pool {pool} --type process --limit 1"
            )
        if not has_logged:
            log(f"waiting up to {compute.gpu_wait_seconds:.0f} s for a worker of the pool {pool}")
            has_logged = True
        time.sleep(POLL_SECONDS)
    return True


def has_worker(client: SyncPrefectClient, pool: str) -> bool:
    """Return whether a pool that is not paused has a worker that is online."""
    online = WorkerFilter(status=WorkerFilterStatus(any_=["ONLINE"]))
    with contextlib.suppress(ObjectNotFound):
        if not client.read_work_pool(pool).is_paused:
            return bool(client.read_workers_for_work_pool(pool, worker_filter=online, limit=1))
    return False


def _run_by_worker(
    stage: Stage, project: Project, exchange: Exchange, options: dict[str, bool], log: Log
) -> bool | None:
    """Return whether the stage ran, or None if the worker was lost."""
    parameters = {"name": stage.name, **options, **exchange.hand_over()}
    state = _run_deployment(stage, project, parameters, log)
    if state is None or state.is_crashed():
        return None
    if not state.is_completed():
        raise UserError(state.message or f"stage {stage.name!r} ended as {state.name} on a worker")
    exchange.take_over()
    return state.name != CACHED


def _run_deployment(
    stage: Stage, project: Project, parameters: dict[str, Any], log: Log
) -> State | None:
    """Return the final state of a run on a worker; None if no worker was left to start it."""
    assert stage.worker is not None
    deployment = project.stage_deployment(stage.worker)
    name = f"{project_subject()}, {stage.name}"
    options: dict[str, Any] = {"parameters": parameters, "flow_run_name": name}
    options["idempotency_key"] = str(uuid4())  # the server may receive the request twice
    try:
        run = retry_request(lambda: run_deployment(deployment, timeout=0, **options), log)
    except ObjectNotFound as error:
        raise UserError(
            f"no deployment {deployment!r} on the server; register it: semigen up"
        ) from error
    assert isinstance(run, FlowRun)  # a coroutine in asynchronous flows only
    pool = project.pool(stage.worker)
    log(f"sent to a worker of the pool {pool}")
    with _canceled_on_exception(run.id):
        return _await_end(run.id, pool, log)


def _await_end(run: UUID, pool: str, log: Log) -> State | None:
    """Log the lines of a run until it ends; return its state, None if no worker started it."""
    output = RunLog(run)
    while True:
        state = _query(lambda client: _state(client, run, pool), log)
        for line in _query(output.new_lines, log):
            log(line)
        if state is None:
            return None
        if state.is_final():
            break
        time.sleep(POLL_SECONDS)
    if state.is_completed() or state.is_failed():
        for line in _query(output.last_lines, log):
            log(line)
    return state


def _state(client: SyncPrefectClient, run: UUID, pool: str) -> State | None:
    state = client.read_flow_run(run).state
    if state is not None and state.is_scheduled() and not has_worker(client, pool):
        client.set_flow_run_state(run, Cancelled(message="No worker is left."), force=True)
        return None
    return state


@contextlib.contextmanager
def _canceled_on_exception(run: UUID) -> Iterator[None]:
    """Cancel a flow run if the block raises an exception, such as an interrupt."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(httpx.HTTPError), get_client(sync_client=True) as client:
            if not has_ended(client, run):
                message = "The parent run was interrupted."
                client.set_flow_run_state(run, Cancelling(message=message))
        raise


def _query(query: Callable[[SyncPrefectClient], T], log: Log) -> T:
    """Return the result of a query to the server, which may be sent several times."""

    def send() -> T:
        with get_client(sync_client=True) as client:
            return query(client)

    return retry_request(send, log)


def _exchange(stage: Stage, layout: Layout, compute: ComputeParams, log: Log) -> Exchange:
    if compute.workspace == "shared":
        return SharedFolder(stage, layout.root)
    discard_abandoned(layout.root, log)
    key = f"{flow_run.id}-{stage.name}"
    return ByRemotes(stage, layout, key, log, compute.checkpoint_seconds)


@dataclass(frozen=True)
class SharedFolder:
    """Exchange with a worker that sees the project's folder."""

    stage: Stage
    root: Path

    def hand_over(self) -> dict[str, Any]:
        return {}

    def take_over(self) -> None:
        if is_changed(self.root, self.stage.name):
            raise UserError(
                f"stage {self.stage.name!r} completed on a worker, but its outputs are not in "
                f"{self.root}: the worker uses another folder "
                "($SEMIGEN_PROJECT); set compute.workspace to clone"
            )

    def resume_here(self) -> None:
        """Do nothing: the checkpoint is in the folder."""


@dataclass(frozen=True)
class ByRemotes:
    """Exchange with a worker that shares only git and DVC's remote."""

    stage: Stage
    layout: Layout
    key: str
    log: Log
    checkpoint_seconds: float

    def hand_over(self) -> dict[str, Any]:
        root = self.layout.root
        remote.snapshot(root, self.stage.name, self.key, log=self.log)
        return {
            "url": git.remote_url(root),
            "ref": remote.request_ref(self.key),
            "checkpoint_seconds": self.checkpoint_seconds,
        }

    def take_over(self) -> None:
        if not remote.collect(self.layout.root, self.stage.name, self.key, log=self.log):
            raise UserError(
                f"stage {self.stage.name!r} completed on a worker, but its result is not on the "
                f"git remote ({remote.result_ref(self.key)})"
            )

    def resume_here(self) -> None:
        store = dvc_remote.store(self.layout.root)
        folder = self.layout.checkpoint(self.stage.name)
        if retry(lambda: checkpoints.download(store, self.key, folder), self.log):
            self.log("downloaded the checkpoint of the lost worker")
        remote.discard(self.layout.root, self.key, log=self.log)


def discard_abandoned(root: Path, log: Log) -> None:
    """Remove files of killed flow runs from the remotes."""
    git.check_repository(root)
    refs = retry(lambda: git.remote_refs(root, "refs/semigen/*"), log)
    for key in {ref.split("/")[2] for ref in refs}:
        if _query(partial(_has_run_ended, key), log):
            remote.discard(root, key, log=log)


def _has_run_ended(key: str, client: SyncPrefectClient) -> bool:
    """Return whether the flow run of a key has ended; False if this server does not know it."""
    with contextlib.suppress(ObjectNotFound, ValueError):
        state = client.read_flow_run(UUID(key[:36])).state
        return state is not None and state.is_final()
    return False
