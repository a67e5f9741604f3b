"""Calls in a forked process, so that a crash or an endless loop is an ordinary test failure."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from typing import Any

TIMEOUT_S = 60.0


def error_of(function: Callable[[], Any]) -> BaseException | None:
    """Return the error that a call raises in a process of its own; None if it succeeds.

    Raises:
        AssertionError: If the process is killed by a signal or does not end in time.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(function, sender))
    process.start()
    sender.close()
    finished = receiver.poll(TIMEOUT_S)
    if not finished:
        process.kill()
        process.join()
        raise AssertionError(f"no result after {TIMEOUT_S:.0f} s")
    try:
        kind, text = receiver.recv()
    except EOFError:
        process.join()
        name = signal.Signals(-process.exitcode).name if process.exitcode < 0 else "an exit"
        raise AssertionError(f"the process ended by {name}") from None
    process.join()
    return None if kind is None else kind(text)


def _call(function: Callable[[], Any], sender: Any) -> None:
    try:
        function()
    except Exception as error:
        sender.send((type(error), str(error)))
    else:
        sender.send((None, ""))
