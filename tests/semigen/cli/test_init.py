"""``semigen init``: what a new project holds, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from semigen.cli.init import create_project, template_root, update_project
from semigen.cli.main import main
from semigen.cli.project import VERSION_FILE, find_project, warn_of_other_version
from semigen.errors import UserError

ROOT = Path(__file__).parents[3]


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name != "VERSION"
    }


@pytest.fixture
def project(tmp_path: Path) -> Path:
    create_project(tmp_path / "churn")
    return tmp_path / "churn"


def test_project_has_the_code_of_the_template_and_a_first_commit(project: Path) -> None:
    assert template_root() == ROOT
    for part in ("flows", "tasks"):
        assert contents(project / part) == contents(ROOT / part)
    assert find_project(project / "flows") == project
    assert git(project, "rev-list", "--count", "HEAD") == "1"
    assert git(project, "status", "--porcelain") == ""
    assert "name: churn\n" in (project / "prefect.yaml").read_text()
    assert "benchmarks" not in (project / ".gitignore").read_text()


def test_dvc_reads_the_project(project: Path) -> None:
    command = [sys.executable, "-m", "dvc", "stage", "list", "--name-only"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    assert done.stdout.split()[:2] == ["sample", "validate"]


def test_tables_stay_out_of_git_and_their_dvc_files_do_not(project: Path) -> None:
    (project / "data/raw/labeled.csv").write_text("a,b\n1,2\n")
    assert git(project, "status", "--porcelain") == ""
    command = [sys.executable, "-m", "dvc", "add", "--quiet", "data/raw/labeled.csv"]
    subprocess.run(command, cwd=project, check=True)
    status = git(project, "status", "--porcelain", "--untracked-files=all")
    assert status == "?? data/raw/labeled.csv.dvc"


def test_nothing_is_overwritten(project: Path) -> None:
    before = contents(project)
    with pytest.raises(UserError, match=r"has dvc\.yaml, params\.yaml, flows, tasks"):
        create_project(project)
    assert contents(project) == before


def test_folder_with_other_files_is_accepted(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "notes.txt").write_text("mine")
    create_project(tmp_path, "churn")
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert git(tmp_path, "status", "--porcelain") == "?? notes.txt"


def test_folder_inside_a_project_or_repository_is_refused(project: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="lies inside the project"):
        create_project(project / "inner")
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    with pytest.raises(UserError, match="lies inside the git repository"):
        create_project(other / "inner")
    assert not (other / "inner").exists()


@pytest.mark.parametrize(
    ("folder", "name", "expected"),
    [("my churn (2)", None, "my-churn-2"), ("x", "churn_eu", "churn_eu")],
)
def test_name_of_the_project(folder: str, name: str | None, expected: str, tmp_path: Path) -> None:
    assert create_project(tmp_path / folder, name) == expected


@pytest.mark.parametrize("name", ["a b", "-x", "a/b", "a: b", ""])
def test_invalid_name_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / ("x" if name else "...")
    assert main(["init", str(folder), f"--name={name}"]) == 1
    assert "cannot be the name of a project" in capsys.readouterr().err
    assert not folder.exists()


def test_update_replaces_code_and_keeps_parameters(project: Path) -> None:
    (project / "params.yaml").write_text("seed: 7\n")
    (project / "flows/train.py").write_text("old\n")
    git(project, "-c", "user.name=a", "-c", "user.email=b", "commit", "-qam", "Old code")
    update_project(project)
    for part in ("flows", "tasks"):
        assert contents(project / part) == contents(ROOT / part)
    assert (project / "params.yaml").read_text() == "seed: 7\n"
    assert "name: churn\n" in (project / "prefect.yaml").read_text()


def test_code_of_another_version_is_noted(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warn_of_other_version(project)
    assert capsys.readouterr().err == ""
    (project / VERSION_FILE).write_text("0.0.1\n")
    warn_of_other_version(project)
    assert f"semigen init --update {project}" in capsys.readouterr().err


def test_update_refuses_uncommitted_changes(project: Path, tmp_path: Path) -> None:
    (project / "flows/train.py").write_text("mine\n")
    with pytest.raises(UserError, match=r"uncommitted changes in flows/train\.py"):
        update_project(project)
    assert (project / "flows/train.py").read_text() == "mine\n"
    with pytest.raises(UserError, match="no semigen project"):
        update_project(tmp_path)
