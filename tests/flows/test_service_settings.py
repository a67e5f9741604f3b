"""Login, PostgreSQL and notifications with real servers; secrets must not be stored or logged."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from flows.events import DRIFT_DETECTED, MODEL_PROMOTED
from tests.flows.common import free_port, wait_for
from tests.flows.services import Running, running

if TYPE_CHECKING:
    from conftest import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PASSWORD, TOKEN = "s3cret-of-login", "s3cret-of-webhook"
EMIT = """
import sys
from flows.events import emit
from semigen.artifacts import Layout
from prefect.events.worker import EventsWorker
emit(sys.argv[1], Layout(), {"what": 'a "quoted" reason'})
EventsWorker.instance().drain()
"""
BINARIES = [Path("/usr/lib/postgresql"), Path("/usr/local/pgsql")]


class Listener(ThreadingHTTPServer):
    """A server that stores the requests that it receives."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[tuple[str, dict[str, Any]]] = []

    def events_of(self, event: str) -> list[dict[str, Any]]:
        return [content for _, content in self.received if content["event"] == event]


class Handler(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, json.loads(body)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Do not log."""


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_login_and_webhook_work_and_their_secrets_are_not_stored(
    settled: Project, listener: Listener
) -> None:
    settings = {
        "PREFECT_SERVER_API_AUTH_STRING": f"operator:{PASSWORD}",
        "SEMIGEN_WEBHOOK_URL": f"http://127.0.0.1:{listener.server_port}/{TOKEN}",
    }
    with running(settled, **settings) as service:
        refused = httpx.get(f"{service.service.api_url}/admin/version")
        assert refused.status_code == 401
        without_login = settled.run("flows.service.cli", "up")
        assert without_login.returncode == 1
        assert "PREFECT_SERVER_API_AUTH_STRING" in without_login.stderr

        run = service.start()
        wait_for(lambda: service.state_of(run) == "COMPLETED")
        settled.edit("toy.py", 'write_text("1\\n")', 'write_text("bad\\n")')
        failing = service.start(force=True)
        wait_for(lambda: service.state_of(failing) == "FAILED")
        wait_for(lambda: bool(listener.events_of("prefect.flow-run.Failed")))
        (event,) = listener.events_of("prefect.flow-run.Failed")
        assert event["run"] == "digits failed in validate, by hand"
        assert event["message"] == "labeled.csv: column 'a', row 1: 'bad' is not a number"

        environment = {**settled.environment, **settings}
        for event in (MODEL_PROMOTED, DRIFT_DETECTED):
            subprocess.run(
                [sys.executable, "-c", EMIT, event], cwd=settled.root, env=environment, check=True
            )
            wait_for(lambda event=event: bool(listener.events_of(event)))
            assert listener.events_of(event)[0]["payload"] == {"what": 'a "quoted" reason'}
        assert {path for path, _ in listener.received} == {f"/{TOKEN}"}
        assert not [c for _, c in listener.received if c["event"] == "prefect.flow-run.Completed"]

        by_hand = settled.run("flows.train", "--force", **settings)
        assert "bad' is not a number" in by_hand.stderr, "clients use the login of the server"
        assert_secrets_nowhere(service)


def assert_secrets_nowhere(service: Running) -> None:
    """Check all files of the project, the data of the server and the command lines for secrets."""
    files = [path for path in service.root.rglob("*") if path.is_file()]
    assert {"prefect.db", "dvc.lock", "supervisord.conf", "server.log"} <= {f.name for f in files}
    shown = {path: path.read_bytes() for path in files}
    for what in ("artifacts", "logs", "flow_runs", "events", "block_documents"):
        shown[Path(what)] = json.dumps(service.post(f"{what}/filter", {})).encode()
    for process in service.processes():
        shown[Path(f"command {process.pid}")] = " ".join(process.cmdline()).encode()
    for secret in (PASSWORD, TOKEN):
        assert [str(place) for place, content in shown.items() if secret.encode() in content] == []


@pytest.fixture
def database() -> Iterator[str]:
    """The URL of a new PostgreSQL database."""
    found = sorted(path for root in BINARIES for path in root.glob("**/bin/initdb"))
    if not found:
        pytest.skip("needs PostgreSQL's server (Debian: apt-get install postgresql)")
    commands = found[-1].parent
    with tempfile.TemporaryDirectory(prefix="semigen-postgres-") as folder:
        data, port = Path(folder) / "data", free_port()
        as_user = _not_root(Path(folder))
        password = Path(folder) / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)

        def call(name: str, *arguments: str) -> None:
            command: Sequence[str] = [str(commands / name), *arguments]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, **as_user)
            assert done.returncode == 0, done.stdout + done.stderr

        secured = ("--auth=scram-sha-256", f"--pwfile={password}", "--username=semigen")
        call("initdb", f"--pgdata={data}", *secured)
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
        log = f"--log={folder}/log"
        call("pg_ctl", "start", "--wait", f"--pgdata={data}", log, f"--options={options}")
        try:
            yield f"postgresql+asyncpg://semigen:{PASSWORD}@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", "stop", "--mode=immediate", f"--pgdata={data}")


def _not_root(folder: Path) -> dict[str, Any]:
    """Return options to start PostgreSQL as another user than root."""
    if os.getuid() != 0:
        return {}
    user = pwd.getpwnam("nobody")
    shutil.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def test_state_is_stored_in_postgresql(settled: Project, database: str) -> None:
    with running(settled, PREFECT_SERVER_DATABASE_CONNECTION_URL=database) as service:
        run = service.start()
        wait_for(lambda: service.state_of(run) == "COMPLETED")
        service.semigen("down")
        service.semigen("up", "--port", str(service.service.port))
        assert service.state_of(run) == "COMPLETED"
        assert not (settled.root / ".prefect" / "prefect.db").exists()
        for path in (settled.root / ".prefect").rglob("*"):
            assert not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path
