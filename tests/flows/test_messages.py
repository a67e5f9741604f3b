"""Messages state what happened, show no content of files that are no tables, and are one line."""

from __future__ import annotations

import logging
import resource
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flows.environment import prepare
from flows.pipeline.dvc_graph import Stage, plan
from flows.pipeline.overrides import checked_params
from flows.pipeline.repair import DAMAGED
from flows.pipeline.stage import reproduce
from semigen.artifacts import Layout
from semigen.errors import UserError
from semigen.params.config import Params
from semigen.registry.versions import copy_classifier
from tasks import command_line

if TYPE_CHECKING:
    from conftest import Project

SECRET = "tops3cret"
SECRETS = {
    "password file": f"root:${SECRET}:0\nother:{SECRET}:1\n",
    "commas": f"user,{SECRET},uid\nuser,{SECRET},1\n",
    "repeated": f"{SECRET},{SECRET}\n1,2\n",
    "ragged": f"a,{SECRET}\n1,2,3\n{SECRET}\n",
    "open quote": f'"{SECRET}\n1,2\n',
    "YAML": f"{SECRET}: [\n",
    "key": f"-----BEGIN KEY-----\n{SECRET}\n",
    "latin": f"{SECRET},ä\n",
}


@pytest.mark.parametrize("kind", SECRETS)
def test_content_of_a_file_that_is_no_table_is_not_shown(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    encoding = "latin-1" if kind == "latin" else "utf-8"
    Path("shadow").write_text(SECRETS[kind], encoding=encoding)
    Path("u.csv").write_text("a\n1\n")
    content = "data: {labeled: shadow, unlabeled: u.csv, target: y}\n"
    Path("params.yaml").write_text(content)
    with pytest.raises(UserError, match=r"^shadow: ") as error:
        checked_params([], Layout(tmp_path))
    assert SECRET not in str(error.value)
    assert command_line.main(["validate"]) == 1
    Path("params.yaml").write_text("data: {labeled: u.csv, unlabeled: shadow, target: a}\n")
    assert command_line.main(["validate"]) == 1
    printed = capsys.readouterr()
    reports = "".join(path.read_text() for path in Path("reports").iterdir())
    assert SECRET not in printed.out + printed.err + reports
    with pytest.raises(UserError, match=r"^shadow: ") as error:
        Params.load("shadow")
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("path", ["/dev/zero", "pipe"])
def test_devices_and_pipes_are_not_read(path: str, tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "u.csv").write_text("a\n1\n")
    (tmp_path / "params.yaml").write_text(
        f"data: {{labeled: {path}, unlabeled: u.csv, target: y}}\n"
    )
    with pytest.raises(UserError, match="is not a regular file"):
        checked_params([], Layout(tmp_path))


def test_errors_cannot_forge_log_lines() -> None:
    error = UserError("column 'a\nerror: all lost\x1b[2J\u202e'")
    assert str(error) == r"column 'a\nerror: all lost\x1b[2J\u202e'"
    assert f"{error}" == str(error)


def test_log_records_and_lines_of_stages_are_one_line(
    settled: Project, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    prepare(tmp_path)
    caplog.set_level(logging.INFO, "prefect.flow_runs")
    logging.getLogger("prefect.flow_runs").info("%s labeled", "a.csv\n12:00:00  flow  forged")
    assert caplog.messages[-1] == r"a.csv\n12:00:00  flow  forged labeled"
    settled.edit("toy.py", 'print("fitting"', r'print("fitting \x1b[2J"')
    lines: list[str] = []
    assert settled.run("dvc", "repro", "validate").returncode == 0
    stage = Stage("train", "python toy.py train", None, True, True)
    reproduce(stage, settled.root, log=lines.append)
    assert lines == [r"fitting \x1b[2J"]


def test_names_of_columns_and_classes_cannot_forge_lines_of_a_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    name = '"city\nerror: forged\x1b[2J"'
    rows = [f"{i},{c},{y}" for i, (c, y) in enumerate([("a", "p"), ("b", "q")] * 20)]
    Path("l.csv").write_text("\n".join([f"age,{name},y", *rows]) + "\n")
    Path("u.csv").write_text("\n".join([f"age,{name}", *(r[:-2] for r in rows)]) + "\n")
    Path("params.yaml").write_text("data: {labeled: l.csv, unlabeled: u.csv, target: y}\n")
    command_line.main(["validate"])
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
    assert not [line for line in printed.out.splitlines() if line.startswith("error: forged")]


def test_merge_conflict_in_dvc_lock_is_reported_and_kept(done: Project) -> None:
    lock = done.root / "dvc.lock"
    conflict = f"<<<<<<< HEAD\n{lock.read_text()}=======\nstages: {{}}\n>>>>>>> other\n"
    lock.write_text(conflict)
    with pytest.raises(UserError, match=r"dvc\.lock: line 1 is a marker of a merge conflict"):
        plan(done.root)
    assert lock.read_text() == conflict


def test_truncated_dvc_lock_is_kept_aside(done: Project) -> None:
    lock = done.root / "dvc.lock"
    lock.write_text(text := lock.read_text()[:60] + "\n  - {")
    assert plan(done.root)
    assert (done.root / DAMAGED).read_text() == text


def test_full_disk_is_not_called_a_concurrent_run(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: writing fails after so many bytes."""
    classifier = tmp_path / "classifier"
    classifier.mkdir()
    (classifier / "classifier.json").write_bytes(bytes(100_000))
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
        with pytest.raises(UserError, match="cannot copy the classifier: File too large"):
            copy_classifier(classifier, tmp_path / "copy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
