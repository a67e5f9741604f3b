"""Runs that a user starts by hand while the project's server, workers and watchdog are running."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.flows.services import running

if TYPE_CHECKING:
    from conftest import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_run_of_two_minutes_completes_beside_the_service(settled: Project) -> None:
    (settled.root / "slow").write_text("120")
    assert not [name for name in settled.environment if "HEARTBEAT" in name]
    with running(settled) as service:
        by_hand = settled.run("flows.train")
        assert by_hand.returncode == 0, by_hand.stdout + by_hand.stderr
        runs = service.post("flow_runs/filter", {"flows": {"name": {"any_": ["train", "stage"]}}})
        started = {run["name"]: run["state_type"] for run in runs if run["start_time"]}
        assert set(started.values()) == {"COMPLETED"}
        whole, stage = sorted(started)
        assert whole == "digits 90.0% (+90.0 points), by hand"
        assert re.fullmatch(r"digits, train in 1\d\d s", stage)
