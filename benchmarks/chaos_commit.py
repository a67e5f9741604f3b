"""Kill processes while ``retrain.commit`` writes, many times, and count losses.

For each kill the results of a run change, and a process records them as the flow does
(``flows.pipeline.history.record``: ``dvc push``, ``git add``, ``git commit``). At a random time
SIGKILL hits that process, one of the programs that it started, or all of them, as a power cut does.
Then the repository must be valid (``git fsck``), ``HEAD`` must be the commit of before or one that
contains the recorded files alone, and the user's staged, changed and untracked files, a ``.env``
among them, must be as before. A second call must complete, with all data on DVC's remote. Anything
else is a loss.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import yaml

from benchmarks import aftermath
from benchmarks.arena import ROOT, SEEDS
from benchmarks.chaos import build_parser, line, summary
from benchmarks.chaos_stages import DVC_YAML, OUTPUTS
from benchmarks.machine import measurement
from benchmarks.slow_disk import slow_disk
from flows.pipeline.dvc_graph import Stage, plan
from flows.pipeline.git import git
from flows.pipeline.history import record, recorded_files
from semigen.artifacts import Layout, read_json, write_json, write_text
from semigen.errors import UserError

RESULTS = ROOT / "benchmarks" / "results" / "chaos_commit.json"
VICTIMS = ("recorder", "child", "all")
USER_FILES = {"staged.txt": "A  ", "edited.txt": " M ", ".env": "?? ", "draft.py": "?? "}
"""Files of the user that are not part of a run, with their state in ``git status``."""


class Repository:
    """A project with results of two runs, in git, with a DVC remote."""

    def __init__(self, folder: Path) -> None:
        self.root, self.remote = folder / "project", folder / "remote"
        self.saved: dict[int, Path] = {}
        self.stages: list[Stage] = []
        self._make()
        for seed in SEEDS:
            (self.root / "params.yaml").write_text(f"seed: {seed}\n")
            self._run("dvc", "repro", "report")
            self.saved[seed] = folder / f"run{seed}"
            shutil.copytree(self.root, self.saved[seed], ignore=shutil.ignore_patterns(".*"))
        self.stages = plan(self.root)

    def _make(self) -> None:
        self.root.mkdir()
        for name in ("flows", "semigen", "tasks", "benchmarks"):
            (self.root / name).symlink_to(ROOT / name)
        (self.root / "dvc.yaml").write_text(DVC_YAML)
        (self.root / ".gitignore").write_text("/flows\n/semigen\n/tasks\n/benchmarks\n.semigen\n")
        (self.root / "edited.txt").write_text("committed\n")
        git(self.root, "init", "--quiet")
        self._run("dvc", "init", "--quiet")
        self._run("dvc", "remote", "add", "--default", "store", str(self.remote))
        git(self.root, "add", ".gitignore", ".dvc", "dvc.yaml", "edited.txt")
        identity = ("-c", "user.name=user", "-c", "user.email=user@localhost")
        git(self.root, *identity, "commit", "--quiet", "--message", "first")
        for name in USER_FILES:
            (self.root / name).write_text("of the user\n")
        git(self.root, "add", "staged.txt")

    def _run(self, *command: str) -> None:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
        command = (sys.executable, "-m", *command)
        subprocess.run(command, cwd=self.root, env=environment, check=True, capture_output=True)

    def take_results(self, seed: int) -> None:
        """Put the results of another run in place; the remote is empty."""
        for name in ("params.yaml", *OUTPUTS):
            source, path = self.saved[seed] / name, self.root / name
            if source.is_dir():
                shutil.rmtree(path)
                shutil.copytree(source, path)
            else:
                shutil.copy2(source, path)
        shutil.rmtree(self.remote, ignore_errors=True)

    def record(self, message: str) -> str | None:
        return record(Layout(self.root), self.stages, message, lambda _: None, timeout=60)

    def complaints(self, before: str) -> list[str]:
        """Return what is wrong after a kill; empty if nothing is."""
        found = []
        try:
            git(self.root, "fsck", "--strict", "--no-dangling", "--no-progress")
        except UserError as error:
            found.append(str(error))
        head = git(self.root, "rev-parse", "HEAD")
        named = set(recorded_files(self.root, self.stages))
        if head != before:
            if git(self.root, "rev-parse", "HEAD~1") != before:
                found.append("HEAD is another commit")
            changed = set(git(self.root, "diff", "--name-only", before, head).split())
            found += [f"committed: {name}" for name in sorted(changed - named)]
        return found + self._changes_of_the_user()

    def _changes_of_the_user(self) -> list[str]:
        names = ("status", "--porcelain", "--", *USER_FILES)
        lines = [text.rstrip() for text in _output(self.root, *names).splitlines()]
        expected = sorted(f"{state}{name}" for name, state in USER_FILES.items())
        found = [] if sorted(lines) == expected else [f"files of the user: {lines}"]
        wrong = [n for n in USER_FILES if (self.root / n).read_text() != "of the user\n"]
        return found + [f"content of {name}" for name in wrong]

    def is_complete(self) -> list[str]:
        """Return what the second call did not record."""
        root = self.root
        dirty = git(root, "status", "--porcelain", "--", *recorded_files(root, self.stages))
        found = [f"not committed: {dirty}"] if dirty else []
        lock = yaml.safe_load((root / "dvc.lock").read_text())
        outs = [out for stage in lock["stages"].values() for out in stage["outs"]]
        hashes = [out["md5"] for out in outs if out["path"] != "reports/metrics.json"]
        stored = (self.remote / "files" / "md5" / md5[:2] / md5[2:] for md5 in hashes)
        return found + [f"not on the remote: {path.name}" for path in stored if not path.exists()]


def _output(root: Path, *arguments: str) -> str:
    """Return the output of git with leading spaces."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout


def forked(act: Callable[[], object]) -> psutil.Process:
    """Run a function in a fork of this process."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            act()
            status = 0
        finally:
            os._exit(status)
    return psutil.Process(child)


def disturb(repository: Repository, i: int, seed: int, seconds: float) -> dict[str, Any]:
    """Kill something during a call of ``record``; return the record of the kill."""
    chance = random.Random(f"{seed}-{i}")
    moment, kind = chance.uniform(0, seconds), VICTIMS[i % len(VICTIMS)]
    repository.take_results(SEEDS[i % len(SEEDS)])
    before = git(repository.root, "rev-parse", "HEAD")
    recorder = forked(lambda: repository.record(f"run {i}"))
    time.sleep(moment)
    children = recorder.children(recursive=True)
    if kind == "child" and not children:
        kind = "recorder"
    victims = {"recorder": [recorder], "child": children[-1:], "all": [recorder, *children]}[kind]
    was_running = recorder.status() != psutil.STATUS_ZOMBIE
    killed = time.monotonic()
    aftermath.kill(victims)
    os.waitpid(recorder.pid, 0)
    psutil.wait_procs(children, timeout=60)
    lost = repository.complaints(before)
    head = git(repository.root, "rev-parse", "HEAD")
    lost += _rerun(repository, i, before)
    return {
        "kill": i,
        "victim": kind,
        "moment": round(moment, 2),
        "before": "RUNNING" if was_running else "COMPLETED",
        "state": "CRASHED" if head == before else "COMPLETED",
        "seconds": round(time.monotonic() - killed, 1),
        "lost": lost,
    }


def _rerun(repository: Repository, i: int, before: str) -> list[str]:
    try:
        repository.record(f"run {i}, again")
    except UserError as error:
        return [f"the second call failed: {error}"]
    return repository.is_complete() + repository.complaints(before)


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    parser.set_defaults(results=RESULTS, kills=100)
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    kept = read_json(arguments.results)["kills"] if arguments.resume else []
    options = f"--kills {arguments.kills} --seed {arguments.seed}"
    options += f" --write-iops {arguments.write_iops}" if arguments.write_iops else ""
    command = f"python -m benchmarks.chaos_commit {options}"
    about = {**measurement(command), "seed": arguments.seed}
    with contextlib.ExitStack() as stack:
        scratch = tempfile.TemporaryDirectory(prefix="semigen-chaos-")
        folder = Path(stack.enter_context(scratch))
        if arguments.write_iops:
            folder = stack.enter_context(slow_disk(folder, arguments.write_iops))
        repository = Repository(folder)
        repository.take_results(SEEDS[0])
        started = time.monotonic()
        repository.record("undisturbed")
        seconds = time.monotonic() - started
        print(f"an undisturbed call takes {seconds:.1f} s", flush=True)
        for i in range(len(kept), arguments.kills):
            kept.append(disturb(repository, i + 1, arguments.seed, seconds))
            print(line(kept[-1]), flush=True)
            write_json(arguments.results, {**about, "kills": kept})
            text = summary(kept, about, kinds=VICTIMS)
            write_text(arguments.results.with_suffix(".md"), text)
    print(summary(kept, about, kinds=VICTIMS))
    return int(any(record["lost"] for record in kept))


if __name__ == "__main__":
    sys.exit(main())
