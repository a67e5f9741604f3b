"""Requests to a Prefect server that may be busy or restarting, with retries.

Prefect's own client does not retry if it has never reached the server, and the callers of this
module kill servers between two requests.
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
    HTTPStatus.SERVICE_UNAVAILABLE,  # if SQLite is locked
}


def ask(
    method: str,
    url: str,
    content: Any = None,
    *,
    login: tuple[str, str] | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> Any:
    """Return the JSON response of a server, None for an empty response.

    Args:
        method: ``GET``, ``POST`` ...
        url: The URL.
        content: JSON content of the request, which may be received twice.
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
