"""Snapshots of a project for another host, with real git and real DVC."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.remote.exchange import request_ref, snapshot
from semigen.errors import UserError
from tests.flows.hosts import KEY, Hosts, git


def users_state(root: Path) -> list[str]:
    """Return the state of branches, index, stash and working tree."""
    commands = (
        *("ls-files --stage", "diff", "diff --cached", "status --porcelain"),
        *("rev-parse HEAD", "branch --all", "stash list", "reflog"),
    )
    return [git(root, *command.split()) for command in commands]


def test_snapshot_does_not_change_branch_index_stash_and_working_tree(hosts: Hosts) -> None:
    hosts.project.edit("params.yaml", "seed: 42", "seed: 43")
    git(hosts.root, "stash")
    hosts.project.edit("params.yaml", "epochs: 50", "epochs: 60")
    git(hosts.root, "add", "params.yaml")
    hosts.project.edit("params.yaml", "epochs: 60", "epochs: 70")
    (hosts.root / "new.py").write_text("x = 1\n")
    index = hosts.root / ".git" / "index"
    before, bytes_before = users_state(hosts.root), index.read_bytes()
    commit = snapshot(hosts.root, "train", KEY)
    assert index.read_bytes() == bytes_before
    assert users_state(hosts.root) == before
    assert hosts.refs() == [request_ref(KEY)]
    assert git(hosts.hub, "rev-parse", f"{request_ref(KEY)}^") == git(
        hosts.root, "rev-parse", "HEAD"
    )
    assert snapshot(hosts.root, "train", KEY) == commit


def test_snapshot_contains_uncommitted_changes_and_no_other_files(hosts: Hosts) -> None:
    hosts.project.edit("params.yaml", "epochs: 50", "epochs: 70")
    hosts.project.edit("toy.py", '"fitting"', '"fitting again"')
    for name in ("added.py", "settings_local.py", "secret.txt", "why-we.ignore", "new.csv.dvc"):
        (hosts.root / name).write_text("outs: []\n")
    git(hosts.root, "add", "added.py")
    (hosts.root / "reports" / "metrics.json").unlink()
    logged: list[str] = []
    snapshot(hosts.root, "train", KEY, log=logged.append)
    assert "epochs: 70" in hosts.requested("params.yaml")
    assert "fitting again" in hosts.requested("toy.py")
    listed = git(hosts.hub, "ls-tree", "-r", "--name-only", request_ref(KEY)).split()
    assert {"added.py", "new.csv.dvc"} <= set(listed)
    assert {"reports/metrics.json", "schema.json", "ran"}.isdisjoint(listed)
    assert {"settings_local.py", "secret.txt", "why-we.ignore"}.isdisjoint(listed)
    assert [line for line in logged if "settings_local.py" in line] == logged[:1]


def test_snapshot_uploads_only_inputs_of_the_stage(hosts: Hosts) -> None:
    snapshot(hosts.root, "train", KEY)
    files = [path for path in hosts.store.rglob("*") if path.is_file()]
    assert [path.read_text() for path in files] == ['{"columns": 1}']


def test_snapshot_contains_outputs_that_dvc_does_not_cache(hosts: Hosts) -> None:
    git(hosts.root, "rm", "--quiet", "--cached", "reports/metrics.json")
    snapshot(hosts.root, "report", KEY)
    assert "accuracy" in hosts.requested("reports/metrics.json")


def test_snapshot_before_the_first_commit(hosts: Hosts) -> None:
    git(hosts.root, "checkout", "--quiet", "--orphan", "fresh")
    git(hosts.root, "rm", "--quiet", "--cached", "-r", ".")
    snapshot(hosts.root, "train", KEY)
    assert "hidden_dims" in hosts.requested("params.yaml")


def without_git(hosts: Hosts) -> None:
    shutil.rmtree(hosts.root / ".git")


def without_git_remote(hosts: Hosts) -> None:
    git(hosts.root, "remote", "remove", "origin")


def without_store(hosts: Hosts) -> None:
    (hosts.root / ".dvc" / "config").write_text("[core]\n    analytics = false\n")


def with_private_store(hosts: Hosts) -> None:
    (hosts.root / ".dvc" / "config").rename(hosts.root / ".dvc" / "config.local")


def with_relative_store(hosts: Hosts) -> None:
    hosts.project.edit(".dvc/config", str(hosts.store), "../../store")


def with_changed_input(hosts: Hosts) -> None:
    (hosts.root / "schema.json").write_text("{}")


def without_cache(hosts: Hosts) -> None:
    shutil.rmtree(hosts.root / ".dvc" / "cache" / "files")


def with_own_table(hosts: Hosts) -> None:
    hosts.project.edit("dvc.yaml", "deps: [schema.json]", "deps: [table.csv]")
    (hosts.root / "table.csv").write_text("1\n")


def with_table_elsewhere(hosts: Hosts) -> None:
    table = hosts.hub.with_name("table.csv")
    table.write_text("1\n")
    hosts.project.edit("dvc.yaml", "deps: [schema.json]", f"deps: [{table}]")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_git, "not a git repository, .* `git init`"),
        (without_git_remote, "no git remote; .* git remote add origin URL"),
        (without_store, "no default DVC remote, .* dvc remote add --default"),
        (with_private_store, r"'hub' is set in .dvc/config.local, which other hosts do not get"),
        (with_relative_store, "'hub': a relative path, .* all hosts need the same path"),
        (
            with_changed_input,
            "schema.json: changed since .*; run `dvc repro validate`",
        ),
        (without_cache, "schema.json: not in DVC's cache; run `dvc commit validate`"),
        (with_own_table, "table.csv: tracked by neither DVC nor git, .* `dvc add table.csv`"),
        (with_table_elsewhere, "table.csv: outside the project, so other hosts do not have it"),
    ],
)
def test_rejects_inputs_that_other_hosts_cannot_get(
    change: Callable[[Hosts], None], message: str, hosts: Hosts
) -> None:
    change(hosts)
    with pytest.raises(UserError, match=message):
        snapshot(hosts.root, "train", KEY, timeout=0)
    assert hosts.refs() == []


def test_retries_if_the_hub_does_not_answer(hosts: Hosts) -> None:
    logged: list[str] = []
    git(hosts.root, "remote", "set-url", "origin", "git://127.0.0.1:9/hub.git")
    with pytest.raises(UserError, match=r"git push: .*unable to connect.*; gave up after 1 s$"):
        snapshot(hosts.root, "train", KEY, log=logged.append, timeout=1.2)
    assert len(logged) == 1
    assert logged[0].endswith("; retrying in 1 s")


def test_does_not_retry_if_the_hub_does_not_exist(hosts: Hosts) -> None:
    shutil.rmtree(hosts.hub)
    with pytest.raises(UserError, match="does not appear to be a git repository"):
        snapshot(hosts.root, "train", KEY)


@pytest.mark.parametrize("key", ["", "../x", "a b", "a/b", "-x"])
def test_rejects_key_that_cannot_be_part_of_a_ref(key: str) -> None:
    with pytest.raises(ValueError, match="a key consists of"):
        request_ref(key)
