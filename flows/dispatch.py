"""Where a stage runs: on a worker of the pool that it wants, or in place.

``meta: {worker: gpu}`` in ``dvc.yaml`` names the pool. A stage goes there, as a run of the
deployment ``stage/gpu``, if a worker is alive, and to the next one if that dies. Without a worker
it runs in place, unless ``compute.require_gpu`` forbids it.
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
from flows.pipeline.retry import Log, Unreachable, patiently
from flows.pipeline.stage import reproduce
from flows.remote import checkpoints
from flows.remote import exchange as remote
from flows.stage_run import CACHED, has_ended
from semigen.artifacts import Layout
from semigen.errors import UserError
from semigen.params.config import ComputeParams

ATTEMPTS = 3
"""Workers that may die at one stage before it is the stage that is to blame."""
LOOK_SECONDS = 1.0
T = TypeVar("T")


class Exchange(Protocol):
    """How a worker gets at what a stage reads, and the flow at what it wrote."""

    def hand_over(self) -> dict[str, Any]:
        """Make the inputs available; return what the stage's flow run is told of it."""

    def take_over(self) -> None:
        """Take the outputs that a worker made."""

    def resume_here(self) -> None:
        """Bring what a lost worker left, so that the stage goes on in place."""


def run_where_wanted(
    stage: Stage,
    layout: Layout,
    compute: ComputeParams,
    *,
    force: bool = False,
    debug: bool = False,
    log: Log = print,
) -> bool:
    """Run a stage by a worker of its pool or in place.

    Args:
        stage: Those that it depends on must be up to date.
        layout: The project.
        compute: Whether a worker is required, how long one is waited for, and what it sees.
        force: Run it even if nothing changed.
        debug: Pass on DVC's messages and tracebacks too.
        log: Takes each line of output.

    Returns:
        Whether the stage ran; False if DVC had its outputs in the cache.

    Raises:
        UserError: If the stage failed, if there is no worker and one is required, or if several
            died at it.
    """
    options = {"force": force, "debug": debug}
    exchange: Exchange | None = None
    if stage.worker and await_worker(stage.worker, compute, log):
        exchange = _exchange(stage, layout, compute, log)
        for _ in range(ATTEMPTS):
            ran = _run_by_worker(stage, exchange, options, log)
            if ran is not None:
                return ran
            log(f"the {stage.worker} worker that ran {stage.name} was lost")
            if not await_worker(stage.worker, compute, log):
                break
        else:
            raise UserError(
                f"stage {stage.name!r}: {ATTEMPTS} {stage.worker} workers were lost at it, one "
                "after the other; look for the cause in their logs (out of memory?)"
            )
        log(f"no {stage.worker} worker is left: {stage.name} runs in place")
        exchange.resume_here()
    return reproduce(stage, layout.root, log=log, **options)


def await_worker(pool: str, compute: ComputeParams, log: Log) -> bool:
    """Return whether a pool has a live worker; wait for one if the stage must have it.

    Raises:
        UserError: If the stage must have one and none came in time.
    """
    if not PREFECT_API_URL.value():
        if compute.require_gpu:
            raise UserError(
                f"compute.require_gpu is set, but without a Prefect server there is no {pool} "
                "worker: start them with `make ui`, or set compute.require_gpu to false"
            )
        return False
    deadline = time.monotonic() + compute.gpu_wait_seconds
    is_told = False
    while not _asked(lambda client: has_worker(client, pool), log):
        if not compute.require_gpu:
            return False
        if time.monotonic() >= deadline:
            raise UserError(
                f"no {pool} worker is alive after {compute.gpu_wait_seconds:.0f} s "
                "(compute.gpu_wait_seconds) and compute.require_gpu is set; start one: "
                f"prefect worker start --pool {pool} --type process --limit 1"
            )
        if not is_told:
            log(f"waiting up to {compute.gpu_wait_seconds:.0f} s for a {pool} worker")
            is_told = True
        time.sleep(LOOK_SECONDS)
    return True


def has_worker(client: SyncPrefectClient, pool: str) -> bool:
    """Return whether a pool that takes runs has a worker that gave a sign of life of late."""
    alive = WorkerFilter(status=WorkerFilterStatus(any_=["ONLINE"]))
    with contextlib.suppress(ObjectNotFound):
        if not client.read_work_pool(pool).is_paused:
            return bool(client.read_workers_for_work_pool(pool, worker_filter=alive, limit=1))
    return False


def _run_by_worker(
    stage: Stage, exchange: Exchange, options: dict[str, bool], log: Log
) -> bool | None:
    """Return whether the stage ran, or None if the worker was lost."""
    assert stage.worker is not None
    told = {"name": stage.name, **options, **exchange.hand_over()}
    state = _run_deployment(stage.name, stage.worker, told, log)
    if state is None or state.is_crashed():
        return None
    if not state.is_completed():
        raise UserError(state.message or f"stage {stage.name!r} ended as {state.name} on a worker")
    exchange.take_over()
    return state.name != CACHED


def _run_deployment(name: str, pool: str, parameters: dict[str, Any], log: Log) -> State | None:
    """Run a pool's deployment to its end; None if the pool lost its workers before one took it."""
    deployment = f"stage/{pool}"
    options: dict[str, Any] = {"parameters": parameters, "flow_run_name": name}
    options["idempotency_key"] = str(uuid4())  # the request may be received twice
    try:
        run = answered(lambda: run_deployment(deployment, timeout=0, **options), log)
    except ObjectNotFound as error:
        raise UserError(
            f"no deployment {deployment!r} on the server; register it: make ui"
        ) from error
    assert isinstance(run, FlowRun)  # a coroutine in asynchronous flows only
    log(f"sent to a {pool} worker")
    with _cancelled_with_us(run.id):
        while True:
            state = _asked(lambda client: _state(client, run.id, pool), log)
            if state is None or state.is_final():
                return state
            time.sleep(LOOK_SECONDS)


def _state(client: SyncPrefectClient, run: UUID, pool: str) -> State | None:
    state = client.read_flow_run(run).state
    if state is not None and state.is_scheduled() and not has_worker(client, pool):
        client.set_flow_run_state(run, Cancelled(message="No worker is left."), force=True)
        return None
    return state


@contextlib.contextmanager
def _cancelled_with_us(run: UUID) -> Iterator[None]:
    """Cancel a run when the block is left by an exception, such as an interrupt."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(httpx.HTTPError), get_client(sync_client=True) as client:
            if not has_ended(client, run):
                message = "The run that asked for it was interrupted."
                client.set_flow_run_state(run, Cancelling(message=message))
        raise


def _asked(question: Callable[[SyncPrefectClient], T], log: Log) -> T:
    """Return the server's answer."""

    def ask() -> T:
        with get_client(sync_client=True) as client:
            return question(client)

    return answered(ask, log)


def answered(request: Callable[[], T], log: Log) -> T:
    """Return what a request to the server returns; wait for a server that is started anew.

    Args:
        request: May be sent several times.
        log: Is told of every failure.

    Raises:
        httpx.HTTPStatusError: If the server refused.
        UserError: If it did not answer in time.
    """

    def attempt() -> T:
        try:
            return request()
        except httpx.HTTPError as error:
            if isinstance(error, httpx.HTTPStatusError) and error.response.is_client_error:
                raise
            raise Unreachable(f"Prefect server: {error}") from error

    return patiently(attempt, log)


def _exchange(stage: Stage, layout: Layout, compute: ComputeParams, log: Log) -> Exchange:
    if compute.workspace == "shared":
        return SharedFolder(stage, layout.root)
    discard_abandoned(layout.root, log)
    key = f"{flow_run.id}-{stage.name}"
    return ByRemotes(stage, layout, key, log, compute.checkpoint_seconds)


@dataclass(frozen=True)
class SharedFolder:
    """The worker sees the project's folder."""

    stage: Stage
    root: Path

    def hand_over(self) -> dict[str, Any]:
        return {}

    def take_over(self) -> None:
        if is_changed(self.root, self.stage.name):
            raise UserError(
                f"stage {self.stage.name!r} completed on a {self.stage.worker} worker, but its "
                f"outputs are not in {self.root}: the worker sees another folder "
                "($SEMIGEN_PROJECT); set compute.workspace to clone"
            )

    def resume_here(self) -> None:
        """The checkpoint is in the folder."""


@dataclass(frozen=True)
class ByRemotes:
    """The worker has only git and DVC's remote."""

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
                f"stage {self.stage.name!r} completed on a {self.stage.worker} worker, but its "
                f"result is not on the git remote ({remote.result_ref(self.key)})"
            )

    def resume_here(self) -> None:
        store = dvc_remote.store(self.layout.root)
        folder = self.layout.checkpoint(self.stage.name)
        if patiently(lambda: checkpoints.download(store, self.key, folder), self.log):
            self.log("brought the checkpoint of the lost worker")
        remote.discard(self.layout.root, self.key, log=self.log)


def discard_abandoned(root: Path, log: Log) -> None:
    """Remove what killed flow runs left on the remotes."""
    git.check_repository(root)
    refs = patiently(lambda: git.remote_refs(root, "refs/semigen/*"), log)
    for key in {ref.split("/")[2] for ref in refs}:
        if _asked(partial(_is_over, key), log):
            remote.discard(root, key, log=log)


def _is_over(key: str, client: SyncPrefectClient) -> bool:
    """Return whether a key's flow run has ended; another server's is none of our business."""
    with contextlib.suppress(ObjectNotFound, ValueError):
        state = client.read_flow_run(UUID(key[:36])).state
        return state is not None and state.is_final()
    return False
