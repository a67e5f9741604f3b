"""Checks of a project after a fault, for ``benchmarks.chaos`` and the tests of faults."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from semigen.artifacts import read_json
from tasks.process_lifetime import OWNER, processes_with

ORPHAN_SECONDS = 15.0
"""Time in which processes must exit after their owner: it is checked every half second, a stage has
five seconds to clean up, and a stage on a worker checks its parent run every five seconds."""


def hashes(root: Path, paths: Sequence[str]) -> dict[str, str]:
    """Return the SHA-256 of every file at or below some paths, by file name."""
    found = {}
    for path in paths:
        files = (root / path).rglob("*") if (root / path).is_dir() else [root / path]
        for file in files:
            if file.is_file():
                name = str(file.relative_to(root))
                found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def complaints(
    root: Path, expected: Mapping[str, str], outputs: Sequence[str], environment: dict[str, str]
) -> list[str]:
    """Return the differences from an undisturbed run as messages; empty if there are none.

    Args:
        root: The project's root. No run may be active.
        expected: ``hashes`` after an undisturbed run.
        outputs: Paths of the outputs that are compared.
        environment: Environment variables of ``dvc``.
    """
    found = hashes(root, outputs)
    names = sorted(set(found) | set(expected))
    messages = [f"differs: {name}" for name in names if found.get(name) != expected.get(name)]
    messages += [f"orphan: {orphan}" for orphan in orphans(root)]
    messages += [f"lock held: {lock}" for lock in held_locks(root)]
    status = dvc_status(root, environment)
    return messages + ([] if "up to date" in status else [f"dvc status: {status}"])


def orphans(root: Path, *, seconds: float = ORPHAN_SECONDS) -> list[str]:
    """Return the stages, and their DVC processes, that still run in a project after a while."""
    last: list[str] = []

    def is_free() -> bool:
        last[:] = [command_line(process) for process in stage_processes(root)]
        return not last

    wait_until(is_free, seconds)
    return last


def command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has exited since
        return f"process {process.pid}"


def stage_processes(root: Path) -> list[psutil.Process]:
    """Return the processes that flows started to run stages of a project."""
    found = []
    for process in processes_with(OWNER):
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(root):
                found.append(process)
    return found


def held_locks(root: Path) -> list[str]:
    """Return the locks of stages and of DVC that are held, or that DVC considers held."""
    held = []
    for path in [*(root / ".semigen" / "locks").glob("*"), root / ".dvc" / "tmp" / "lock"]:
        try:
            with FileLock(path).acquire(timeout=0):
                pass
        except Timeout:
            held.append(str(path.relative_to(root)))
    rwlock = root / ".dvc" / "tmp" / "rwlock"
    if rwlock.exists() and rwlock.read_text().strip():
        held += [f"rwlock of {path}" for path in read_json(rwlock) if not is_stale(rwlock, path)]
    return held


def is_stale(rwlock: Path, path: str) -> bool:
    """Return whether all processes that lock a path have exited; DVC ignores such entries."""
    users = read_json(rwlock)[path]
    holders = [*users.get("read", []), *([users["write"]] if "write" in users else [])]
    return not any(psutil.pid_exists(holder["pid"]) for holder in holders)


def dvc_status(root: Path, environment: dict[str, str]) -> str:
    command = [sys.executable, "-m", "dvc", "status", "report", "--with-deps"]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    return " ".join((done.stdout + done.stderr).split())


def wait_until(condition: Callable[[], object], seconds: float, pause: float = 0.2) -> bool:
    """Return whether a condition became true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


def kill(processes: Collection[psutil.Process]) -> None:
    """Kill processes at once, as when a host loses power."""
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
