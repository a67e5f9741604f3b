"""Requests to a server that is down, restarts, or refuses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from benchmarks.server_api import ask
from flows.pipeline.retry import retry_request
from tests.flows.common import free_port


class Handler(BaseHTTPRequestHandler):
    """Answers 503 once, then 200; 404 for ``/refused``."""

    def do_GET(self) -> None:
        requests = self.server.requests  # type: ignore[attr-defined]
        requests.append(self.path)
        status = 503 if len(requests) == 1 else 200
        self.send_response(404 if self.path == "/refused" else status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Do not log."""


class LateServer:
    """A server that is not running until ``start`` is called.

    Attributes:
        url: URL of the server.
        requests: Paths of the requests that it received.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.requests: list[str] = []
        self.server: HTTPServer | None = None

    def start(self) -> None:
        self.server = HTTPServer(("127.0.0.1", self.port), Handler)
        self.server.requests = self.requests  # type: ignore[attr-defined]
        threading.Thread(target=self.server.serve_forever).start()

    def stop(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()


@pytest.fixture
def late() -> Iterator[LateServer]:
    server = LateServer()
    yield server
    server.stop()


def test_retries_if_the_server_is_down_or_busy(late: LateServer) -> None:
    logged: list[str] = []

    def log(line: str) -> None:
        logged.append(line)
        if len(logged) == 1:
            late.start()

    answer = retry_request(lambda: httpx.get(late.url).raise_for_status(), log)
    assert answer.json() == {}
    assert "refused" in logged[0]
    assert "503" in logged[1]
    assert len(logged) == 2


def test_does_not_retry_if_the_server_refuses(late: LateServer) -> None:
    late.start()
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        retry_request(lambda: httpx.get(f"{late.url}/refused").raise_for_status(), print)
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        ask("GET", f"{late.url}/refused")
    assert late.requests == ["/refused"] * 2


def test_requests_of_tests_and_benchmarks_are_retried(late: LateServer) -> None:
    with pytest.raises(httpx.ConnectError):
        ask("GET", late.url, timeout=0)
    late.start()
    assert ask("GET", late.url) == {}
    assert len(late.requests) == 2
