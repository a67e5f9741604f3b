"""Hosts that share a git repository and a DVC remote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.flows.hosts import CREDENTIALS, S3, Hosts, Worker, set_store, share

if TYPE_CHECKING:
    from conftest import Project


@pytest.fixture
def hosts(
    done: Project, tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Hosts:
    """The toy project after ``dvc repro``, committed, with remotes in folders of this machine."""
    monkeypatch.setenv("HOME", environment["HOME"])  # without the user's git and DVC settings
    share(done.root, tmp_path / "hub.git", str(tmp_path / "store"))
    worker = Worker(tmp_path / "worker", {**environment, **CREDENTIALS})
    return Hosts(done, tmp_path / "hub.git", tmp_path / "store", worker)


@pytest.fixture
def s3(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """The same with DVC's remote in a bucket of a local S3 server."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with S3.started() as server:
        set_store(hosts.root, "s3://bucket/semigen", f"endpointurl = {server.url}")
        yield server
