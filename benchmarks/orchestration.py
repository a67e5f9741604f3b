"""Overhead of the orchestration, in seconds and CPU seconds, compared with the stages alone.

A server with workers is started as by ``semigen up``, and commands of a user are timed: ``semigen
run --force`` compared with one process that calls the same stages as functions, on the default data
and on a run of about two minutes; the flow and ``dvc repro`` when nothing has changed; and a stage
on a running GPU worker compared with the same stage in place. Commands that are compared alternate;
the result is the median of the differences.

All times are wall-clock times of the command. Other programs on the machine make both sides slower,
so CPU seconds (of the command, its children and the server) and the load average are reported too.
A GPU worker would run two stages of the runs. Its pool is paused during the runs, so that the
overhead of a worker is measured separately.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.arena import ROOT
from benchmarks.machine import measurement
from benchmarks.orchestration_report import Record, summary
from benchmarks.server_api import ask
from flows.environment import NO_TELEMETRY, service_settings
from flows.login import own_server_variables, server_login
from flows.pipeline.dvc_graph import settle_scm
from flows.pipeline.overrides import apply_overrides
from flows.project import Project
from flows.service.processes import Service
from semigen.artifacts import read_json, write_json, write_text
from tasks.process_lifetime import SERVICE, processes_with

RESULTS = ROOT / "benchmarks" / "results" / "orchestration.json"
LONG = ("train.repeats=20",)
"""Overrides that make the default run take about two minutes."""
PARTS = ("no-op", "hop", "default", "long")
LINKED = ("flows", "semigen", "tasks", "benchmarks", "prefect.yaml", "dvc.yaml", ".dvcignore")
FUNCTIONS = """
from semigen.artifacts import Layout
from semigen.params.config import Params
from tasks import STAGES
from tasks.command_line import run_stage
from tasks.process_lifetime import leave
layout = Layout()
for stage in STAGES:
    run_stage(stage, Params.load(layout.params), layout)
leave(0)
"""
HOP_STAGE = "sample"
"""The stage that is sent to a worker: the shortest."""


class Bench:
    """A project with the default data, its server and its workers."""

    def __init__(self, root: Path, port: int, threads: int) -> None:
        self.root, self.service = root, Service(root, port)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        inherited.pop("PYTHONDONTWRITEBYTECODE", None)
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        code = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self.environment = {**inherited, **NO_TELEMETRY, "PATH": path, "PYTHONPATH": code}
        if threads:
            self.environment["OMP_NUM_THREADS"] = str(threads)

    def make(self) -> None:
        """Write the project's files."""
        (self.root / ".dvc").mkdir(parents=True)
        shutil.copy(ROOT / ".dvc" / "config", self.root / ".dvc")
        for name in LINKED:
            (self.root / name).symlink_to(ROOT / name)
        text = (ROOT / "params.yaml").read_text(encoding="utf-8")
        text = re.sub("^  cron: .*", "  cron: null", text, flags=re.MULTILINE)
        (self.root / "params.yaml").write_text(text, encoding="utf-8")
        settle_scm(self.root)

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        command = [sys.executable, "-m", "flows.service.cli"]
        options = {"cwd": self.root, "env": self.environment, "stdout": subprocess.DEVNULL}
        try:
            port = ["--port", str(self.service.port)]
            subprocess.run([*command, "up", *port], check=True, **options)  # type: ignore[call-overload]
            settings = service_settings(self.root, self.service.api_url)
            self.environment |= settings | own_server_variables(self.root)
            yield
        finally:
            subprocess.run([*command, "down"], check=False, **options)  # type: ignore[call-overload]

    def pause_gpu(self, is_paused: bool) -> None:
        pool = Project.of(self.root).pool("gpu")
        url = f"{self.service.api_url}/work_pools/{pool}"
        ask("PATCH", url, {"is_paused": is_paused}, login=server_login(self.root))

    def timed(self, what: str, *command: str) -> Record:
        """Run a Python command and return what it took."""
        background = self._service_seconds()
        load = os.getloadavg()[0]
        started = time.monotonic()
        with (self.root / "output.log").open("w+") as log:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=self.root,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.monotonic() - started
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                log.seek(0)
                raise SystemExit(f"{shlex.join(command)}\n{log.read()}")
        own = usage.ru_utime + usage.ru_stime
        record: Record = {
            "what": what,
            "seconds": round(seconds, 2),
            "cpu_seconds": round(own + self._service_seconds() - background, 2),
            "load": round(load, 1),
        }
        print(
            f"{what:20} {record['seconds']:7.1f} s {record['cpu_seconds']:7.1f} CPU s", flush=True
        )
        return record

    def _service_seconds(self) -> float:
        """Return the CPU seconds of server and workers, with their children that have exited."""
        total = 0.0
        for process in processes_with(SERVICE, str(self.root)):
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total


def measure_runs(bench: Bench, size: str, n: int) -> Iterator[Record]:
    """Time the flow and the functions alternately."""
    for i in range(n):
        pair = [
            (f"{size}: flow", ("-m", "flows.train", "--force")),
            (f"{size}: functions", ("-c", FUNCTIONS)),
        ]
        for what, command in pair if i % 2 else reversed(pair):
            record = bench.timed(what, *command)
            stages = json.loads((bench.root / "reports" / "timings.json").read_text())
            yield {**record, "repetition": i, "stages": stages}


def measure_unchanged(bench: Bench, n: int) -> Iterator[Record]:
    """Time a flow and ``dvc repro`` when nothing has changed."""
    for i in range(n):
        yield {**bench.timed("no-op: flow", "-m", "flows.train"), "repetition": i}
        yield {**bench.timed("no-op: dvc repro", "-m", "dvc", "repro"), "repetition": i}


def measure_hops(bench: Bench, n: int) -> Iterator[Record]:
    """Time a stage on the worker and in place alternately, in a process after its imports."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.orchestration", "--hops-here", str(n)],
        cwd=bench.root,
        env=bench.environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            print(line, flush=True)
            yield json.loads(line)


def hops_here(n: int) -> None:
    """Print a record for each run of a stage on the worker or in place."""
    from dataclasses import replace

    from flows.dispatch import run_where_wanted
    from flows.pipeline.dvc_graph import plan
    from semigen.artifacts import Layout
    from semigen.params.config import ComputeParams

    layout = Layout()
    stage = plan(layout.root, HOP_STAGE)[-1]
    for i in range(-1, n):  # the first repetition is a warm-up
        for what, pool in (("hop: worker", "gpu"), ("hop: in place", None)):
            load, started = os.getloadavg()[0], time.monotonic()
            where = replace(stage, worker=pool)
            run_where_wanted(where, layout, ComputeParams(), force=True, log=lambda _: None)
            seconds = round(time.monotonic() - started, 2)
            if i >= 0:
                record = {"what": what, "seconds": seconds, "load": round(load, 1), "repetition": i}
                print(json.dumps(record), flush=True)


def measure(bench: Bench, arguments: argparse.Namespace) -> Iterator[Record]:
    """Measure the selected parts, the short ones first."""
    bench.make()
    with bench.up():
        bench.pause_gpu(True)
        bench.timed("warm-up", "-m", "flows.train")
        if "no-op" in arguments.parts:
            yield from measure_unchanged(bench, arguments.short_repetitions)
        if "hop" in arguments.parts:
            bench.pause_gpu(False)
            yield from measure_hops(bench, arguments.short_repetitions)
            bench.pause_gpu(True)
        if "default" in arguments.parts:
            yield from measure_runs(bench, "default", arguments.repetitions)
        if "long" in arguments.parts:
            apply_overrides(LONG, bench.root / "params.yaml")
            yield from measure_runs(bench, "two minutes", arguments.long_repetitions)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.orchestration",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repetitions", type=int, default=5, help="repetitions of the default run")
    parser.add_argument(
        "--long-repetitions", type=int, default=3, help="repetitions of the run of two minutes"
    )
    parser.add_argument(
        "--short-repetitions", type=int, default=9, help="repetitions of the other parts"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure")
    parser.add_argument(
        "--resume", action="store_true", help="keep the records of other parts in --out"
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="threads of each process; 0 for all cores"
    )
    parser.add_argument("--port", type=int, default=4290, help="port of the server (default: 4290)")
    parser.add_argument(
        "--out", type=Path, default=RESULTS, help="JSON file; a .md file is written next to it"
    )
    parser.add_argument("--hops-here", type=int, help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    if arguments.hops_here:
        hops_here(arguments.hops_here)
        return 0
    command = shlex.join(["python", "-m", "benchmarks.orchestration", *(argv or sys.argv[1:])])
    about: dict[str, Any] = {**measurement(command)}
    records: list[Record] = []
    if arguments.resume:
        known = read_json(arguments.out)
        about["command"] = f"{known['about']['command']}; {command}"
        records = known["records"]
    with tempfile.TemporaryDirectory(prefix="semigen-bench-") as folder:
        bench = Bench(Path(folder) / "project", arguments.port, arguments.threads)
        for record in measure(bench, arguments):
            records.append(record)
            write_json(arguments.out, {"about": about, "records": records})
    text = summary(records, about)
    write_text(arguments.out.with_suffix(".md"), text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
