"""Hosts that share only git and DVC's remote, and a local S3 server."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import psutil
from moto.server import ThreadedMotoServer

from flows.remote.exchange import request_ref

if TYPE_CHECKING:
    from conftest import Project

KEY = "run1-train"

IGNORED = """\
/labeled.csv
/schema.json
/model
/elsewhere
/reports/*
!/reports/metrics.json
/ran
/.semigen
__pycache__
"""
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
}
WORKER = """
import sys
from pathlib import Path
from flows.remote.clone import default_workspace
from flows.remote.exchange import request_ref, run_in_clone
from semigen.errors import UserError
url, key, stage, seconds = sys.argv[1:]
options = {"log": lambda line: print(line, flush=True), "checkpoint_seconds": float(seconds)}
try:
    run_in_clone(url, request_ref(key), stage, default_workspace(), **options)
except UserError as error:
    sys.exit(f"error: {error}")
"""


def git(root: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=someone", "-c", "user.email=someone@example.org")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=root, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def share(root: Path, hub: Path, store: str) -> None:
    """Make a project a git repository with a git remote and a DVC remote, and commit everything."""
    (root / ".dvc" / "config.local").unlink(missing_ok=True)
    (root / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (root / ".gitignore").write_text(IGNORED)
    set_store(root, store)
    git(hub.parent, "init", "--quiet", "--bare", str(hub))
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "remote", "add", "origin", str(hub))
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message=one")


def set_store(root: Path, url: str, *settings: str) -> None:
    """Set DVC's default remote; settings are lines such as ``endpointurl = ...``."""
    lines = ["[core]", "analytics = false", "remote = hub", '[remote "hub"]', f"url = {url}"]
    (root / ".dvc" / "config").write_text("\n".join([*lines, *settings, ""]))


@dataclass
class Worker:
    """A process on another host, with its own home and workspace."""

    home: Path
    environment: dict[str, str]
    prefix: Sequence[str] = ()

    def run(self, url: str, key: str, stage: str = "train", seconds: float = 30.0) -> list[str]:
        """Run a stage and return its log."""
        with self.started(url, key, stage, seconds) as process:
            output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
        return output.splitlines()

    @contextlib.contextmanager
    def started(
        self, url: str, key: str, stage: str = "train", seconds: float = 30.0
    ) -> Iterator[subprocess.Popen[str]]:
        self.home.mkdir(exist_ok=True)
        process = subprocess.Popen(
            [*self.prefix, sys.executable, "-c", WORKER, url, key, stage, str(seconds)],
            cwd=self.home,
            env={**self.environment, "HOME": str(self.home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            kill_all(process)


def kill_all(process: subprocess.Popen[Any]) -> None:
    """Kill a process and its descendants at once, as when a host loses power."""
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        for one in [parent, *parent.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
    process.wait()


class S3:
    """A moto server in this process, which keeps its objects after ``stop``."""

    def __init__(self) -> None:
        self.port = 0
        self.server: ThreadedMotoServer | None = None

    @classmethod
    @contextlib.contextmanager
    def started(cls) -> Iterator[S3]:
        found = cls()
        found.start()
        found.client().create_bucket(Bucket="bucket")
        try:
            yield found
        finally:
            found.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.server = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self.server.start()
        self.port = self.server.get_host_and_port()[1]

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()
            self.server = None

    def names(self) -> list[str]:
        found = self.client().list_objects_v2(Bucket="bucket")
        return [entry["Key"] for entry in found.get("Contents", [])]

    def client(self) -> Any:
        return boto3.client("s3", endpoint_url=self.url)


@dataclass(frozen=True)
class Hosts:
    """The flow's host, the hub and the store that it shares with others, and another host."""

    project: Project
    hub: Path
    store: Path
    worker: Worker

    @property
    def root(self) -> Path:
        return self.project.root

    def refs(self) -> list[str]:
        return git(self.hub, "for-each-ref", "--format=%(refname)", "refs/semigen").split()

    def requested(self, path: str) -> str:
        return git(self.hub, "show", f"{request_ref(KEY)}:{path}")

    def checkpoints(self) -> list[Path]:
        return list((self.store / "semigen-checkpoints").rglob("*.tar"))
