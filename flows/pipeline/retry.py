"""Retries of requests that fail when a network or a server does, for a limited time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TypeVar

import httpx

from semigen.errors import UserError

Log = Callable[[str], None]
T = TypeVar("T")

TIMEOUT_SECONDS = 300.0
"""Time after which an unreachable host is given up."""
FIRST_PAUSE_SECONDS = 1.0
MAX_PAUSE_SECONDS = 30.0

REFUSED = re.compile(
    r"denied|forbidden|not authorized|authentication failed|could not read (Username|Password)"
    r"|does not appear to be a git repository|repository .*(not found|does not exist|not exported)"
    r"|bucket does not exist|NoSuchBucket|InvalidAccessKeyId|SignatureDoesNotMatch|credentials"
    r"|couldn't find remote ref|missing dependencies|is your cache up to date",
    re.IGNORECASE,
)
"""Messages of git and DVC about errors that a retry does not solve."""


class Unreachable(UserError):
    """A host did not answer; a retry may succeed."""


def failed(message: str) -> UserError:
    """Return the error for a failed transfer: ``Unreachable`` unless the host refused."""
    return UserError(message) if REFUSED.search(message) else Unreachable(message)


def retry(action: Callable[[], T], log: Log, *, timeout: float = TIMEOUT_SECONDS) -> T:
    """Return the result of an action; while it raises ``Unreachable``, call it again.

    The pauses between the calls grow from one second to 30 seconds.

    Args:
        action: May be called several times.
        log: Called with a message after each failure.
        timeout: Seconds after which the action is not called again.

    Raises:
        UserError: If the action raises another error than ``Unreachable``, or the time is over.
    """
    deadline = time.monotonic() + timeout
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return action()
        except Unreachable as error:
            if time.monotonic() + pause > deadline:
                raise UserError(f"{error}; gave up after {timeout:.0f} s") from error
            log(f"{error}; retrying in {pause:.0f} s")
        time.sleep(pause)
        pause = min(2 * pause, MAX_PAUSE_SECONDS)


def retry_request(request: Callable[[], T], log: Log) -> T:
    """Return the result of a request to the Prefect server; retry while the server restarts.

    Args:
        request: May be called several times.
        log: Called with a message after each failure.

    Raises:
        httpx.HTTPStatusError: If the server refused the request.
        UserError: If the server did not answer in time.
    """

    def attempt() -> T:
        try:
            return request()
        except httpx.HTTPError as error:
            if isinstance(error, httpx.HTTPStatusError) and error.response.is_client_error:
                raise
            raise Unreachable(f"Prefect server: {error}") from error

    return retry(attempt, log)
