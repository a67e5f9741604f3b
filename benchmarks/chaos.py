"""Kill a random process of a running pipeline at a random moment, many times; count what was lost.

Each time the parameters change, a scheduled retraining starts on a server with its workers as
``make ui`` starts them (``benchmarks.chaos_stages``: three small stages, one of them on the GPU
worker), and one process gets SIGKILL: that of the flow, of a stage's run on the worker, of the
stage, of the DVC around it, of a worker, of the server or of the supervisor. Then the run must end
in a true state in bounded time, a second run must complete, and the project must be as after an
undisturbed run: equal hashes of outputs and of ``dvc.lock``, a clean ``dvc status``, no process
left over, no lock held. Anything else is a loss.

Every kill is kept when it is done, in ``benchmarks/results/chaos.json``; ``--resume`` goes on after
those that are there. The victims depend on the seed alone, the moments on the machine too.
"""

from __future__ import annotations

import argparse
import datetime
import os
import random
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks import aftermath
from benchmarks.chaos_stages import DVC_YAML, OUTPUTS
from benchmarks.machine import cpu_model
from flows.dvc_graph import settle_scm
from flows.environment import NO_TELEMETRY
from flows.processes import MARK, Service
from semigen.artifacts import read_json, write_json, write_text

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "chaos.json"
KINDS = ("flow", "stage run", "stage", "dvc", "cpu worker", "gpu worker", "server", "supervisor")
SEEDS = (1, 2)
"""Values of the parameter that takes turns, so that every run has something to do."""
END_SECONDS = 240.0
"""In which a disturbed run must end: the server crashes runs that are silent for 90 s; one that was
about to start waits for 180 s."""
RERUN_SECONDS = 180.0
SERVER_SECONDS = 60.0
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Arena:
    """A project with its server and workers.

    Attributes:
        root: The project's folder.
        service: Its background processes.
        expected: For each seed, the hashes after an undisturbed run.
        seconds: How long that took.
    """

    def __init__(self, root: Path, port: int) -> None:
        self.root = root
        self.service = Service(root, port)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = {**inherited, **NO_TELEMETRY, "PATH": path, "PYTHONPATH": str(ROOT)}
        self.expected: dict[int, dict[str, str]] = {}
        self.seconds = 0.0
        self.deployment = ""

    def make(self) -> None:
        """Write the project's files."""
        (self.root / ".dvc").mkdir(parents=True)
        (self.root / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
        (self.root / "dvc.yaml").write_text(DVC_YAML)
        (self.root / "params.yaml").write_text(
            "seed: 0\nretrain: {cron: null}\nmonitor: {cron: null}\n"
        )
        for name in ("flows", "semigen", "tasks", "benchmarks", "prefect.yaml", ".dvcignore"):
            (self.root / name).symlink_to(ROOT / name)
        settle_scm(self.root)

    def learn(self) -> None:
        """Run once undisturbed for each seed."""
        self.deployment = self._get("deployments/name/train/train")["id"]
        for seed in (*SEEDS, SEEDS[0]):  # the first one is slow: nothing is compiled yet
            started = time.monotonic()
            state = self.await_end(self.start(seed), RERUN_SECONDS)
            if state != "COMPLETED":
                raise SystemExit(f"the undisturbed run ended as {state}; see {self.service.folder}")
            self.seconds = time.monotonic() - started
            found = aftermath.hashes(self.root, OUTPUTS)
            if self.expected.setdefault(seed, found) != found:
                raise SystemExit("two undisturbed runs differ")

    def up(self) -> None:
        self._command("up", "--port", str(self.service.port))

    def down(self) -> None:
        self._command("down")

    def start(self, seed: int) -> str:
        """Start a retraining that has everything to do; return the run's id."""
        for name in ("runs", "files"):  # else DVC would take known results from its cache
            subprocess.run(["rm", "-rf", str(self.root / ".dvc" / "cache" / name)], check=True)
        return self.run(seed)

    def run(self, seed: int) -> str:
        content = {
            "state": {"type": "SCHEDULED"},
            "parameters": {"overrides": [f"seed={seed}"], "reason": "chaos"},
            "idempotency_key": str(uuid.uuid4()),
        }
        return str(self._post(f"deployments/{self.deployment}/create_flow_run", content)["id"])

    def state(self, run: str) -> str:
        """Return the state of a run; empty while the server is down."""
        try:
            return str(self._get(f"flow_runs/{run}")["state_type"])
        except httpx.HTTPError:
            return ""

    def await_end(self, run: str, seconds: float) -> str:
        """Return the state of a run when it is final, or after so many seconds."""
        aftermath.wait_until(lambda: self.state(run) in FINAL, seconds, pause=0.5)
        return self.state(run) or "no server"

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Return the processes at work in the project by kind."""
        found: dict[str, list[psutil.Process]] = {}
        for process in psutil.process_iter(["cmdline", "environ", "status"]):
            told = process.info
            is_ours = (told["environ"] or {}).get(MARK) == str(self.root)
            if is_ours and told["status"] != psutil.STATUS_ZOMBIE:
                kind = kind_of(told["cmdline"] or [], told["environ"], process)
                found.setdefault(kind, []).append(process)
        return found

    def _get(self, path: str) -> dict[str, Any]:
        answer = httpx.get(f"{self.service.api_url}/{path}", timeout=10)
        answer.raise_for_status()
        return dict(answer.json())

    def _post(self, path: str, content: dict[str, Any]) -> dict[str, Any]:
        """Ask until there is an answer: a server that was just killed, or is busy, gives none."""
        deadline = time.monotonic() + SERVER_SECONDS
        while True:
            try:
                answer = httpx.post(f"{self.service.api_url}/{path}", json=content, timeout=30)
                answer.raise_for_status()
                return dict(answer.json())
            except httpx.HTTPError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def _command(self, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "flows.service", *arguments],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"semigen {arguments[0]}: {done.stderr.strip()}")


def kind_of(command: list[str], environment: dict[str, str], process: psutil.Process) -> str:
    """Return which of ``KINDS`` a process is, or another word."""
    line = " ".join(command)
    if "supervisor.supervisord" in line:
        return "supervisor"
    if "benchmarks.chaos_stages" in line and " -m dvc " not in line and "/bin/sh" not in line:
        return "stage"
    if " -m dvc " in line:
        return "dvc"
    if "prefect server start" in line:
        return "server"
    if "prefect worker start" in line:
        return f"{'gpu' if '--pool gpu' in line else 'cpu'} worker"
    if "PREFECT__FLOW_RUN_ID" in environment:
        pool = environment.get("PREFECT__WORK_POOL_NAME", "")
        return "stage run" if is_of_gpu_worker(process) or pool == "gpu" else "flow"
    return "other"


def is_of_gpu_worker(process: psutil.Process) -> bool:
    try:
        return any("--pool gpu" in " ".join(p.cmdline()) for p in process.parents())
    except psutil.Error:
        return False


def disturb(arena: Arena, i: int, seed: int) -> dict[str, Any]:
    """Kill once; return what happened."""
    chance = random.Random(f"{seed}-{i}")
    wanted = chance.sample(KINDS, len(KINDS))
    moment = chance.uniform(0, arena.seconds)
    parameter = SEEDS[i % len(SEEDS)]
    run = arena.start(parameter)
    time.sleep(moment)
    alive = arena.processes()
    kind = next(kind for kind in wanted if kind in alive)
    victim = chance.choice(sorted(alive[kind], key=lambda process: process.pid))
    before = arena.state(run)
    killed = time.monotonic()
    aftermath.kill([victim])
    if kind == "supervisor":
        aftermath.wait_until(lambda: not arena.processes().get("supervisor"), 30)
        arena.up()
    state = arena.await_end(run, END_SECONDS)
    record = {
        "kill": i,
        "victim": kind,
        "moment": round(moment, 2),
        "before": before,
        "state": state,
        "seconds": round(time.monotonic() - killed, 1),
    }
    return {**record, **after(arena, state, parameter)}


def after(arena: Arena, state: str, parameter: int) -> dict[str, Any]:
    """Run again and return what was lost."""
    lost = [] if state in FINAL else [f"the run did not end: {state}"]
    check = (arena.root, arena.expected[parameter], OUTPUTS, arena.environment)
    if state == "COMPLETED":
        lost += [f"completed, but {told}" for told in aftermath.complaints(*check)]
    second = arena.await_end(arena.run(parameter), RERUN_SECONDS)
    if second != "COMPLETED":
        lost.append(f"the rerun ended as {second}")
    lost += aftermath.complaints(*check)
    return {"rerun": second, "lost": lost}


def summary(records: Sequence[dict[str, Any]], about: dict[str, Any]) -> str:
    """Return the table of all kills as Markdown."""
    lines = [
        "# Chaos",
        "",
        f"{about['date']}, {about['machine']}, `{about['command']}`",
        "",
        f"**{sum(bool(record['lost']) for record in records)} of {len(records)} kills lost "
        "something** (bar: 0).",
        "",
        "| killed | kills | run completed | run crashed | failed or canceled | "
        "median s to the end | longest | lost |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for kind in KINDS:
        lines += _row(kind, [record for record in records if record["victim"] == kind])
    lines += _row("all", records)
    losses = [record for record in records if record["lost"]]
    if losses:
        lines += ["", "Lost:", ""]
        lines += [f"- kill {r['kill']} ({r['victim']}): {'; '.join(r['lost'])}" for r in losses]
    return "\n".join(lines) + "\n"


def _row(name: str, records: Sequence[dict[str, Any]]) -> Iterator[str]:
    if not records:
        return
    states = [record["state"] for record in records]
    counts = [states.count("COMPLETED"), states.count("CRASHED")]
    counts.append(states.count("FAILED") + states.count("CANCELLED"))
    seconds = [record["seconds"] for record in records]
    cells = [name, len(records), *counts, f"{statistics.median(seconds):.1f}"]
    cells += [f"{max(seconds):.1f}", sum(bool(record["lost"]) for record in records)]
    yield f"| {' | '.join(map(str, cells))} |"


@contextmanager
def arena_in(folder: Path, port: int) -> Iterator[Arena]:
    """Yield a project that is up, and end it."""
    arena = Arena(folder / "project", port)
    arena.make()
    try:
        arena.up()
        arena.learn()
        yield arena
    finally:
        arena.down()


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=200, help="how many in all (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="of victims and moments (default: 0)")
    parser.add_argument("--port", type=int, default=4290, help="of the server (default: 4290)")
    parser.add_argument("--resume", action="store_true", help="go on after the kills that are kept")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON file; a .md is beside")
    parser.add_argument("--folder", type=Path, help="new folder of the project, which is kept")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # ends the server too
    kept = read_json(arguments.results)["kills"] if arguments.resume else []
    about = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{cpu_model()}, {os.cpu_count()} cores",
        "command": shlex.join(["python", "-m", "benchmarks.chaos", *(argv or sys.argv[1:])]),
        "seed": arguments.seed,
    }
    with (
        tempfile.TemporaryDirectory(prefix="semigen-chaos-") as scratch,
        arena_in(arguments.folder or Path(scratch), arguments.port) as arena,
    ):
        print(f"an undisturbed run takes {arena.seconds:.1f} s", flush=True)
        for i in range(len(kept), arguments.kills):
            kept.append(disturb(arena, i, arguments.seed))
            print(line(kept[-1]), flush=True)
            write_json(arguments.results, {**about, "kills": kept})
            write_text(arguments.results.with_suffix(".md"), summary(kept, about))
    print(summary(kept, about))
    return int(any(record["lost"] for record in kept))


def line(record: dict[str, Any]) -> str:
    told = "; ".join(record["lost"]) or "nothing lost"
    return (
        f"{record['kill']:4}  {record['victim']:10}  at {record['moment']:5.1f} s: "
        f"{record['before']} -> {record['state']} after {record['seconds']:.0f} s, {told}"
    )


if __name__ == "__main__":
    sys.exit(main())
