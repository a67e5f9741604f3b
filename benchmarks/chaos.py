"""Kill a random process of a running pipeline at a random time, many times, and count losses.

For each kill the parameters change, a retraining starts on a server with workers, as started by
``semigen up`` (``benchmarks.chaos_stages``: three small stages, one of them on the GPU worker), and
one process receives SIGKILL: the flow, the run of a stage on the worker, the stage, its DVC
process, a worker, the server or the supervisor. Then the run must end in a final state in limited
time, a second run must complete, and the project must be as after an undisturbed run: equal hashes
of outputs and of ``dvc.lock``, a clean ``dvc status``, no process and no lock left. Anything else
is a loss.

Every kill is saved in ``benchmarks/results/chaos.json``; ``--resume`` continues after the saved
kills. The killed processes depend on the seed alone, the times on the machine too.
"""

from __future__ import annotations

import argparse
import datetime
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import aftermath
from benchmarks.arena import END_SECONDS, FINAL, ROOT, SEEDS, Arena, arena_in
from benchmarks.machine import cpu_model
from semigen.artifacts import read_json, write_json, write_text

RESULTS = ROOT / "benchmarks" / "results" / "chaos.json"
KINDS = (
    *("flow", "fork server", "stage run", "stage", "dvc"),
    *("cpu worker", "gpu worker", "server", "supervisor"),
)


def disturb(arena: Arena, i: int, seed: int) -> dict[str, Any]:
    """Kill one process; return the record of the kill."""
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
    return {**record, "lost": arena.lost(state, parameter)}


def summary(records: Sequence[dict[str, Any]], about: dict[str, Any]) -> str:
    """Return a table of all kills as Markdown."""
    n_late = sum(record["before"] in FINAL for record in records)
    lines = [
        "# Chaos",
        "",
        f"{about['date']}, {about['machine']}, `{about['command']}`",
        "",
        f"**{sum(bool(record['lost']) for record in records)} of {len(records)} kills lost "
        f"something** (bar: 0). {n_late} runs had ended before the kill.",
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


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=200, help="number of kills (default: 200)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of processes and times (default: 0)"
    )
    parser.add_argument("--port", type=int, default=4290, help="port of the server (default: 4290)")
    parser.add_argument("--resume", action="store_true", help="continue after the saved kills")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="JSON file; a .md file is written next to it"
    )
    parser.add_argument(
        "--folder", type=Path, help="new folder of the project, which is not removed"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # stops the server too
    kept = read_json(arguments.results)["kills"] if arguments.resume else []
    about = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{cpu_model()}, {os.cpu_count()} cores",
        "command": f'make chaos ARGS="--kills {arguments.kills} --seed {arguments.seed}"',
        "seed": arguments.seed,
    }
    with (
        tempfile.TemporaryDirectory(prefix="semigen-chaos-") as scratch,
        arena_in(arguments.folder or Path(scratch), arguments.port) as arena,
    ):
        arena.learn()
        print(f"an undisturbed run takes {arena.seconds:.1f} s", flush=True)
        for i in range(len(kept), arguments.kills):
            kept.append(disturb(arena, i, arguments.seed))
            print(line(kept[-1]), flush=True)
            write_json(arguments.results, {**about, "kills": kept})
            write_text(arguments.results.with_suffix(".md"), summary(kept, about))
    print(summary(kept, about))
    return int(any(record["lost"] for record in kept))


def line(record: dict[str, Any]) -> str:
    lost = "; ".join(record["lost"]) or "nothing lost"
    return (
        f"{record['kill']:4}  {record['victim']:10}  at {record['moment']:5.1f} s: "
        f"{record['before']} -> {record['state']} after {record['seconds']:.0f} s, {lost}"
    )


if __name__ == "__main__":
    sys.exit(main())
