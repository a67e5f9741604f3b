"""Lifetime of processes: exit with an owner, terminate a process group, find marked processes.

A killed process cannot terminate the processes that it started; without this module they would
keep running next to their replacements. ``psutil`` is imported in the functions, since
``tasks.forked`` must start fast.

``python -m tasks.process_lifetime MODULE ARGUMENTS`` runs a module that exits with its parent.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import psutil

OWNER = "SEMIGEN_OWNER"
"""Environment variable of the processes that a flow starts: the flow's process, as ``pid:start``
with the time of its start in seconds."""
SERVICE = "SEMIGEN_SERVICE_ROOT"
"""Environment variable of a project's background processes: the project's folder."""
POLL_SECONDS = 0.5
GRACE_SECONDS = 5.0
"""Time between SIGINT and SIGKILL, in which a process removes its temporary files."""
PROGRAM_GRACE_SECONDS = 20.0
"""The same between SIGTERM and SIGKILL for a server or worker."""


def owner_variable() -> dict[str, str]:
    """Return the environment variable that makes this process the owner of those it starts."""
    import psutil

    return {OWNER: f"{os.getpid()}:{psutil.Process().create_time()}"}


def run_id() -> str | None:
    """Return an id of the run that this process belongs to: its owner, or the DVC that started it.

    None if this process was started by neither.
    """
    import psutil

    if OWNER in os.environ:
        return os.environ[OWNER]
    for process in reversed(psutil.Process().parents()):
        with contextlib.suppress(psutil.Error):
            if any(Path(word).name == "dvc" for word in process.cmdline()[:3]):
                return f"{process.pid}:{process.create_time()}"
    return None


def exit_with_owner(
    parent: int | None = None,
    *,
    first_signal: signal.Signals = signal.SIGINT,
    grace: float = GRACE_SECONDS,
) -> threading.Event:
    """Terminate this process soon after its parent, or the process named by ``OWNER``, has exited.

    If this process belongs to the process group of ``parent``, all of the group is terminated. A
    second call has no effect.

    Args:
        parent: Process that waits for this one, if it is not the parent process.
        first_signal: Signal that lets the process clean up before SIGKILL.
        grace: Seconds between the two signals.

    Returns:
        An event; set it to stop watching.
    """
    global _watching
    if _watching is None:
        _watching = threading.Event()
        owners = [find_process(parent or os.getppid()), *_named_owner()]
        arguments = (owners, parent, first_signal, grace, _watching)
        threading.Thread(target=_watch, args=arguments, daemon=True, name="owner").start()
    return _watching


_watching: threading.Event | None = None


def is_orphaned(parent: int) -> bool:
    """Return whether the parent process of this one, which had the given id, has exited."""
    return os.getppid() != parent


def terminate_group(
    process: subprocess.Popen[Any],
    signals: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL),
    *,
    grace: float = GRACE_SECONDS,
) -> None:
    """Terminate a process that leads a process group, with all of the group.

    Args:
        process: The process; nothing happens if it has exited.
        signals: Sent one after the other until the process exits.
        grace: Seconds between two signals.
    """
    for number in signals:
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)


def terminate(
    processes: Iterable[psutil.Process],
    signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGKILL),
    *,
    grace: float = GRACE_SECONDS,
) -> None:
    """Terminate processes that need not be children of this one.

    Args:
        processes: The processes.
        signals: Sent one after the other until all of them have exited.
        grace: Seconds between two signals, and after the last one.
    """
    import psutil

    alive = list(processes)
    for number in signals:
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        _, alive = psutil.wait_procs(alive, timeout=grace)
        if not alive:
            return


def processes_with(variable: str, value: str | None = None) -> Iterator[psutil.Process]:
    """Yield the processes of this user that have an environment variable.

    Args:
        variable: Name of the variable.
        value: Value of the variable; None for any.
    """
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # of another user, or gone
            found = process.environ().get(variable)
            if found is not None and value in (None, found) and is_alive(process):
                yield process


def find_process(pid: int, started: float | None = None) -> psutil.Process | None:
    """Return the process of an id if it was started at the given time; ids are reused."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if started is None or abs(process.create_time() - started) < 1:
            return process
    return None


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process is running; a zombie is not."""
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def leave(status: int) -> NoReturn:
    """Exit without the destructors of torch's modules, which take a second."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _named_owner() -> list[psutil.Process | None]:
    """Return the process named by ``OWNER``, None if it has exited; an empty list if none is."""
    owner = os.environ.get(OWNER)
    if not owner:
        return []
    pid, _, started = owner.partition(":")
    return [find_process(int(pid), float(started))]


def _watch(
    owners: Sequence[psutil.Process | None],
    parent: int | None,
    first_signal: signal.Signals,
    grace: float,
    stop: threading.Event,
) -> None:
    while all(process is not None and is_alive(process) for process in owners):
        if stop.wait(POLL_SECONDS):
            return
    if stop.is_set():
        return
    _signal_self(first_signal, parent)
    time.sleep(grace)
    _signal_self(signal.SIGKILL, parent)


def _signal_self(number: signal.Signals, parent: int | None) -> None:
    """Send a signal to this process, and to all of its group if ``parent`` leads the group."""
    if parent is not None and os.getpgid(0) == parent:
        os.killpg(parent, number)
    else:
        os.kill(os.getpid(), number)


def main(argv: Sequence[str]) -> None:
    exit_with_owner(first_signal=signal.SIGTERM, grace=PROGRAM_GRACE_SECONDS)
    sys.argv = list(argv)
    runpy.run_module(argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
