"""Trying again what fails when a network does, for a bounded time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TypeVar

from semigen.errors import UserError

Log = Callable[[str], None]
T = TypeVar("T")

PATIENCE_SECONDS = 300.0
"""How long an unreachable host is waited for."""
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0

REFUSED = re.compile(
    r"denied|forbidden|not authorized|authentication failed|could not read (Username|Password)"
    r"|does not appear to be a git repository|repository .*(not found|does not exist|not exported)"
    r"|bucket does not exist|NoSuchBucket|InvalidAccessKeyId|SignatureDoesNotMatch|credentials"
    r"|couldn't find remote ref|missing dependencies|is your cache up to date",
    re.IGNORECASE,
)
"""What git and DVC say when trying again is of no use."""


class Unreachable(UserError):
    """A host that did not answer, and may in a moment."""


def failed(message: str) -> UserError:
    """Return the error for a transfer that failed: ``Unreachable`` unless it was refused."""
    return UserError(message) if REFUSED.search(message) else Unreachable(message)


def patiently(action: Callable[[], T], log: Log, *, patience: float = PATIENCE_SECONDS) -> T:
    """Return what an action returns; while it raises ``Unreachable``, try again after a pause.

    Args:
        action: May be called several times.
        log: Is told of every failure.
        patience: Seconds after which no further attempt is started.

    Raises:
        UserError: What the action raised, at once or at last.
    """
    deadline = time.monotonic() + patience
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return action()
        except Unreachable as error:
            if time.monotonic() + pause > deadline:
                raise UserError(f"{error}; gave up after {patience:.0f} s") from error
            log(f"{error}; next try in {pause:.0f} s")
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
