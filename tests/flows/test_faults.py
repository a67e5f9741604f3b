"""Faults, done for real to a retraining at work: nothing may be lost by them.

What is asked after each: the run ended in a true state, a rerun completes, hashes of outputs are
those of an undisturbed run, ``dvc status`` is clean, no process is left over and no lock held
(``benchmarks.aftermath``). The remotes' faults: ``test_remote``, ``test_hosts``.
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
from flows.environment import SERVICE_FOLDER
from semigen.artifacts import read_json
from semigen.errors import UserError
from tests.flows.common import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
STARTED_SECONDS = 180.0
"""In which a run must be at work; a minute on a machine that much else runs on was too little."""
PREFETCH = timedelta(seconds=15)
"""Before a run is due a worker may have begun with it: Prefect's 10 s, and some to look at it."""


@dataclass
class Round:
    """One run of the retraining in an arena, to be disturbed.

    Attributes:
        arena: The project with server and workers.
        seed: The parameter, another one than the round before had.
        run: The flow run.
    """

    arena: Arena
    seed: int
    run: str = ""

    def start(self, *kinds: str, n_steps: int = 0) -> dict[str, psutil.Process]:
        """Start the run; return one process of each kind once all of them are at work.

        Args:
            kinds: See ``benchmarks.chaos``.
            n_steps: Steps that the stage on the GPU worker must have behind it.
        """
        self.run = self.arena.start(self.seed)
        found: dict[str, psutil.Process] = {}

        def is_at_work() -> bool:
            processes = self.arena.processes()
            found.update({kind: processes[kind][0] for kind in kinds if kind in processes})
            return set(kinds) <= set(processes) and self.steps() > n_steps

        assert aftermath.wait_until(is_at_work, STARTED_SECONDS), f"no {kinds} at work"
        return found

    def steps(self) -> int:
        """Return how many hashes the stage's checkpoint has."""
        folder = self.arena.root / ".semigen" / "checkpoints" / "pretrain"
        with contextlib.suppress(FileNotFoundError):
            return (folder / "hashes.json").read_text().count('"') // 2
        return 0

    def end(self, *states: str) -> None:
        """Wait for the run to end in one of some states, and ask what it lost."""
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
    """Parameters in turn; ``learn`` ended with the first."""
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
    """Its flow goes with it, for the guard ends what has lost its worker."""
    aftermath.kill([disturbed.start("cpu worker", "flow", "stage")["cpu worker"]])
    disturbed.end("CRASHED", "COMPLETED")


def test_worker_and_stage_killed(disturbed: Round) -> None:
    """The stage goes on where it was, on the worker that takes the place of the killed one."""
    victims = disturbed.start("gpu worker", "stage", n_steps=3)
    n_before = disturbed.steps()
    aftermath.kill([victims["gpu worker"], victims["stage"]])
    disturbed.end("COMPLETED", "FAILED")
    assert n_before > 3


def test_server_killed_in_mid_run(disturbed: Round) -> None:
    """Supervision starts it anew."""
    aftermath.kill([disturbed.start("server", "stage")["server"]])
    disturbed.end("COMPLETED", "CRASHED")


def test_worker_told_to_end(disturbed: Round) -> None:
    disturbed.start("cpu worker", "stage")["cpu worker"].send_signal(signal.SIGTERM)
    disturbed.end("COMPLETED", "CRASHED", "CANCELLED")


def test_two_retrainings_at_once(disturbed: Round) -> None:
    """A second one on the server is left out; one by hand waits for what the first is at."""
    disturbed.start("stage")
    arena = disturbed.arena
    second = arena.run(disturbed.seed)
    by_hand = run_by_hand(arena, "flows.train", "-S", f"seed={disturbed.seed}")
    assert arena.await_end(second, END_SECONDS) == "CANCELLED"
    output, _ = by_hand.communicate(timeout=END_SECONDS)
    assert by_hand.returncode == 0, output
    disturbed.end("COMPLETED")


def test_dvc_repro_by_hand_during_a_run(disturbed: Round) -> None:
    """Whichever of the two comes second to a stage finds it done, or is refused by DVC's lock."""
    disturbed.start("stage")
    by_hand = run_by_hand(disturbed.arena, "dvc", "repro", "report")
    output, _ = by_hand.communicate(timeout=END_SECONDS)
    assert by_hand.returncode == 0 or "lock" in output or "is busy" in output
    disturbed.end("COMPLETED")


def test_full_disk_where_a_stage_writes(disturbed: Round) -> None:
    """The run fails and says why; with room again the next one does all."""
    models = disturbed.arena.root / "models"
    with small_disk(models) as filler:
        disturbed.start("stage")
        state = disturbed.arena.await_end(disturbed.run, END_SECONDS)
        message = disturbed.arena.message(disturbed.run)
        assert (state, "No space left on device" in message) == ("FAILED", True), message
        assert {path.name for path in models.iterdir()} == {filler.name}  # nothing half-written
        filler.unlink()
        disturbed.end("FAILED")


def test_service_ended_in_mid_run(disturbed: Round) -> None:
    """Back at once, it ends what it was at and runs what comes next: the limit of one is free."""
    disturbed.start("flow", "stage")
    arena = disturbed.arena
    assert aftermath.wait_until(lambda: disturbed.run in seen_at_work(arena), STARTED_SECONDS)
    arena.down()
    arena.up()
    following = arena.run(disturbed.seed)
    assert arena.await_end(following, END_SECONDS) == "COMPLETED", arena.message(following)
    disturbed.end("CRASHED", "CANCELLED", "FAILED")  # as its worker could still report, or not


def test_service_down_past_two_scheduled_times(disturbed: Round) -> None:
    """What was missed ends in a true state, and no two of it at once: others are left out.

    One of the two runs, or else the one that was due by the time that the service was back.
    """
    arena = disturbed.arena
    (arena.root / "slow").unlink()
    write_params(arena, disturbed.seed, cron="'* * * * *'")
    try:
        arena.up()
        assert aftermath.wait_until(lambda: is_between_two(arena), STARTED_SECONDS)
        missed = waiting(arena)[:2]
        arena.down()
        assert datetime.now(UTC) + PREFETCH < due(missed[0])  # neither was begun
        assert aftermath.wait_until(lambda: datetime.now(UTC) > due(missed[1]), 240)
        arena.up()
        back = datetime.now(UTC)
        for run in missed:
            arena.await_end(run["id"], END_SECONDS)
        caught_up = [run for run in arena.runs() if due(missed[0]) <= due(run) < back + PREFETCH]
        states = [arena.await_end(run["id"], END_SECONDS) for run in caught_up]
        said = [arena.message(run["id"]) for run in caught_up]
    finally:
        write_params(arena, disturbed.seed, cron="null")
        arena.up()
    assert "COMPLETED" in states, said
    assert set(states) <= {"COMPLETED", "CANCELLED"}, said
    is_idle = lambda: {run["state_type"] for run in arena.runs()} <= FINAL  # noqa: E731
    assert aftermath.wait_until(is_idle, END_SECONDS)
    assert arena.lost("COMPLETED", disturbed.seed) == []


def seen_at_work(arena: Arena) -> set[str]:
    """Return the runs that the watchdog has seen."""
    with contextlib.suppress(UserError):
        return set(read_json(arena.root / SERVICE_FOLDER / "runs_seen.json"))
    return set()


def is_between_two(arena: Arena) -> bool:
    """Return whether nothing is at work, and two runs wait that the service won't begin at once."""
    states = {run["state_type"] for run in arena.runs()}
    soon = datetime.now(UTC) + 2 * PREFETCH
    planned = waiting(arena)
    return states <= {"SCHEDULED", *FINAL} and len(planned) > 1 and due(planned[0]) > soon


def waiting(arena: Arena) -> list[dict[str, Any]]:
    """Return the runs that were not begun yet, the next one first."""
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
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a file system of four pages; yield the file that fills it."""
    command = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        filler = folder / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1024))
        yield filler
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
