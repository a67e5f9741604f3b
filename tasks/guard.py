"""A stage runs once at a time, and no longer than those that started it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

OWNER = "SEMIGEN_OWNER"
"""Names, in the environment, the process for which a stage runs, as ``pid:time of its start``."""
parent: int | None = None
"""The process that waits for this one if it is not its parent (``tasks.fork_server``)."""
LOOK_SECONDS = 0.5
GRACE_SECONDS = 5.0
"""How long an interrupted process has to tidy up."""


@contextlib.contextmanager
def only_one(stage: str, lock: Path) -> Iterator[None]:
    """Hold a stage's lock; wait, and say so, while another process holds it.

    DVC keeps its own books of who writes what, but a stage outlives a DVC that is killed. The
    system releases the lock of a process that ends in whatever way.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    holder = FileLock(lock)
    try:
        holder.acquire(timeout=0)
    except Timeout:
        print(f"{stage}: waiting for another process that runs this stage ({lock})", flush=True)
        holder.acquire()
    try:
        yield
    finally:
        holder.release()


def owner_of_children() -> str:
    """Return what ``OWNER`` is for stages that this process starts."""
    return f"{os.getpid()}:{psutil.Process().create_time()}"


def end_with_parents() -> None:
    """End this process soon after its parent, or the process named by ``OWNER``, has ended.

    Killed processes cannot end what they started. An orphan would go on computing what nobody
    waits for, beside its successor.
    """
    watched: list[psutil.Process | None] = [_process(parent or os.getppid())]
    owner = os.environ.get(OWNER)
    if owner:
        pid, _, started = owner.partition(":")
        watched.append(_process(int(pid), float(started)))
    threading.Thread(target=_watch, args=(watched,), daemon=True, name="end-with-parents").start()


def _process(pid: int, started: float | None = None) -> psutil.Process | None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        # One started at another time has but the number of the one that is meant.
        if started is None or abs(process.create_time() - started) < 1:
            return process
    return None


def _watch(watched: list[psutil.Process | None]) -> None:
    while all(process is not None and _is_alive(process) for process in watched):
        time.sleep(LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGINT)  # lets the stage remove its temporary files
    time.sleep(GRACE_SECONDS)
    os._exit(1)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
