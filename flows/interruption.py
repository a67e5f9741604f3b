"""Ctrl-C ends in one line, whenever it is pressed. Importing this module sets the exception hook.

It imports only the standard library, so that the hook is set before the imports that take seconds.
"""

from __future__ import annotations

import signal
import sys
from types import TracebackType


def interrupt_once(_number: int, _frame: object) -> None:
    """Raise ``KeyboardInterrupt`` for the first SIGINT only: a second must not abort clean-up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def print_interruption(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Print one line for an interruption, and a traceback for any other uncaught exception."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


sys.excepthook = print_interruption
