"""Run one stage with DVC in a child process, and log its output line by line."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path

from flows.cells import stored
from flows.pipeline.child import child
from flows.pipeline.dvc_graph import Stage
from flows.pipeline.locks import holders, wait_for
from semigen.errors import UserError
from semigen.wording import printable

DVC_OUTPUT = re.compile(
    r"^$|^(Running stage|Stage|Verifying data sources in stage:?) '"
    r"|^(Updating|Generating) lock file|^Use `dvc push`|^To (track the changes|enable auto stag)"
    r"|^\t(git add|dvc config core.autostage)|^ERROR: failed to reproduce '"
    r"|^If there are no processes with such PIDs, you can manually remove|^  \(PID \d+\): "
)
"""Lines of DVC's own output, which are not logged."""
KILLED = re.compile(r"^ERROR: failed to reproduce .* exited with -9$")
TRACEBACK = "Traceback (most recent call last):"


def reproduce(
    stage: Stage,
    root: Path,
    *,
    force: bool = False,
    debug: bool = False,
    log: Callable[[str], None] = print,
) -> bool:
    """Run ``dvc repro`` for one stage.

    Args:
        stage: The stage. The stages that it depends on must be up to date.
        root: The project's root.
        force: Run the stage even if nothing has changed.
        debug: Log DVC's messages and the stage's tracebacks too.
        log: Called with each line of output.

    Returns:
        Whether the stage ran; False if DVC took its outputs from the cache.

    Raises:
        UserError: If the stage failed. The message is the stage's ``error:`` line.
    """
    argv = ["--wait-for-lock", "repro", "--single-item", *["--force"] * force, stage.name]
    while True:
        lines = []
        with child("dvc.cli", argv, root, debug=debug) as process:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line.rstrip())
                if debug or not is_dvc_output(lines[-1], stage):
                    log(printable(lines[-1]))
            status = process.wait()
        others = holders(lines) if status else []
        if not others:
            break
        wait_for(others, stage.name, log)
    if status:
        raise UserError(stored(failure(lines, f"stage {stage.name!r}", status)))
    return any(line.startswith("Running stage '") for line in lines)


def is_dvc_output(line: str, stage: Stage) -> bool:
    """Return whether a line is DVC's output and not the stage's."""
    return bool(DVC_OUTPUT.search(line)) or line == f"> {stage.command}"


def failure(lines: list[str], what: str, status: int) -> str:
    """Return the error of a stage or command in one line: its own message, else DVC's."""
    if status == -signal.SIGKILL or any(map(KILLED.search, lines)):
        return (
            f"{what} was killed (signal 9), by the system when memory ran out (see `dmesg`) or by "
            "a user; the next run resumes from the latest checkpoint"
        )
    own = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if own:
        return own[-1]
    if (raised := last_raised(lines)) is not None:
        return f"{what}: {raised}"
    of_dvc = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return of_dvc[-1] if of_dvc else f"{what} failed with exit code {status}"


def last_raised(lines: list[str]) -> str | None:
    """Return the exception of a stage: ``OSError: [Errno 28] No space left on device``."""
    raised, is_inside = None, False
    for line in lines:
        if line.startswith("ERROR: "):  # the next lines are DVC's
            break
        if line == TRACEBACK:
            is_inside = True
        elif is_inside and line and not line[0].isspace():
            raised, is_inside = line, False
    return raised
