"""Serve the HTML report of a project, so that it opens from Prefect's web interface.

Browsers do not open links to local files from a page. This process therefore answers requests for
one file, ``reports/report.html``, on the loopback interface. The address contains a random token,
which only the user's own files and Prefect's artifacts (behind the login) contain: other users of
the host and pages of other origins do not know it. The page may load nothing and run no script.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from flows.report_address import HOST, report_file
from semigen.artifacts import Layout, read_json, write_json

NAMES = (HOST, "localhost")
"""Host names under which the report is served; under others it could be a rebound foreign name."""
TIMEOUT_SECONDS = 30
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class ReportServer(ThreadingHTTPServer):
    """Answers requests for the report of a project.

    Args:
        root: The project's folder.
    """

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        self.report = Layout(root).report
        saved = read_json(report_file(root)) if report_file(root).exists() else {}
        self.token = str(saved.get("token") or secrets.token_urlsafe(24))
        try:
            super().__init__((HOST, int(saved.get("port", 0))), Handler)
        except OSError:  # another program uses the port
            super().__init__((HOST, 0), Handler)
        write_json(report_file(root), {"port": self.server_port, "token": self.token})


class Handler(BaseHTTPRequestHandler):
    """Answers a request with the report, or with an error that says nothing about files."""

    server: ReportServer
    timeout = TIMEOUT_SECONDS
    server_version = "semigen"
    sys_version = ""

    def do_GET(self) -> None:
        content = self._content()
        if content is not None:
            self.wfile.write(content)

    def do_HEAD(self) -> None:
        self._content()

    def _content(self) -> bytes | None:
        """Send the status and the headers; return the report, or None after an error."""
        if self.headers.get("Host", "") not in [f"{n}:{self.server.server_port}" for n in NAMES]:
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
            return None
        expected = f"/{self.server.token}/report.html"
        if not secrets.compare_digest(self.path.encode(), expected.encode()):
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        content = read_regular_file(self.server.report)
        if content is None:
            self.send_error(HTTPStatus.NOT_FOUND, "No report yet: semigen run")
            return None
        self.send_response(HTTPStatus.OK)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return content

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
        """Log nothing: the address contains the token."""


def read_regular_file(path: Path) -> bytes | None:
    """Return the content of a file; None if it is absent, a folder, a link, a device or a pipe."""
    try:
        with open(path, "rb", opener=_opener) as file:
            return file.read() if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None
    except OSError:
        return None


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def main() -> int:
    with ReportServer(Path.cwd()) as server, contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
