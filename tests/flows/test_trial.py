"""A run that is refused, or killed before it is accepted, leaves the project as it was."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flows.pipeline.dvc_graph import Stage
from flows.pipeline.overrides import checked_params
from flows.pipeline.trial import REFUSED_REPORT, Trial
from flows.train import main
from semigen.artifacts import Layout
from semigen.errors import UserError
from tasks import command_line
from tasks.unaccepted import reject_unaccepted
from tests.flows.common import wait_for

if TYPE_CHECKING:
    from conftest import Project

PARAMS = "data: {labeled: l.csv, unlabeled: u.csv, target: Churn}\nseed: 1\n"
VALIDATE = Stage(
    "validate",
    "python -m tasks validate",
    None,
    True,
    True,
    ("schema.json", "reports/validation.md"),
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A project with tables of its own, after a run."""
    (tmp_path / "l.csv").write_text("tenure,Churn\n1,no\n2,yes\n")
    (tmp_path / "u.csv").write_text("tenure\n1\n2\n")
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "dvc.lock").write_text("old lock\n")
    (tmp_path / "schema.json").write_text("old schema\n")
    return Layout(tmp_path)


def content(root: Path) -> dict[str, str]:
    """Return a hash of every file but the state in hidden folders and the refused report."""
    files = (path for path in root.rglob("*") if path.is_file())
    names = {path.relative_to(root).as_posix(): path for path in files}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in names.items()
        if not name.startswith(".") and name not in (REFUSED_REPORT, "ran", "toy.py", "started")
    }


def change_everything(layout: Layout, trial: Trial) -> None:
    """Do what a run does until its first stages have ended."""
    trial.set_parameters(["seed=2"])
    trial.protect([VALIDATE])
    (layout.root / "schema.json").unlink()
    (layout.root / "dvc.lock").write_text("new lock\n")
    (layout.root / "reports").mkdir(exist_ok=True)
    (layout.root / "reports" / "validation.md").write_text("new report\n")
    (layout.root / "reports" / "timings.json").write_text("{}")


@pytest.mark.parametrize(
    ("target", "table", "hint"),
    [("churn", "l.csv", "did you mean 'Churn'?"), ("label", "l.csv", "columns: tenure, Churn")],
)
def test_misspelled_target_is_refused_before_anything_is_written(
    layout: Layout, target: str, table: str, hint: str
) -> None:
    before = content(layout.root)
    with pytest.raises(UserError, match=rf"^{table}: no column '{target}'") as error:
        checked_params([f"data.target={target}"], layout)
    assert hint in str(error.value)
    assert content(layout.root) == before


def test_target_is_checked_in_embedded_and_parquet_tables(layout: Layout) -> None:
    import pandas as pd

    sample = ["data.labeled=data/samples/labeled.csv", "data.unlabeled=data/samples/unlabeled.csv"]
    with pytest.raises(UserError, match="did you mean 'label'"):
        checked_params([*sample, "data.target=lable"], layout)
    assert checked_params([*sample, "data.target=label"], layout).data.target == "label"
    pd.read_csv(layout.root / "l.csv").to_parquet(layout.root / "l.parquet")
    with pytest.raises(UserError, match=r"l\.parquet: no column 'tenur'.*'tenure'"):
        checked_params(["data.labeled=l.parquet", "data.target=tenur"], layout)
    assert checked_params(["data.labeled=l.parquet"], layout).data.labeled == "l.parquet"


def test_refusal_restores_every_file_and_keeps_the_report_of_the_refused_tables(
    layout: Layout,
) -> None:
    before = content(layout.root)
    with Trial(layout, print) as trial:
        change_everything(layout, trial)
        message = trial.refuse("l.csv: column 'tenure' is empty; report: reports/validation.md")
    assert message.endswith(f"report: {REFUSED_REPORT}")
    assert (layout.root / REFUSED_REPORT).read_text() == "new report\n"
    assert content(layout.root) == before
    assert not (layout.root / ".semigen" / "trial").exists()


def test_exception_restores_every_file(layout: Layout) -> None:
    before = content(layout.root)
    with pytest.raises(KeyboardInterrupt), Trial(layout, print) as trial:
        change_everything(layout, trial)
        raise KeyboardInterrupt
    assert content(layout.root) == before


def test_accepted_changes_are_kept(layout: Layout) -> None:
    with Trial(layout, print) as trial:
        change_everything(layout, trial)
        trial.accept()
        kept = content(layout.root)
    assert content(layout.root) == kept
    assert "seed: 2" in layout.params.read_text()
    with Trial(layout, print):
        pass
    assert content(layout.root) == kept


def test_parameters_that_the_user_edited_are_kept(layout: Layout) -> None:
    """After a kill the user may have edited the file before the next run."""
    with pytest.raises(KeyboardInterrupt), Trial(layout, print) as trial:
        change_everything(layout, trial)
        layout.params.write_text(PARAMS.replace("seed: 1", "seed: 9"))
        raise KeyboardInterrupt
    assert "seed: 9" in layout.params.read_text()
    assert (layout.root / "schema.json").read_text() == "old schema\n"


def killed_at(step: int, act: Callable[[], None]) -> int:
    """Run a function in a process that is killed before its ``step``-th change of a file."""
    child = os.fork()
    if child == 0:
        n_done = 0

        def count_or_exit(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal n_done
            is_write = event == "open" and "w" in str(arguments[1])
            if is_write or event in ("os.rename", "os.remove", "os.mkdir", "shutil.rmtree"):
                n_done += 1
                if n_done == step:
                    os._exit(9)

        sys.addaudithook(count_or_exit)
        act()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_trial(layout: Layout) -> None:
    """Change everything, as a run does that is killed before its first stages have ended."""
    child = os.fork()
    if child == 0:
        try:
            change_everything(layout, Trial(layout, lambda _: None).__enter__())
        finally:
            os._exit(9)
    os.waitpid(child, 0)


def test_stage_refuses_the_files_of_a_killed_run(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Plain ``dvc repro`` runs it. The same stage runs while the run that wrote them goes on."""
    monkeypatch.chdir(layout.root)
    monkeypatch.setenv("DVC_STAGE", "sample")
    with Trial(layout, print) as trial:
        trial.set_parameters(["seed=2"])
        reject_unaccepted(layout)
    before = content(layout.root)
    killed_trial(layout)
    assert command_line.main(["sample"]) == 1
    assert "`semigen repro` or `semigen run` restores them" in capsys.readouterr().err
    assert not (layout.root / "data").exists()
    with Trial(layout, print):
        pass
    assert content(layout.root) == before
    reject_unaccepted(layout)


def test_semigen_repro_restores_the_files_of_a_killed_run_first(done: Project) -> None:
    before = content(done.root)
    killed_trial(Layout(done.root))
    assert "seed: 2" in (done.root / "params.yaml").read_text()
    repeated = done.run("flows.repro", "report")
    assert repeated.returncode == 0, repeated.stdout + repeated.stderr
    assert "params.yaml  restored" in repeated.stdout
    assert "up to date" in repeated.stdout + repeated.stderr
    assert content(done.root) == before


def test_semigen_repro_repairs_a_truncated_lock_file(done: Project) -> None:
    lock = done.root / "dvc.lock"
    text = lock.read_text()
    lock.write_text(text[: text.rindex("md5:") + 2])  # cannot be parsed
    repeated = done.run("flows.repro", "report")
    assert repeated.returncode == 0, repeated.stdout + repeated.stderr
    assert "dvc.lock: truncated" in repeated.stdout
    assert lock.read_text() == text


@pytest.mark.parametrize("accepts", [True, False])
def test_project_is_whole_after_a_kill_at_any_step(tmp_path: Path, accepts: bool) -> None:
    """The next run finds the parameters and outputs of before, or all of the accepted ones."""

    def project(name: str) -> Layout:
        root = tmp_path / name
        root.mkdir()
        (root / "l.csv").write_text("tenure,Churn\n1,no\n2,yes\n")
        (root / "u.csv").write_text("tenure\n1\n2\n")
        (root / "params.yaml").write_text(PARAMS)
        (root / "dvc.lock").write_text("old lock\n")
        (root / "schema.json").write_text("old schema\n")
        return Layout(root)

    def act(layout: Layout) -> None:
        with Trial(layout, lambda _: None) as trial:
            change_everything(layout, trial)
            if accepts:
                trial.accept()

    before = content(project("before").root)
    accepted = project("accepted")
    act(accepted)
    after = content(accepted.root)
    status, step, seen = 9, 0, []
    while status == 9:
        step += 1
        layout = project(f"killed {step}")
        status = killed_at(step, lambda layout=layout: act(layout))
        with Trial(layout, lambda _: None):
            pass
        seen.append(content(layout.root))
        assert seen[-1] in (before, after), f"after a kill at step {step}"
    assert status == 0 and step > 8
    assert seen[-1] == (after if accepts else before)


def flow(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    return project.run("flows.train", *arguments)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_refused_command_leaves_the_project_and_prints_the_message_once(done: Project) -> None:
    done.edit("toy.py", 'write_text("1\\n")', 'write_text("bad\\n")')
    before = content(done.root)
    refused = flow(done, "-S", "seed=7", "-S", "validate.min_rows_per_class=3")
    assert done.ran() == ["sample", "validate"]
    assert refused.returncode == 1
    message = "labeled.csv: column 'a', row 1: 'bad' is not a number"
    assert (refused.stdout + refused.stderr).count(message) == 1
    assert refused.stderr.splitlines()[-1] == f"error: {message}"
    assert content(done.root) == before

    done.edit("params.yaml", "seed: 42", "seed: 8")  # by hand
    edited = content(done.root)
    assert flow(done).returncode == 1
    assert done.ran() == ["sample", "validate"]
    assert content(done.root) == edited


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_next_run_after_a_kill_has_the_parameters_of_before(done: Project) -> None:
    done.edit("toy.py", 'if "bad" in content:', 'if "bad" in content or time.sleep(60):')
    before = content(done.root)
    overrides = ["-S", "seed=7", "-S", "validate.min_rows_per_class=3"]
    command = subprocess.Popen(
        [sys.executable, "-m", "flows.train", *overrides],
        cwd=done.root,
        env=done.environment,
        start_new_session=True,
    )
    log = done.root / "ran"
    wait_for(lambda: log.exists() and "validate" in log.read_text(), seconds=90)
    os.killpg(command.pid, signal.SIGKILL)
    command.wait()
    assert "seed: 7" in (done.root / "params.yaml").read_text()
    done.ran()
    done.edit("toy.py", "or time.sleep(60)", "")
    assert flow(done).returncode == 0
    assert content(done.root) == before
    assert done.ran() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("l.csv", "u.csv", "--target", "churn"), "no column 'churn' (data.target); did you mean"),
        (("labels.csv", "u.csv"), "labels.csv: no such file; check data.labeled"),
        (("l.csv", "ul.csv"), "ul.csv: no such file; check data.unlabeled; did you"),
        (("l.csv", "u.csv", "--test", "params.yaml"), "no column 'Churn' (data.target)"),
    ],
)
def test_wrong_table_on_the_command_line_changes_nothing(
    layout: Layout, monkeypatch, capsys, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(layout.root)
    before = content(layout.root)
    assert main(list(arguments)) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert words in error
    assert content(layout.root) == before
