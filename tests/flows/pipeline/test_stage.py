from __future__ import annotations

import logging
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from flows.pipeline.dvc_graph import Stage, plan
from flows.pipeline.stage import failure, is_dvc_output, reproduce
from semigen.errors import UserError

if TYPE_CHECKING:
    from conftest import Project

SILENT = logging.getLogger("silent").debug
STAGE = Stage("train", "python toy.py train", "gpu", changed=True, pending=True)


def stages(project: Project) -> dict[str, Stage]:
    return {stage.name: stage for stage in plan(project.root)}


def test_logs_output_of_the_stage_without_that_of_dvc(settled: Project) -> None:
    lines: list[str] = []
    for stage in list(stages(settled).values())[:3]:
        assert reproduce(stage, settled.root, log=lines.append)
    assert settled.ran() == ["sample", "validate", "train"]
    assert lines == ["fitting"]


def test_stage_in_the_cache_of_dvc_does_not_run(settled: Project) -> None:
    sample = stages(settled)["sample"]
    assert reproduce(sample, settled.root, log=SILENT)
    assert not reproduce(sample, settled.root, log=SILENT)
    (settled.root / "labeled.csv").unlink()
    assert not reproduce(sample, settled.root, log=SILENT)
    assert (settled.root / "labeled.csv").exists()
    assert settled.ran() == ["sample"]
    assert reproduce(sample, settled.root, force=True, log=SILENT)


def test_report_is_never_restored_from_the_run_cache(done: Project) -> None:
    """The cache does not contain report.html; a restored stage would keep an outdated page."""
    (done.root / "reports" / "model_card.md").unlink()
    assert reproduce(stages(done)["report"], done.root, log=SILENT)
    assert done.ran() == ["report"]


def test_error_is_that_of_the_stage(settled: Project) -> None:
    lines: list[str] = []
    reproduce(stages(settled)["sample"], settled.root, log=SILENT)
    (settled.root / "labeled.csv").write_text("bad\n")
    with pytest.raises(UserError, match=r"^labeled.csv: column 'a', row 1: 'bad' is not a number$"):
        reproduce(stages(settled)["validate"], settled.root, log=lines.append)
    assert lines == ["error: labeled.csv: column 'a', row 1: 'bad' is not a number"]
    assert not (settled.root / "schema.json").exists()


RAISED = [
    *("Traceback (most recent call last):", '  File "a.py", line 1, in <module>', "KeyError: 1"),
    *("", "During handling of the above exception, another exception occurred:", ""),
    *("Traceback (most recent call last):", '  File "a.py", line 2, in <module>', "    b()"),
    "OSError: [Errno 28] No space left on device",
]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a", "error: first", "error: last", "ERROR: failed to reproduce 'train': x"], "last"),
        (["ValueError: 3", "ERROR: failed to reproduce 'train': exited with 1"], "failed to "),
        (["ERROR: failed to reproduce 'train': exited with -9"], "stage 'train' was killed"),
        (["Killed"], "stage 'train' failed with exit code 9"),
        ([*RAISED, "ERROR: failed to reproduce"], "stage 'train': OSError: [Errno 28] No space"),
        (["ERROR: failed to reproduce", *RAISED], "failed to reproduce"),
    ],
)
def test_error_of_the_stage_has_priority_over_that_of_dvc(lines: list[str], message: str) -> None:
    assert failure(lines, "stage 'train'", 9).startswith(message)


@pytest.mark.parametrize("line", ["epoch 3", "> 90 % accuracy", "Stages differ", "error: 'x'"])
def test_output_of_a_stage_is_not_that_of_dvc(line: str) -> None:
    assert not is_dvc_output(line, STAGE)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_stage_exits_with_its_parent(done: Project, end: signal.Signals) -> None:
    (done.root / "slow").touch()
    script = (
        "import signal, sys\n"
        "from pathlib import Path\n"
        "from flows.pipeline.dvc_graph import plan\n"
        "from flows.pipeline.stage import reproduce\n"
        # A shell starts its background jobs, and so a CI's, with interrupts ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "signal.signal(signal.SIGTERM, lambda number, _: sys.exit(1))\n"
        "reproduce(plan(Path.cwd(), 'train')[-1], Path.cwd(), force=True)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=done.root, env=done.environment)
    done.wait_for_slow_stage()
    parent.send_signal(end)
    assert parent.wait(20) != 0
    assert not done.is_slow_stage_alive()
