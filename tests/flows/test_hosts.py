"""The retraining flow and GPU workers on separate hosts: network namespaces of this machine.

They share only the Prefect server, a git daemon and an S3 server. Each worker has its own network,
home and folder, and sees an empty folder at the path of the flow's project.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest

from flows.pipeline.dvc_graph import is_changed
from tests.flows.common import free_port, give_code, wait_for
from tests.flows.hosts import CREDENTIALS, git, kill_all, set_store, share
from tests.flows.servers import Server

if TYPE_CHECKING:
    from conftest import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]
BRIDGE, ADDRESS = "semigen0", "10.213.77"
HOSTS = ("semigen-gpu1", "semigen-gpu2")


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def remove_network() -> None:
    for command in (*(["netns", "delete", host] for host in HOSTS), ["link", "delete", BRIDGE]):
        with contextlib.suppress(subprocess.CalledProcessError):
            ip(*command)


def make_network() -> None:
    """Connect two network namespaces to this one, which has the address 10.213.77.1."""
    ip("link", "add", BRIDGE, "type", "bridge")
    ip("address", "add", f"{ADDRESS}.1/24", "dev", BRIDGE)
    ip("link", "set", BRIDGE, "up")
    for i, host in enumerate(HOSTS):
        ip("netns", "add", host)
        here, there = f"semigen-v{i}", f"semigen-w{i}"
        ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", host)
        ip("link", "set", here, "master", BRIDGE, "up")
        ip("-n", host, "address", "add", f"{ADDRESS}.{i + 2}/24", "dev", there)
        ip("-n", host, "link", "set", there, "up")
        ip("-n", host, "link", "set", "lo", "up")


@pytest.fixture
def network() -> Iterator[str]:
    """The address of this machine on a network with two other hosts."""
    if not (shutil.which("ip") and shutil.which("unshare")):
        pytest.skip("needs ip (iproute2) and unshare (util-linux)")
    if os.geteuid() != 0:
        pytest.skip("needs root for network namespaces")
    remove_network()
    try:
        make_network()
    except subprocess.CalledProcessError as error:
        remove_network()
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    yield f"{ADDRESS}.1"
    remove_network()


@contextlib.contextmanager
def running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        yield process
    finally:
        kill_all(process)


@dataclass(frozen=True)
class Site:
    """A project with its code on a git daemon and its data in S3."""

    project: Project
    server: Server
    folder: Path

    @contextlib.contextmanager
    def worker(self, host: str) -> Iterator[subprocess.Popen[str]]:
        """Start a worker on a host that has only its own copy of the code."""
        home = self.folder / host
        give_code(home)
        hide = " && ".join(f"mount -t tmpfs none {path}" for path in self.hidden())
        enter = ["ip", "netns", "exec", host, "unshare", "--mount", "--propagation", "private"]
        prefix = [*enter, "sh", "-c", f'{hide} && exec "$@"', "sh"]
        with self.server.worker(home, home, host, prefix) as process:
            yield process

    def hidden(self) -> list[Path]:
        return [self.project.root, self.folder / "hubs"]

    def lines(self, host: str) -> str:
        return (self.folder / host / "worker.log").read_text()


@pytest.fixture
def site(
    settled: Project, network: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    environment = {**settled.environment, **CREDENTIALS}
    s3, git_port = free_port(network), free_port(network)
    hubs = folder / "hubs"
    hubs.mkdir()
    moto = [sys.executable, "-m", "moto.server", "-H", network, "-p", str(s3)]
    daemon = ["git", "daemon", "--export-all", "--enable=receive-pack", f"--base-path={hubs}"]
    daemon += [f"--listen={network}", f"--port={git_port}", "--reuseaddr"]
    prepare(settled.root, hubs / "hub.git", f"http://{network}:{s3}")
    git(settled.root, "remote", "set-url", "origin", f"git://{network}:{git_port}/hub.git")
    with (
        running(moto, folder / "s3.log"),
        running(daemon, folder / "git.log"),
        Server.started(folder / "server", environment, network) as server,
    ):
        client = boto3.client("s3", endpoint_url=f"http://{network}:{s3}", **client_options())
        client.create_bucket(Bucket="bucket")
        server.set_up(settled.root)
        with server.watchdog(settled.root):
            yield Site(settled, server, folder)


def client_options() -> dict[str, str]:
    names = {"AWS_DEFAULT_REGION": "region_name"}
    return {names.get(name, name.lower()): value for name, value in CREDENTIALS.items()}


def prepare(root: Path, hub: Path, endpoint: str) -> None:
    """Commit a project whose train stage takes ten seconds and writes checkpoints."""
    shutil.copy(Path(__file__).with_name("toy_training.py"), root / "training.py")
    pipeline = (root / "dvc.yaml").read_text()
    (root / "dvc.yaml").write_text(pipeline.replace("toy.py train", "training.py"))
    with (root / "params.yaml").open("a") as params:
        params.write("compute: {workspace: clone, checkpoint_seconds: 0.2}\n")
    share(root, hub, "s3://bucket/semigen")
    set_store(root, "s3://bucket/semigen", f"endpointurl = {endpoint}")
    git(root, "commit", "--quiet", "--all", "--message=two")
    with (root / ".git" / "info" / "exclude").open("a") as excluded:
        excluded.write("/flows\n/semigen\n/tasks\n/prefect.yaml\n")
    give_code(root)


def flow_log(process: subprocess.Popen[str]) -> str:
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 0, text
    return text


def test_stage_of_a_lost_host_resumes_on_another_host(site: Site) -> None:
    root, server = site.project.root, site.server
    with site.worker(HOSTS[0]) as first:
        wait_for(server.workers, "no worker")
        flow = server.flow(root)
        wait_for(lambda: "starts at step 0" in site.lines(HOSTS[0]), "no start", 120)
        wait_for(lambda: uploaded(root, 3), "no checkpoint")
        kill_all(first)  # the host loses power
    with site.worker(HOSTS[1]):
        text = flow_log(flow)
    assert "the worker that ran train was lost" in text
    assert "downloaded the checkpoint of an earlier attempt" in site.lines(HOSTS[1])
    assert "starts at step 0" not in site.lines(HOSTS[1])
    assert server.states("stage") == ["Crashed", "Completed"]
    assert (root / "model").read_text() == "10 steps\n"
    assert not is_changed(root, "report")
    assert git(root, "ls-remote", "origin", "refs/semigen/*") == ""


def uploaded(root: Path, n: int) -> bool:
    """Return whether a number of checkpoints were uploaded; only the latest is kept."""
    endpoint = (root / ".dvc" / "config").read_text().partition("endpointurl = ")[2].strip()
    client = boto3.client("s3", endpoint_url=endpoint, **client_options())
    found = client.list_objects_v2(Bucket="bucket").get("Contents", [])
    numbers = [re.search(r"/(\d{8})-", entry["Key"]) for entry in found]
    return any(int(number[1]) >= n for number in numbers if number)
