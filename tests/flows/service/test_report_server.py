"""The report over HTTP: what it answers, and attacks on it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from flows.display.publish import _report_links
from flows.environment import address_file
from flows.report_address import address_of_report, report_file
from flows.service.report_server import ReportServer
from semigen.artifacts import Layout, write_json, write_text

PAGE = "<!DOCTYPE html><p>Prediction of ü</p>"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Address of the report of a project whose service is running."""
    write_json(address_file(tmp_path), {})
    write_text(Layout(tmp_path).report, PAGE)
    write_text(tmp_path / "reports" / "metrics.json", "{}")
    with ReportServer(tmp_path) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        found = address_of_report(tmp_path)
        assert found is not None
        yield found
        server.shutdown()
        thread.join()


def test_answers_with_the_report_and_a_policy_that_allows_no_script(address: str) -> None:
    answer = httpx.get(address)
    assert (answer.status_code, answer.text) == (200, PAGE)
    assert httpx.head(address).headers["content-length"] == str(len(PAGE.encode()))
    policy = answer.headers["content-security-policy"]
    for part in ("default-src 'none'", "frame-ancestors 'none'", "sandbox"):
        assert part in policy.split("; ")
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_listens_on_the_loopback_interface_only(address: str) -> None:
    assert address.startswith("http://127.0.0.1:")
    port = int(address.split(":")[2].split("/")[0])
    listening = Path("/proc/net/tcp").read_text().splitlines()[1:]
    hosts = {line.split()[1].split(":")[0] for line in listening if f":{port:04X} " in line}
    assert hosts == {"0100007F"}


@pytest.mark.parametrize(
    "path",
    [
        "/", "/report.html", "/x/report.html", "{token}", "{token}/", "{token}/metrics.json",
        "{token}/../params.yaml", "{token}/%2e%2e/metrics.json",
        "{token}/report.html/../metrics.json",
        "{token}//report.html", "{token}/report.html?x", "{token}é/report.html",
    ],
)  # fmt: skip
def test_no_other_path_is_answered(address: str, path: str) -> None:
    server, token = address.rsplit("/", 2)[:2]
    path = path.replace("{token}", f"/{token}")
    answer = httpx.get(f"{server}{path}")
    assert answer.status_code == 404
    assert token not in answer.text


def test_foreign_host_names_and_other_methods_are_refused(address: str) -> None:
    """A foreign name that resolves to 127.0.0.1 would make this server a page of its origin."""
    port = address.split(":")[2].split("/")[0]
    for host in (
        "attacker.example",
        f"attacker.example:{port}",
        "127.0.0.1",
        f"127.0.0.2:{port}",
        "",
    ):
        assert httpx.get(address, headers={"Host": host}).status_code == 421, host
    assert httpx.get(address, headers={"Host": f"localhost:{port}"}).status_code == 200
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        assert httpx.request(method, address).status_code == 501


@pytest.mark.parametrize("kind", ["absent", "link", "pipe", "folder"])
def test_only_a_regular_file_is_read(address: str, tmp_path: Path, kind: str) -> None:
    report = Layout(tmp_path).report
    report.unlink()
    if kind == "link":
        report.symlink_to("/etc/passwd")
    elif kind == "pipe":
        os.mkfifo(report)
    elif kind == "folder":
        report.mkdir()
    answer = httpx.get(address, timeout=2)
    assert answer.status_code == 404
    assert "No report yet: semigen run" in answer.text


def test_address_is_kept_by_a_restart_unless_its_port_is_taken(tmp_path: Path) -> None:
    write_json(address_file(tmp_path), {})
    with ReportServer(tmp_path):
        first = address_of_report(tmp_path)
        assert first is not None
        with ReportServer(tmp_path):
            second = address_of_report(tmp_path)
    with ReportServer(tmp_path):
        assert address_of_report(tmp_path) == second != first
    assert len(first.split("/")[3]) >= 32
    other = tmp_path / "other"
    with ReportServer(other):
        assert report_file(other).read_text() != report_file(tmp_path).read_text()


def test_link_is_shown_while_the_service_runs(address: str, tmp_path: Path) -> None:
    assert _report_links(Layout(tmp_path))[0].startswith(f"**[Open the report]({address})**")
    address_file(tmp_path).unlink()
    text = "\n".join(_report_links(Layout(tmp_path)))
    assert "http" not in text
    assert Layout(tmp_path).report.as_uri() in text
