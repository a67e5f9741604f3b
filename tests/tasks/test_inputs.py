"""Inputs that DVC restored from a damaged cache are refused before a stage learns from them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from semigen.artifacts import Layout
from semigen.errors import UserError
from tasks import inputs
from tasks.command_line import main
from tasks.inputs import Recorded, check_inputs, find_records, input_files
from tasks.process_lifetime import OWNER

DVC_YAML = """
stages:
  make:
    cmd: python make.py
    outs: [data/rows.csv, models/encoder]
  sample:
    cmd: python -m tasks sample
    deps: ["${data.labeled}", data/rows.csv, models/encoder, data/notes.csv]
"""
MAKE = """
from pathlib import Path
for name in ("data/rows.csv", "models/encoder/a", "models/encoder/b"):
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(f"undamaged content of {name}")
"""
TABLE, ROWS, MEMBER = "data/raw/table.csv", "data/rows.csv", "models/encoder/b"


@dataclass(frozen=True)
class Project:
    root: Path

    @property
    def layout(self) -> Layout:
        return Layout(self.root)

    def dvc(self, *arguments: str) -> None:
        environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        command = [sys.executable, "-m", "dvc", *arguments]
        subprocess.run(command, cwd=self.root, env=environment, check=True, capture_output=True)

    def cached(self, name: str) -> Path:
        """Return the file of DVC's cache with the content of a file."""
        md5 = inputs.md5_of(self.root / name)
        return self.root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]

    def flip_byte(self, name: str) -> Path:
        """Damage a file in DVC's cache and its copy in the project; return the file."""
        item = self.cached(name)
        content = bytearray(item.read_bytes())
        content[5] ^= 1
        item.chmod(0o644)
        item.write_bytes(content)
        item.chmod(0o444)
        (self.root / name).write_bytes(content)
        return item


def records(project: Project) -> list[Recorded]:
    return find_records(input_files("sample", project.layout), project.layout)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("inputs")
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n    no_scm = true\n")
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / "params.yaml").write_text(
        f"data: {{labeled: {TABLE}, unlabeled: {TABLE}, target: label}}\n"
    )
    (root / "make.py").write_text(MAKE)
    (root / TABLE).parent.mkdir(parents=True)
    (root / TABLE).write_text("table of the user")
    (root / "data" / "notes.csv").write_text("not tracked")
    project = Project(root)
    project.dvc("add", TABLE)
    project.dvc("repro", "make")
    return project


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    shutil.copytree(finished.root, tmp_path / "project")
    return Project(tmp_path / "project")


def test_records_are_those_of_stages_and_tracked_tables(finished: Project) -> None:
    origins = [(recorded.path, recorded.origin) for recorded in records(finished)]
    expected = [(TABLE, f"{TABLE}.dvc"), (ROWS, "make"), ("models/encoder", "make")]
    assert origins == expected
    check_inputs("sample", finished.layout)


def test_damaged_cache_is_named_and_removed_so_that_the_rerun_completes(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {name: (project.root / name).read_bytes() for name in (ROWS, MEMBER)}
    items = {name: project.flip_byte(name) for name in before}
    for name in before:
        (project.root / name).unlink()
    project.dvc("checkout")  # DVC restores the damaged content
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("DVC_STAGE", "sample")
    for name, item in items.items():
        assert (project.root / name).read_bytes() != before[name]
        assert main(["sample"]) == 1
        *_, line = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: {name}: damaged, like its copy in DVC's cache (")
        assert str(item.relative_to(project.root)) in line
        assert not item.exists()
        assert not (project.root / name).exists()
        (project.root / name).write_bytes(before[name])
    shutil.rmtree(project.root / "models")
    project.dvc("repro", "make")
    assert {name: (project.root / name).read_bytes() for name in before} == before
    check_inputs("sample", project.layout)


def test_damaged_table_of_the_user_is_named_and_kept(project: Project) -> None:
    item = project.flip_byte(TABLE)
    with pytest.raises(UserError, match=rf"^{TABLE}: damaged, .*; delete both, then run `dvc pull"):
        check_inputs("sample", project.layout)
    assert item.exists()
    assert (project.root / TABLE).exists()


def test_input_changed_in_place_is_refused(project: Project) -> None:
    """As by a failing disk: the size stays the same."""
    for name, hint in ((MEMBER, "`dvc commit make`"), (TABLE, f"`dvc add {TABLE}`")):
        path = project.root / name
        path.write_bytes(path.read_bytes()[::-1])
        with pytest.raises(UserError, match=rf"^{name}: .*{hint}"):
            check_inputs("sample", project.layout)
        path.write_bytes(path.read_bytes()[::-1])
    check_inputs("sample", project.layout)


def test_file_that_dvc_ignores_is_no_damage(project: Project) -> None:
    (project.root / ".dvcignore").write_text("*.swp\n")
    (project.root / "models" / "encoder" / ".a.swp").write_text("of an editor")
    check_inputs("sample", project.layout)


def test_unchanged_file_is_read_once_in_a_run(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(path: Path) -> str:
        read.append(path.name)
        return md5_of(path)

    md5_of = inputs.md5_of
    monkeypatch.setattr(inputs, "md5_of", counted)
    monkeypatch.setenv(OWNER, "1:1.0")
    everything = ["a", "b", "rows.csv", "table.csv"]
    check_inputs("sample", project.layout)
    assert sorted(read) == everything
    check_inputs("sample", project.layout)
    assert sorted(read) == everything
    path, times = project.root / ROWS, (project.root / ROWS).stat()
    path.write_bytes(path.read_bytes()[::-1])  # same size
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(UserError, match=rf"^{ROWS}: "):
        check_inputs("sample", project.layout)
    path.write_bytes(path.read_bytes()[::-1])
    read.clear()
    monkeypatch.setenv(OWNER, "1:2.0")  # the next run
    check_inputs("sample", project.layout)
    assert sorted(read) == everything


def test_truncated_lock_file_records_nothing(project: Project) -> None:
    """DVC itself refuses such a file, and the next flow repairs it."""
    text = (project.root / "dvc.lock").read_text()
    for length in range(len(text)):
        (project.root / "dvc.lock").write_text(text[:length])
        assert {r.path for r in records(project)} <= {TABLE, ROWS, "models/encoder"}


def test_list_of_a_folder_that_is_damaged_too_is_removed(project: Project) -> None:
    md5 = next(r.md5 for r in records(project) if r.path == "models/encoder")
    listing = project.root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
    listing.chmod(0o644)
    listing.write_text(json.dumps([]))
    (project.root / MEMBER).write_text("damaged")
    with pytest.raises(UserError, match=r"^models/encoder: not as stage 'make' wrote it"):
        check_inputs("sample", project.layout)
    assert not listing.exists()
