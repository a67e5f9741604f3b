"""Locks that let one process at a time run a stage, or use a clone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout


def _print(line: str) -> None:
    print(line, flush=True)


@contextlib.contextmanager
def exclusive(path: Path, waiting: str, log: Callable[[str], None] = _print) -> Iterator[None]:
    """Hold a lock while the block runs; wait while another process holds it.

    DVC has locks of its own, but a stage outlives a DVC that is killed. The operating system
    releases the lock of a process that is killed.

    Args:
        path: The lock file.
        waiting: Message that is logged if another process holds the lock.
        log: Called with the message.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log(waiting)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def only_one(stage: str, path: Path) -> Iterator[None]:
    """Hold the lock of a stage while the block runs."""
    with exclusive(path, f"{stage}: waiting for another process that runs this stage ({path})"):
        yield
