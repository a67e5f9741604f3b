"""Asking a Prefect server that may be busy or about to come back, as Prefect's own client does.

That client itself gives up at once on a server that it never reached, and this one's callers kill
servers between two requests.
"""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Any

import httpx

TIMEOUT_SECONDS = 60.0
PAUSE_SECONDS = 1.0
TRY_AGAIN = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,  # what a locked SQLite makes of a request
}


def ask(
    method: str,
    url: str,
    content: Any = None,
    *,
    login: tuple[str, str] | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> Any:
    """Return what a server answers in JSON, None for an empty answer.

    Args:
        method: ``GET``, ``POST`` ...
        url: The whole address.
        content: What to send as JSON. It may be received twice.
        login: User and password.
        timeout: Seconds after which no further attempt is started.

    Raises:
        httpx.HTTPError: If there was no answer in time, or the server refused.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            answer = httpx.request(method, url, json=content, auth=login, timeout=30)
            answer.raise_for_status()
            return answer.json() if answer.content else None
        except httpx.HTTPStatusError as error:
            if error.response.status_code not in TRY_AGAIN or time.monotonic() > deadline:
                raise
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
        time.sleep(PAUSE_SECONDS)


def is_healthy(api_url: str) -> bool:
    try:
        return httpx.get(f"{api_url}/health", timeout=2).status_code == HTTPStatus.OK
    except httpx.TransportError:
        return False
