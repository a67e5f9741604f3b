"""Requests to a Prefect server that may be busy or restarting, with retries.

Prefect's own client does not retry if it has never reached the server, and the callers of this
module kill servers between two requests.
"""

from __future__ import annotations

import time
import uuid
from http import HTTPStatus
from typing import Any

import httpx

TIMEOUT_SECONDS = 60.0
PAUSE_SECONDS = 1.0
CLIENT = str(uuid.uuid4())
"""Name of this process for CSRF tokens."""
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
    login: str | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> Any:
    """Return the JSON response of a server, None for an empty response.

    Args:
        method: ``GET``, ``POST`` ...
        url: The URL.
        content: JSON content of the request, which may be received twice.
        login: ``user:password``, if the server requires a login.
        timeout: Seconds after which no further attempt is started.

    Raises:
        httpx.HTTPError: If there was no answer in time, or the server refused.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            answer = _send(method, url, content, login)
            answer.raise_for_status()
            return answer.json() if answer.content else None
        except httpx.HTTPStatusError as error:
            if error.response.status_code not in TRY_AGAIN or time.monotonic() > deadline:
                raise
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
        time.sleep(PAUSE_SECONDS)


def _send(method: str, url: str, content: Any, login: str | None) -> httpx.Response:
    """Send a request, with a CSRF token if the server asks for one."""
    name, _, password = (login or "").partition(":")
    with httpx.Client(auth=(name, password) if login else None, timeout=30) as client:
        answer = client.request(method, url, json=content)
        if method == "GET" or answer.status_code != HTTPStatus.FORBIDDEN:
            return answer
        api_url = url.partition("/api")[0] + "/api"
        token = client.get(f"{api_url}/csrf-token", params={"client": CLIENT})
        token.raise_for_status()
        headers = {"Prefect-Csrf-Token": token.json()["token"], "Prefect-Csrf-Client": CLIENT}
        return client.request(method, url, json=content, headers=headers)


def is_healthy(api_url: str) -> bool:
    try:
        return httpx.get(f"{api_url}/health", timeout=2).status_code == HTTPStatus.OK
    except httpx.TransportError:
        return False
