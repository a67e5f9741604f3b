"""Paths and parameters of an attacker: nothing runs, hangs or is written outside the project."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from flows.display.run_page import _fenced
from flows.environment import require_disk_space
from flows.pipeline.overrides import checked_params
from semigen.artifacts import Layout
from semigen.errors import UserError
from tests.small_disk import small_disk

if TYPE_CHECKING:
    from conftest import Project

NAMES = (
    "a;touch pwned",
    "$(touch pwned)",
    "`touch pwned`",
    "|touch pwned",
    "a&touch pwned&",
    "a\ntouch pwned",
    "-rf",
    "--help",
    "'\"",
    "${seed}",
    "{seed}",
    "%s%n",
    "*",
    "~",
    "#",
    "\u202e",
)
"""Names of files that a shell or a template language would act on."""


@pytest.mark.parametrize("path", ["/dev/zero", "pipe", "link"])
def test_repro_does_not_read_pipes_and_devices(path: str, project: Project) -> None:
    """DVC would compute their hash without end."""
    os.mkfifo(project.root / "pipe")
    (project.root / "link").symlink_to("/dev/zero")
    params = project.root / "params.yaml"
    tables = {"labeled": path, "unlabeled": path, "target": "y"}
    params.write_text(params.read_text() + yaml.safe_dump({"data": tables}))
    command = [sys.executable, "-m", "flows.repro", "report"]
    done = subprocess.run(
        command,
        cwd=project.root,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert (
        done.stderr == f"error: {path}: is not a regular file; check data.labeled in params.yaml\n"
    )
    assert project.ran() == []


def test_names_of_files_reach_dvc_as_text(settled: Project) -> None:
    """The template of the stage is that of the project's dvc.yaml."""
    folder = settled.root / "data"
    folder.mkdir()
    paths = {f"name{i}": f"data/{name}.csv" for i, name in enumerate(NAMES)}
    for path in paths.values():
        (settled.root / path).write_text("a\n1\n")
    params = settled.root / "params.yaml"
    params.write_text(params.read_text() + yaml.safe_dump({"data": paths}))
    stage = {
        "cmd": "python toy.py sample",
        "deps": [f"${{data.{key}}}" for key in paths],
        "outs": ["labeled.csv"],
    }
    (settled.root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"sample": stage}}))
    before = {*settled.root.rglob("*")}
    done = settled.run("dvc", "repro", "sample")
    assert done.returncode == 0, done.stderr
    locked = yaml.safe_load((settled.root / "dvc.lock").read_text())["stages"]["sample"]["deps"]
    assert {dep["path"] for dep in locked} == set(paths.values())
    new = {path.name for path in {*settled.root.rglob("*")} - before if ".dvc" not in path.parts}
    assert new <= {"dvc.lock", "labeled.csv", "ran", ".gitignore"}
    assert not any("pwned" in path.name for path in settled.root.parent.glob("*"))


@pytest.mark.parametrize("name", NAMES)
def test_overrides_are_text(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("u.csv").write_text("a\n1\n")
    Path("params.yaml").write_text("data: {labeled: u.csv, unlabeled: u.csv, target: a}\n")
    with pytest.raises(UserError) as error:
        checked_params([f"data.target={name}"], Layout(tmp_path))
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["params.yaml", "u.csv"]


def test_run_does_not_start_on_a_full_disk(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    few = r"only [23] MB are free"
    with small_disk(folder, "3m"), pytest.raises(UserError, match=few) as error:
        require_disk_space(folder)
    assert "\n" not in str(error.value)
    require_disk_space(tmp_path)


def test_parameters_cannot_leave_their_block_on_the_page_of_a_run() -> None:
    from markdown_it import MarkdownIt

    page = _fenced("a: 1\n```\n<b>\n````\n# heading", "yaml")
    tokens = MarkdownIt("commonmark", {"html": True}).parse(page)
    assert [token.type for token in tokens] == ["fence"]
