"""Faults during a retraining: processes killed, a full disk, runs at the same time.

After each fault the run must end in a final state, a rerun must complete, the hashes of the outputs
must be those of an undisturbed run, ``dvc status`` must be clean, and no process or lock may be
left (``benchmarks.aftermath``). For faults of remotes see ``test_exchange`` and ``test_hosts``.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks import aftermath
from benchmarks.arena import END_SECONDS, FINAL, SEEDS, Arena, arena_in
from flows.login import SERVICE_FOLDER
from semigen.artifacts import read_json
from semigen.errors import UserError
from tests.flows.common import free_port
from tests.small_disk import small_disk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
STARTED_SECONDS = 180.0
"""Timeout of the start of a run; a minute was too short on a busy machine."""
PREFETCH = timedelta(seconds=15)
"""Time before its scheduled time at which a worker may start a run: 10 s, and a margin."""


@dataclass
class Round:
    """One run of the retraining in an arena, which is disturbed.

    Attributes:
        arena: The project with server and workers.
        seed: Value of the parameter, different from that of the previous round.
        run: Id of the flow run.
    """

    arena: Arena
    seed: int
    run: str = ""

    def start(self, *kinds: str, n_steps: int = 0) -> dict[str, psutil.Process]:
        """Start the run; return one process of each kind as soon as all of them are running.

        Args:
            kinds: Kinds of processes (``benchmarks.chaos``).
            n_steps: Number of steps that the stage on the GPU worker must have completed.
        """
        self.run = self.arena.start(self.seed)
        found: dict[str, psutil.Process] = {}

        def are_running() -> bool:
            processes = self.arena.processes()
            found.update({kind: processes[kind][0] for kind in kinds if kind in processes})
            return set(kinds) <= set(processes) and self.steps() > n_steps

        assert aftermath.wait_until(are_running, STARTED_SECONDS), f"{kinds} are not running"
        return found

    def steps(self) -> int:
        """Return the number of hashes in the stage's checkpoint."""
        folder = self.arena.root / ".semigen" / "checkpoints" / "pretrain"
        with contextlib.suppress(FileNotFoundError):
            return (folder / "hashes.json").read_text().count('"') // 2
        return 0

    def end(self, *states: str) -> None:
        """Wait for the run to end in one of some states, and check that nothing was lost."""
        state = self.arena.await_end(self.run, END_SECONDS)
        assert state in states
        assert self.arena.lost(state, self.seed) == []


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with arena_in(tmp_path_factory.mktemp("faults"), free_port()) as found:
        found.learn()
        yield found


@pytest.fixture(scope="module")
def seeds() -> Iterator[int]:
    """Values of the parameter in turn; ``learn`` ended with the first."""
    return itertools.cycle((*SEEDS[1:], SEEDS[0]))


@pytest.fixture
def disturbed(arena: Arena, seeds: Iterator[int]) -> Iterator[Round]:
    (arena.root / "slow").touch()
    yield Round(arena, next(seeds))
    (arena.root / "slow").unlink(missing_ok=True)


def test_flow_process_killed(disturbed: Round) -> None:
    aftermath.kill([disturbed.start("flow", "stage")["flow"]])
    disturbed.end("CRASHED")


def test_worker_killed(disturbed: Round) -> None:
    """Its flow run exits too."""
    aftermath.kill([disturbed.start("cpu worker", "flow", "stage")["cpu worker"]])
    disturbed.end("CRASHED", "COMPLETED")


def test_worker_and_stage_killed(disturbed: Round) -> None:
    """The stage resumes from its checkpoint on the worker that replaces the killed one."""
    victims = disturbed.start("gpu worker", "stage", n_steps=3)
    n_before = disturbed.steps()
    aftermath.kill([victims["gpu worker"], victims["stage"]])
    disturbed.end("COMPLETED", "FAILED")
    assert n_before > 3


def test_server_killed_during_a_run(disturbed: Round) -> None:
    """supervisord restarts it."""
    aftermath.kill([disturbed.start("server", "stage")["server"]])
    disturbed.end("COMPLETED", "CRASHED")


def test_worker_terminated(disturbed: Round) -> None:
    disturbed.start("cpu worker", "stage")["cpu worker"].send_signal(signal.SIGTERM)
    disturbed.end("COMPLETED", "CRASHED", "CANCELLED")


def test_two_retrainings_at_once(disturbed: Round) -> None:
    """A second run on the server is canceled; a run by hand waits for the stages of the first."""
    disturbed.start("stage")
    arena = disturbed.arena
    second = arena.run(disturbed.seed)
    by_hand = run_by_hand(arena, "flows.train", "-S", f"seed={disturbed.seed}")
    assert arena.await_end(second, END_SECONDS) == "CANCELLED"
    output, _ = by_hand.communicate(timeout=END_SECONDS)
    assert by_hand.returncode == 0, output
    disturbed.end("COMPLETED")


def test_dvc_repro_by_hand_during_a_run(disturbed: Round) -> None:
    """The second of the two uses the result of a stage, or fails because of DVC's lock."""
    disturbed.start("stage")
    by_hand = run_by_hand(disturbed.arena, "dvc", "repro", "report")
    output, _ = by_hand.communicate(timeout=END_SECONDS)
    assert by_hand.returncode == 0 or "lock" in output or "is busy" in output
    disturbed.end("COMPLETED")


def test_full_disk_where_a_stage_writes(disturbed: Round) -> None:
    """The run fails with the reason; the next run completes when there is space again."""
    models = disturbed.arena.root / "models"
    with full_disk(models) as filler:
        disturbed.start("stage")
        state = disturbed.arena.await_end(disturbed.run, END_SECONDS)
        message = disturbed.arena.message(disturbed.run)
        assert (state, "No space left on device" in message) == ("FAILED", True), message
        assert {path.name for path in models.iterdir()} == {filler.name}  # no truncated file
        filler.unlink()
        disturbed.end("FAILED")


def test_service_stopped_during_a_run(disturbed: Round) -> None:
    """After the restart the unfinished run is crashed, and the next run is not canceled."""
    disturbed.start("flow", "stage")
    arena = disturbed.arena
    assert aftermath.wait_until(lambda: disturbed.run in seen_by_watchdog(arena), STARTED_SECONDS)
    arena.down()
    arena.up()
    following = arena.run(disturbed.seed)
    assert arena.await_end(following, END_SECONDS) == "COMPLETED", arena.message(following)
    disturbed.end(
        "CRASHED", "CANCELLED", "FAILED"
    )  # depends on whether its worker could still report


def test_service_down_past_two_scheduled_times(disturbed: Round) -> None:
    """Of the missed runs and the run that is due at the restart, one completes.

    The others are canceled, since only one runs at a time.
    """
    arena = disturbed.arena
    (arena.root / "slow").unlink()
    write_params(arena, disturbed.seed, cron="'* * * * *'")
    try:
        arena.up()
        assert aftermath.wait_until(lambda: is_between_two(arena), STARTED_SECONDS)
        missed = waiting(arena)[:2]
        arena.down()
        assert datetime.now(UTC) + PREFETCH < due(missed[0])  # neither has started
        assert aftermath.wait_until(lambda: datetime.now(UTC) > due(missed[1]), 240)
        arena.up()
        back = datetime.now(UTC)
        for run in missed:
            arena.await_end(run["id"], END_SECONDS)
        caught_up = [run for run in arena.runs() if due(missed[0]) <= due(run) < back + PREFETCH]
        states = [arena.await_end(run["id"], END_SECONDS) for run in caught_up]
        messages = [arena.message(run["id"]) for run in caught_up]
    finally:
        write_params(arena, disturbed.seed, cron="null")
        arena.up()
    assert "COMPLETED" in states, messages
    assert set(states) <= {"COMPLETED", "CANCELLED"}, messages
    is_idle = lambda: {run["state_type"] for run in arena.runs()} <= FINAL  # noqa: E731
    assert aftermath.wait_until(is_idle, END_SECONDS)
    assert arena.lost("COMPLETED", disturbed.seed) == []


def seen_by_watchdog(arena: Arena) -> set[str]:
    """Return the runs that the watchdog has seen."""
    with contextlib.suppress(UserError):
        return set(read_json(arena.root / SERVICE_FOLDER / "runs_seen.json"))
    return set()


def is_between_two(arena: Arena) -> bool:
    """Return whether no run is active, and two runs are scheduled but will not start at once."""
    states = {run["state_type"] for run in arena.runs()}
    soon = datetime.now(UTC) + 2 * PREFETCH
    planned = waiting(arena)
    return states <= {"SCHEDULED", *FINAL} and len(planned) > 1 and due(planned[0]) > soon


def waiting(arena: Arena) -> list[dict[str, Any]]:
    """Return the scheduled runs, the next one first."""
    return sorted((run for run in arena.runs() if run["state_type"] == "SCHEDULED"), key=due)


def due(run: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(run["expected_start_time"])


def write_params(arena: Arena, seed: int, cron: str) -> None:
    path = arena.root / "params.yaml"
    text = re.sub(r"^seed: .*$", f"seed: {seed}", path.read_text(), flags=re.MULTILINE)
    path.write_text(re.sub(r"(retrain: {cron: )[^}]*", rf"\g<1>{cron}", text))


def run_by_hand(arena: Arena, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=arena.root,
        env={**arena.environment, "PREFECT_API_URL": arena.service.api_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextlib.contextmanager
def full_disk(folder: Path) -> Iterator[Path]:
    """Mount a file system of four pages; yield the file that fills it."""
    with small_disk(folder):
        filler = folder / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1024))
        yield filler
