"""The retraining flow on the toy project, with a real temporary Prefect server."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import yaml
from prefect import State, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import Artifact, TaskRun
from prefect.testing.utilities import prefect_test_harness

from flows.project import Project as Scope
from flows.train import is_report_stale, train
from semigen.artifacts import Layout
from tests.flows.common import wait_for

if TYPE_CHECKING:
    from conftest import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ORDER = ["sample", "validate", "train", "evaluate", "report"]


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def fresh(project: Project, server: None, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The toy project as the working directory."""
    return enter(project, monkeypatch)


@pytest.fixture
def here(done: Project, server: None, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The toy project after ``dvc repro report``, as the working directory."""
    return enter(done, monkeypatch)


def enter(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("PATH", project.environment["PATH"])
    return project


def run(**parameters: object) -> State:
    return train(**parameters, return_state=True)


def task_runs(state: State) -> dict[str, TaskRun]:
    """Return the task runs of a flow run by name, in the order in which they started."""
    flow_run = state.state_details.flow_run_id
    wanted = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run]))
    with get_client(sync_client=True) as client:
        for _ in range(50):  # task runs reach the server as events, a moment later
            runs = client.read_task_runs(flow_run_filter=wanted)
            if runs and all(run.state and run.state.is_final() for run in runs):
                break
            time.sleep(0.2)
    return {run.name: run for run in sorted(runs, key=lambda run: run.start_time)}


def name_of(state: State) -> str:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(state.state_details.flow_run_id).name


def state_names(state: State) -> dict[str, str]:
    return {name: run.state_name for name, run in task_runs(state).items()}


def test_first_run_runs_all_and_second_is_cached(fresh: Project) -> None:
    first = run()
    assert state_names(first) == dict.fromkeys(ORDER, "Completed")
    assert list(task_runs(first)) == ORDER
    assert not any(run.tags for run in task_runs(first).values())  # each would request a slot
    assert first.result() == dict.fromkeys(ORDER, True)
    assert fresh.ran() == ORDER
    assert name_of(first) == "digits 90.0% (+90.0 points), by hand"

    second = run()
    assert state_names(second) == dict.fromkeys(ORDER, "Cached")
    assert second.result() == dict.fromkeys(ORDER, False)
    assert name_of(second) == "digits unchanged, by hand"


def test_stages_that_dvc_has_run_are_cached(here: Project) -> None:
    assert state_names(run()) == dict.fromkeys(ORDER, "Cached")
    assert here.ran() == []


def test_override_is_kept_and_runs_dependent_stages(here: Project) -> None:
    changed = run(overrides=["train.epochs=20"])
    assert here.ran() == ["train"], "evaluate and report got the same model"
    assert state_names(changed) == {**dict.fromkeys(ORDER, "Cached"), "train": "Completed"}
    assert "epochs: 20 # passes" in (here.root / "params.yaml").read_text()
    status = here.run("dvc", "status", "report", "--with-deps")
    assert "up to date" in status.stdout


def test_stage_with_unchanged_inputs_is_cached(here: Project) -> None:
    state = run(overrides=["validate.min_rows_per_class=3"])
    assert here.ran() == ["validate"]
    assert state_names(state) == {**dict.fromkeys(ORDER, "Cached"), "validate": "Completed"}


def test_failed_stage_fails_the_flow_in_its_own_words_and_stops_it(here: Project) -> None:
    here.edit("toy.py", 'write_text("1\\n")', 'write_text("bad\\n")')
    before = {path: path.read_bytes() for path in (here.root / "model", Layout().report)}
    state = run(force=True)
    message = "labeled.csv: column 'a', row 1: 'bad' is not a number"
    assert (state.name, state.message) == ("Failed", message)
    failed = task_runs(state)
    assert {name: run.state_name for name, run in failed.items()} == {
        "sample": "Completed",
        "validate": "Failed",
    }
    assert failed["validate"].state.message == message
    assert name_of(state) == "digits failed in validate, by hand"
    assert {path: path.read_bytes() for path in before} == before


def test_invalid_parameter_fails_the_flow_before_any_stage(here: Project) -> None:
    before = (here.root / "params.yaml").read_bytes()
    state = run(overrides=["train.epoch=3"])
    assert state.is_failed()
    assert "did you mean 'epochs'?" in state.message
    here.edit("params.yaml", "epochs: 50", "epochs: 0")
    assert "greater than or equal to 1, not 0" in run().message
    here.edit("params.yaml", "epochs: 0", "epochs: 50")
    absent = ["+data.labeled=mine.csv", "+data.unlabeled=theirs.csv"]
    assert run(overrides=absent).message.startswith("mine.csv: no such file; check data.labeled")
    assert (here.root / "params.yaml").read_bytes() == before
    assert here.ran() == []


def test_tables_given_as_parameters_are_kept_in_the_parameter_file(here: Project) -> None:
    for name, target in (("mine.csv", 'my "label"'), ("theirs.csv", "x")):
        (here.root / name).write_text(f'"{target.replace(chr(34), 2 * chr(34))}",b\n1,2\n')
    state = run(labeled="mine.csv", unlabeled="theirs.csv", target='my "label"', test="")
    assert state.is_completed(), state.message
    assert name_of(state) == 'my "label" unchanged, by hand'
    data = yaml.safe_load((here.root / "params.yaml").read_text())["data"]
    assert data == {"labeled": "mine.csv", "unlabeled": "theirs.csv", "target": 'my "label"'}


def test_missing_or_outdated_page_is_written_again(here: Project) -> None:
    layout = Layout()
    layout.report.unlink()
    assert run().result() == {**dict.fromkeys(ORDER, False), "report": True}
    assert here.ran() == ["report"]
    assert not is_report_stale(layout)
    an_hour_ago = time.time() - 3600
    os.utime(layout.report, (an_hour_ago, an_hour_ago))
    assert is_report_stale(layout)


def artifacts(state: State) -> dict[str, Artifact]:
    flow_run = state.state_details.flow_run_id
    made_by_it = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run]))
    with get_client(sync_client=True) as client:
        return {found.key: found for found in client.read_artifacts(artifact_filter=made_by_it)}


def test_plots_belong_to_their_stage_and_an_error_in_one_is_ignored(here: Project) -> None:
    confusion, calibration = Layout().plot("confusion"), Layout().plot("calibration")
    confusion.parent.mkdir(parents=True, exist_ok=True)
    confusion.write_text("actual,predicted\nyes,yes\nno,yes\n")
    calibration.write_text("no such column\n1\n")
    state = run(force=True)
    assert state.is_completed()
    shown, evaluated = artifacts(state), task_runs(state)["evaluate"]
    assert "calibration" not in shown
    assert shown["confusion-matrix"].task_run_id == evaluated.id
    assert str(shown["confusion-matrix"].data).startswith("data:image/png;base64,")


def test_artifacts_have_fixed_keys(here: Project) -> None:
    keys = artifacts(run())
    assert set(keys) == {"metrics", "report", "run"}
    assert "0.900 [0.800, 1.000]" in str(keys["metrics"].data)
    assert Layout().report.as_uri() in str(keys["report"].data)
    page = str(keys["run"].data).splitlines()
    assert page[0] == "# Nothing changed: all 5 stages are up to date"
    digest = hashlib.md5((here.root / "labeled.csv").read_bytes()).hexdigest()
    for line in (
        "| **Accuracy** | 90.0% [80.0, 100.0] on 360 test rows |",
        "| **Champion** | none yet |",
        "| train | cached |  |",
        f"| labeled.csv | `{digest}` | sample |",
        "seed: 42 # of everything",
    ):
        assert line in page


def test_command_prints_the_score_and_keeps_its_server_in_the_project(project: Project) -> None:
    environment = {k: v for k, v in project.environment.items() if k != "PREFECT_HOME"}
    done = flow_command(project, environment)
    assert done.returncode == 0, done.stderr
    assert re.search(r"Accuracy +90.0% \[80.0, 100.0\] +360 test rows", done.stdout)
    assert re.search(r"Gain +\+90.0 points \[.*\] +p = 0.01", done.stdout)
    assert re.search(r"sample +\d\.\d s", done.stdout)
    assert "reports/report.html" in done.stdout
    database = project.root / ".prefect" / "prefect.db"
    assert tags_in(database, "flow_run") == {f'["{Scope.of(project.root).tag}"]'}
    assert tags_in(database, "task_run") == {"[]"}
    assert not (Path(environment["HOME"]) / ".prefect").exists()


def tags_in(database: Path, table: str) -> set[str]:
    """Return the different values of the column ``tags`` of a table."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return {row[0] for row in connection.execute(f"SELECT tags FROM {table}")}


def test_command_reports_an_error_in_one_line(project: Project) -> None:
    project.edit("toy.py", 'write_text("1\\n")', 'write_text("bad\\n")')
    done = flow_command(project, project.environment)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert errors == ["error: labeled.csv: column 'a', row 1: 'bad' is not a number"]
    assert "Traceback" not in done.stderr + done.stdout


def test_command_rejects_a_parameter_before_it_starts_a_server(project: Project) -> None:
    done = flow_command(project, project.environment, "-S", "train.epoch=3")
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(r"error: .* did you mean 'epochs'\?.*\n", done.stderr)


@pytest.mark.parametrize(("end", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_command_leaves_nothing_running(
    project: Project, end: signal.Signals, status: int
) -> None:
    """SIGINT goes to the whole group, as Ctrl-C sends it; SIGTERM to the command alone."""
    command = slow_command(project)
    if end is signal.SIGINT:
        os.killpg(command.pid, end)
    else:
        command.send_signal(end)
    output, _ = command.communicate(timeout=30)
    assert command.returncode == status, output
    assert "Traceback" not in output
    assert not project.is_slow_stage_alive()
    with pytest.raises(ProcessLookupError):
        os.killpg(command.pid, 0)  # the server was in the command's group


def test_killed_command_takes_its_temporary_server_and_its_stage_with_it(project: Project) -> None:
    command = slow_command(project)
    group = [p.pid for p in psutil.process_iter() if os.getpgid(p.pid) == command.pid]
    assert len(group) >= 2
    command.kill()
    command.communicate(timeout=60)  # returns when every process has closed the output
    wait_for(lambda: not is_group_alive(command.pid), "the server is still running", 40)
    assert not project.is_slow_stage_alive()


def is_group_alive(leader: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, 0)
        return True
    return False


def slow_command(project: Project) -> subprocess.Popen[str]:
    """Start the command in a process group of its own; return when its slow stage is running."""
    command = start_slow_command(project)
    project.wait_for_slow_stage()
    return command


def start_slow_command(project: Project) -> subprocess.Popen[str]:
    """Start the command, whose first stage is slow, in a process group of its own."""
    (project.root / "slow").touch()
    return subprocess.Popen(
        [sys.executable, "-m", "flows.train"],
        cwd=project.root,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # Shells start background jobs, such as those of a CI, with SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def flow_command(
    project: Project, environment: dict[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows.train", *arguments],
        cwd=project.root,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("when", ["importing", "in a stage"])
def test_repeated_ctrl_c_prints_no_traceback(project: Project, when: str) -> None:
    """Impatient users press Ctrl-C again while the command cleans up."""
    command = start_slow_command(project)
    if when == "in a stage":
        project.wait_for_slow_stage()
    else:
        libraries = Path(f"/proc/{command.pid}/maps")
        wait_for(lambda: "pydantic_core" in libraries.read_text())
    while command.poll() is None:
        os.killpg(command.pid, signal.SIGINT)
        time.sleep(0.2)
    output, _ = command.communicate(timeout=30)
    assert output.splitlines()[-1] == "interrupted", output
    assert "Traceback" not in output
    assert command.returncode in (130, -signal.SIGINT)  # a shell reports 130 for both
    if when == "in a stage":
        assert not project.is_slow_stage_alive()
