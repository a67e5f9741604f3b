from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flows.pipeline import dvc_remote, history
from flows.pipeline.dvc_graph import plan, settle_scm
from flows.pipeline.history import difference, is_recorded, record, tag
from semigen.artifacts import Layout, write_json
from semigen.errors import UserError
from semigen.registry.registry import Registry
from tests.flows.common import wait_for

if TYPE_CHECKING:
    from conftest import Project


def git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(root: Path, message: str, *options: str) -> None:
    identity = ("-c", "user.name=u", "-c", "user.email=u@localhost")
    git(root, *identity, "commit", "--quiet", *options, "--message", message)


@pytest.fixture
def committed(done: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The toy project after a run, with everything committed."""
    monkeypatch.setenv("HOME", done.environment["HOME"])  # git has no user there
    (done.root / ".gitignore").write_text(
        "/labeled.csv\n/schema.json\n/model\n/ran\n/reports/model_card.md\n"
    )
    git(done.root, "init", "--quiet", "--initial-branch=main")
    settle_scm(done.root)
    git(done.root, "add", "--all")
    commit(done.root, "First")
    return done


def run_again(project: Project) -> None:
    project.edit("toy.py", '"columns": 1', '"columns": 2')
    assert project.run("dvc", "repro", "--force", "report").returncode == 0


KILLED_PUSH = """
import os, sys
import dvc_data.index.collect as module
from dvc.cli import main
collect_one = module._collect_from_index
def collect_one_and_exit(lists, *arguments, **options):
    collect_one(lists, *arguments, **options)
    lists.commit()
    os._exit(9)
module._collect_from_index = collect_one_and_exit
main(["push", *sys.argv[1:]])
"""


def test_push_is_complete_after_one_that_was_killed(committed: Project, tmp_path: Path) -> None:
    """DVC has stored a list of the first outputs only, and would use it again."""
    root, remote = committed.root, tmp_path / "remote"
    committed.run("dvc", "remote", "add", "--default", "here", str(remote))
    paths = [path for stage in plan(root) for path in stage.cached]
    command = [sys.executable, "-c", KILLED_PUSH, *paths]
    assert subprocess.run(command, cwd=root, env=committed.environment).returncode == 9
    dvc_remote.push(root, paths)
    stored = {path.read_bytes() for path in remote.rglob("*") if path.is_file()}
    assert stored == {(root / path).read_bytes() for path in paths}
    assert len(stored) == 3


@pytest.mark.parametrize("lock", ["index.lock", "HEAD.lock", "refs/heads/main.lock"])
def test_lock_that_a_killed_git_left_is_removed(
    committed: Project, lock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "BUSY_SECONDS", 1.5)
    root, logged, stages = committed.root, [], plan(committed.root)
    (root / ".git" / lock).touch()
    (root / "params.yaml").write_text("seed: 1\n")
    assert record(Layout(root), stages, "After a kill", logged.append)
    assert f"removed {Path(lock).name}, which a killed git left" in logged
    assert git(root, "show", "--format=", "--name-only") == "params.yaml"


def test_lock_of_a_running_git_is_kept(committed: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "BUSY_SECONDS", 1.5)
    root, stages = committed.root, plan(committed.root)
    (root / "params.yaml").write_text("seed: 1\n")
    environment = {**os.environ, "GIT_EDITOR": "touch editing; sleep 60; :"}
    command = ["git", "-c", "user.name=u", "-c", "user.email=u@localhost", "commit", "--all"]
    with subprocess.Popen(command, cwd=root, env=environment, start_new_session=True) as user:
        try:
            wait_for(lambda: (root / "editing").exists())
            with pytest.raises(UserError, match=r"git is busy.*gave up"):
                record(Layout(root), stages, "Beside the user", lambda _: None)
            assert (root / ".git" / "index.lock").exists()
        finally:
            os.killpg(user.pid, signal.SIGKILL)


def test_commits_a_run_once_after_the_push(committed: Project, tmp_path: Path) -> None:
    root, logged = committed.root, []
    remote = tmp_path / "remote"
    committed.run("dvc", "remote", "add", "--default", "here", str(remote))
    stages = plan(root)
    assert record(Layout(root), stages, "Nothing", logged.append) is None
    assert not remote.exists()

    run_again(committed)
    (root / "notes").write_text("mine, staged\n")
    git(root, "add", "notes", ".dvc/config")
    (root / "dvc.yaml").write_text((root / "dvc.yaml").read_text() + "# mine, not staged\n")
    stages = plan(root)
    assert not is_recorded(root, stages)
    made = record(Layout(root), stages, "Accuracy 90 %\n\nRun: x", logged.append)
    assert made == git(root, "rev-parse", "main")
    assert git(root, "log", "-1", "--format=%an|%s|%b") == "semigen|Accuracy 90 %|Run: x"
    assert git(root, "show", "--format=", "--name-only", "HEAD") == "dvc.lock"
    status = git(root, "status", "--porcelain", "notes", "dvc.yaml").splitlines()
    assert {line.strip() for line in status} == {"A  notes", "M dvc.yaml"}
    assert difference(root, stages) == ""
    for path in ("schema.json", "model"):
        (root / path).unlink()
    committed.run("dvc", "gc", "--workspace", "--force")
    assert committed.run("dvc", "pull", "--force", "report", "--with-deps").returncode == 0
    assert (root / "model").read_text() == '{"columns": 2}'


def test_commits_without_a_remote_and_logs_a_message(committed: Project) -> None:
    run_again(committed)
    logged: list[str] = []
    assert record(Layout(committed.root), plan(committed.root), "Again", logged.append)
    assert "no default DVC remote" in logged[0]


def test_does_not_commit_if_the_remote_is_unreachable(committed: Project, tmp_path: Path) -> None:
    root = committed.root
    (tmp_path / "file").write_text("no folder\n")
    committed.run("dvc", "remote", "add", "--default", "here", str(tmp_path / "file" / "in"))
    run_again(committed)
    before = git(root, "rev-parse", "HEAD")
    with pytest.raises(UserError, match="dvc push"):
        record(Layout(root), plan(root), "Lost", print, timeout=0)
    assert git(root, "rev-parse", "HEAD") == before
    assert not is_recorded(root, plan(root))


def test_rejects_detached_head(committed: Project) -> None:
    run_again(committed)
    git(committed.root, "checkout", "--quiet", "--detach")
    with pytest.raises(UserError, match="on no branch"):
        record(Layout(committed.root), plan(committed.root), "Lost", print)


def test_waits_for_another_git_command(committed: Project) -> None:
    run_again(committed)
    lock, logged = committed.root / ".git" / "index.lock", []

    def log(line: str) -> None:
        logged.append(line)
        if "git is busy" in line:
            lock.unlink()

    lock.touch()
    assert record(Layout(committed.root), plan(committed.root), "Patient", log)
    assert any("git is busy" in line for line in logged)


def test_tags_follow_the_champion_and_its_rollback(committed: Project) -> None:
    root, layout = committed.root, Layout(committed.root)
    registry = Registry(layout.registry)
    for number in (1, 2):
        write_json(layout.classifier / "classifier.json", {"number": number})
        with registry.staged(layout.classifier) as staged:
            registry.add(staged, {}, promoted=True, trigger="test", reason="better")
        commit(root, "A run", "--allow-empty")
        tag(layout, print)
    assert git(root, "rev-parse", "classifier@v2.0.0^{commit}") == git(root, "rev-parse", "HEAD")
    assert git(root, "rev-parse", "classifier@v1.0.0^{commit}") == git(root, "rev-parse", "HEAD~1")
    registry.rollback()
    tag(layout, print)
    names = git(root, "tag", "--list", "classifier#champion*", "--sort=creatordate").splitlines()
    assert len(names) == 4 + 1, names


def test_does_not_tag_a_champion_of_an_unknown_commit(committed: Project) -> None:
    layout = Layout(committed.root)
    registry = Registry(layout.registry)
    write_json(layout.classifier / "classifier.json", {"number": 1})
    with registry.staged(layout.classifier) as staged:
        registry.add(staged, {}, promoted=True, trigger="test", reason="first")
    write_json(layout.classifier / "classifier.json", {"number": 2})
    tag(layout, print)
    assert git(committed.root, "tag") == ""
