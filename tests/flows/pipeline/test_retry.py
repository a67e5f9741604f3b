"""Requests to a server that is away, comes back, or refuses."""

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
    """Busy once, then well; ``/refused`` is never there."""

    def do_GET(self) -> None:
        asked = self.server.asked  # type: ignore[attr-defined]
        asked.append(self.path)
        well = 503 if len(asked) == 1 else 200
        self.send_response(404 if self.path == "/refused" else well)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


class LateServer:
    """A server that is not there until it is started.

    Attributes:
        url: Where it will be.
        asked: The paths of the requests that it got.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.asked: list[str] = []
        self.server: HTTPServer | None = None

    def start(self) -> None:
        self.server = HTTPServer(("127.0.0.1", self.port), Handler)
        self.server.asked = self.asked  # type: ignore[attr-defined]
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


def test_server_that_is_away_and_then_busy_is_asked_again(late: LateServer) -> None:
    told: list[str] = []

    def log(line: str) -> None:
        told.append(line)
        if len(told) == 1:
            late.start()

    answer = retry_request(lambda: httpx.get(late.url).raise_for_status(), log)
    assert answer.json() == {}
    assert "refused" in told[0]
    assert "503" in told[1]
    assert len(told) == 2


def test_refusal_is_final(late: LateServer) -> None:
    late.start()
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        retry_request(lambda: httpx.get(f"{late.url}/refused").raise_for_status(), print)
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        ask("GET", f"{late.url}/refused")
    assert late.asked == ["/refused"] * 2


def test_tests_and_benchmarks_ask_again_too(late: LateServer) -> None:
    with pytest.raises(httpx.ConnectError):
        ask("GET", late.url, timeout=0)
    late.start()
    assert ask("GET", late.url) == {}
    assert len(late.asked) == 2
