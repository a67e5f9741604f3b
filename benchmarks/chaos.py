"""Kill a random process of a running pipeline at a random time, many times, and count losses.

For each kill the parameters change, a retraining starts on a server with workers, as started by
``semigen up`` (``benchmarks.chaos_stages``: three small stages, one of them on the GPU worker), and
one process receives SIGKILL: the flow, the run of a stage on the worker, the stage, its DVC
process, a worker, the server or the supervisor. Then the run must end in a final state in limited
time, a second run must complete, and the project must be as after an undisturbed run: equal hashes
of outputs and of ``dvc.lock``, a clean ``dvc status``, no process and no lock left. Anything else
is a loss. With ``--projects 2`` two projects use one server, both run at the same time, and both
are checked; with ``--write-iops`` everything is on a slow disk.

Every kill is saved in ``benchmarks/results/chaos.json``; ``--resume`` continues after the saved
kills. The killed processes depend on the seed alone, the times on the machine too.
"""

from __future__ import annotations

import argparse
import contextlib
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
from benchmarks.arena import END_SECONDS, FINAL, ROOT, SEEDS, Arena, arenas_in
from benchmarks.machine import measurement
from benchmarks.slow_disk import slow_disk
from semigen.artifacts import read_json, write_json, write_text

RESULTS = ROOT / "benchmarks" / "results" / "chaos.json"
KINDS = (
    *("flow", "fork server", "stage run", "stage", "dvc"),
    *("cpu worker", "gpu worker", "server", "supervisor"),
)


def disturb(arenas: Sequence[Arena], i: int, seed: int) -> dict[str, Any]:
    """Start a run in each project, kill one process of one of them; return the record."""
    chance = random.Random(f"{seed}-{i}")
    wanted = chance.sample(KINDS, len(KINDS))
    moment = chance.uniform(0, max(arena.seconds for arena in arenas))
    parameter = SEEDS[i % len(SEEDS)]
    runs = [arena.start(parameter) for arena in arenas]
    time.sleep(moment)
    hit = chance.randrange(len(arenas))
    alive = arenas[hit].processes()
    kind = next(kind for kind in wanted if kind in alive)
    victim = chance.choice(sorted(alive[kind], key=lambda process: process.pid))
    before = arenas[hit].state(runs[hit])
    killed = time.monotonic()
    aftermath.kill([victim])
    if kind == "supervisor":
        aftermath.wait_until(lambda: not arenas[hit].processes().get("supervisor"), 30)
        arenas[hit].up()
    states = [arena.await_end(run, END_SECONDS) for arena, run in zip(arenas, runs, strict=True)]
    record = {
        "kill": i,
        "victim": kind,
        "moment": round(moment, 2),
        "before": before,
        "state": states[hit],
        "seconds": round(time.monotonic() - killed, 1),
    }
    if len(arenas) > 1:
        record |= {"project": arenas[hit].root.name, "states": states}
    lost = []
    for arena, state in zip(arenas, states, strict=True):
        prefix = f"{arena.root.name}: " if len(arenas) > 1 else ""
        lost += [f"{prefix}{text}" for text in arena.lost(state, parameter)]
    return {**record, "lost": lost}


def summary(
    records: Sequence[dict[str, Any]], about: dict[str, Any], kinds: Sequence[str] = KINDS
) -> str:
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
    for kind in kinds:
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
    parser.add_argument(
        "--projects", type=int, default=1, help="number of projects on the server (default: 1)"
    )
    parser.add_argument(
        "--write-iops", type=int, help="writes per second of a slow disk; needs root"
    )
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
    options = f"--kills {arguments.kills} --seed {arguments.seed}"
    options += f" --projects {arguments.projects}" if arguments.projects > 1 else ""
    options += f" --write-iops {arguments.write_iops}" if arguments.write_iops else ""
    about = {**measurement(f'make chaos ARGS="{options}"'), "seed": arguments.seed}
    with contextlib.ExitStack() as stack:
        scratch = tempfile.TemporaryDirectory(prefix="semigen-chaos-")
        folder = arguments.folder or Path(stack.enter_context(scratch))
        if arguments.write_iops:
            folder = stack.enter_context(slow_disk(folder, arguments.write_iops))
        arenas = stack.enter_context(arenas_in(folder, arguments.port, arguments.projects))
        arenas[0].learn()
        print(f"an undisturbed run takes {arenas[0].seconds:.1f} s", flush=True)
        for guest in arenas[1:]:  # it has the same stages
            guest.expected, guest.seconds = arenas[0].expected, arenas[0].seconds
        for i in range(len(kept), arguments.kills):
            kept.append(disturb(arenas, i, arguments.seed))
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
