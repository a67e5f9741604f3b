"""Helpers of the tests of hosts, servers and services."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from pathlib import Path

from benchmarks.aftermath import wait_until

REPOSITORY = Path(__file__).parents[2]


def wait_for(
    condition: Callable[[], object],
    message: str = "the condition did not become true in time",
    seconds: float = 60,
) -> None:
    """Wait for a condition to become true; fail with a message if it does not."""
    assert wait_until(condition, seconds, pause=0.1), message


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def give_code(root: Path) -> None:
    """Link the packages that ``prefect.yaml`` refers to into a folder."""
    root.mkdir(exist_ok=True)
    for name in ("flows", "semigen", "tasks"):
        (root / name).symlink_to(REPOSITORY / name)
    shutil.copy(REPOSITORY / "prefect.yaml", root)
