"""One stage in a process of its own, by DVC, its output passed on line by line."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from flows.blocked import holders, wait_for
from flows.dvc_graph import Stage
from semigen.errors import UserError
from tasks.guard import OWNER, owner_of_children

CHATTER = re.compile(
    r"^$|^(Running stage|Stage|Verifying data sources in stage:?) '"
    r"|^(Updating|Generating) lock file|^Use `dvc push`|^To (track the changes|enable auto stag)"
    r"|^\t(git add|dvc config core.autostage)|^ERROR: failed to reproduce '"
    r"|^If there are no processes with such PIDs, you can manually remove|^  \(PID \d+\): "
)
"""What DVC says beside the stage's own output."""
KILLED = re.compile(r"^ERROR: failed to reproduce .* exited with -9$")
TRACEBACK = "Traceback (most recent call last):"
GRACE_SECONDS = 5.0
"""How long an interrupted stage has to tidy up."""


def reproduce(
    stage: Stage,
    root: Path,
    *,
    force: bool = False,
    debug: bool = False,
    log: Callable[[str], None] = print,
) -> bool:
    """Run ``dvc repro`` for one stage alone.

    Args:
        stage: Which one; those that it depends on must be up to date.
        root: The project's root.
        force: Run it even if nothing changed.
        debug: Pass on DVC's own messages and the stage's tracebacks too.
        log: Takes each line of output.

    Returns:
        Whether the stage ran; False if DVC had its outputs in the cache.

    Raises:
        UserError: If the stage failed; the message is the stage's own ``error:`` line.
    """
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", stage.name]
    while True:
        lines = []
        with _child(command + ["--force"] * force, root, debug=debug) as process:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line.rstrip())
                if debug or not is_chatter(lines[-1], stage):
                    log(lines[-1])
            status = process.wait()
        others = holders(lines) if status else []
        if not others:
            break
        wait_for(others, stage.name, log)
    if status:
        raise UserError(failure(lines, stage, status))
    return any(line.startswith("Running stage '") for line in lines)


def is_chatter(line: str, stage: Stage) -> bool:
    """Return whether a line is DVC's own and says nothing new."""
    return bool(CHATTER.search(line)) or line == f"> {stage.command}"


def failure(lines: list[str], stage: Stage, status: int) -> str:
    """Return in one line why a stage failed: in its own words, else in DVC's."""
    if any(map(KILLED.search, lines)):
        return (
            f"stage {stage.name!r} was killed (signal 9), by the system for want of memory or by "
            "hand; `dmesg` tells, and another run goes on from what was finished"
        )
    own = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if own:
        return own[-1]
    if (raised := last_raised(lines)) is not None:
        return f"stage {stage.name!r}: {raised}"
    of_dvc = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return of_dvc[-1] if of_dvc else f"stage {stage.name!r} ended with exit code {status}"


def last_raised(lines: list[str]) -> str | None:
    """Return what a stage raised, e.g. ``OSError: [Errno 28] No space left on device``."""
    raised, is_inside = None, False
    for line in lines:
        if line.startswith("ERROR: "):  # what follows is DVC's
            break
        if line == TRACEBACK:
            is_inside = True
        elif is_inside and line and not line[0].isspace():
            raised, is_inside = line, False
    return raised


@contextlib.contextmanager
def _child(command: list[str], root: Path, *, debug: bool) -> Iterator[subprocess.Popen[str]]:
    """Start a process in a group of its own, which ends when the block does."""
    here = str(Path(sys.executable).parent)  # where the stages' `python` is
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([here, os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        OWNER: owner_of_children(),  # a killed flow cannot end its stage
    }
    if debug:
        environment["SEMIGEN_DEBUG"] = "1"
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # imports would stay slow for good
    process = subprocess.Popen(
        command,
        cwd=root,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """End a process and all that it started: ask first, so that temporary files are removed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
    if process.stdout is not None:
        process.stdout.close()
