"""Stages on another host: real git, real DVC, processes with homes of their own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from flows.pipeline import dvc_remote
from flows.pipeline.dvc_graph import is_changed
from flows.pipeline.git import remote_url
from flows.remote import checkpoints
from flows.remote.exchange import collect, discard, request_ref, run_in_clone, snapshot
from semigen.errors import UserError
from tests.flows.common import wait_for
from tests.flows.hosts import CREDENTIALS, S3, Worker, git, set_store, share

if TYPE_CHECKING:
    from conftest import Project

KEY = "run1-train"


@dataclass(frozen=True)
class Hosts:
    """The flow's host, what it shares with others, and another host."""

    project: Project
    hub: Path
    store: Path
    worker: Worker

    @property
    def root(self) -> Path:
        return self.project.root

    def refs(self) -> list[str]:
        return git(self.hub, "for-each-ref", "--format=%(refname)", "refs/semigen").split()

    def requested(self, path: str) -> str:
        return git(self.hub, "show", f"{request_ref(KEY)}:{path}")

    def checkpoints(self) -> list[Path]:
        return list((self.store / "semigen-checkpoints").rglob("*.tar"))


@pytest.fixture
def hosts(
    done: Project, tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Hosts:
    """The toy project after ``dvc repro``, committed, with remotes in folders of this machine."""
    monkeypatch.setenv("HOME", environment["HOME"])  # nobody's git or DVC settings
    share(done.root, tmp_path / "hub.git", str(tmp_path / "store"))
    worker = Worker(tmp_path / "worker", {**environment, **CREDENTIALS})
    return Hosts(done, tmp_path / "hub.git", tmp_path / "store", worker)


@pytest.fixture
def s3(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """The same with DVC's remote in a bucket of a server on this machine."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with S3.started() as server:
        set_store(hosts.root, "s3://bucket/semigen", f"endpointurl = {server.url}")
        yield server


def use_training(hosts: Hosts) -> None:
    """Let the train stage take five seconds and write checkpoints."""
    shutil.copy(Path(__file__).with_name("toy_training.py"), hosts.root / "training.py")
    hosts.project.edit("dvc.yaml", "python toy.py train", "python training.py")


def lock_entries(root: Path) -> dict[str, object]:
    return dict(yaml.safe_load((root / "dvc.lock").read_text())["stages"])


def users_state(root: Path) -> list[str]:
    """Return all that git knows of the user's own work."""
    commands = (
        *("ls-files --stage", "diff", "diff --cached", "status --porcelain"),
        *("rev-parse HEAD", "branch --all", "stash list", "reflog"),
    )
    return [git(root, *command.split()) for command in commands]


def test_snapshot_leaves_branch_index_stash_and_working_tree_alone(hosts: Hosts) -> None:
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


def test_snapshot_holds_what_is_not_committed_and_no_strange_files(hosts: Hosts) -> None:
    hosts.project.edit("params.yaml", "epochs: 50", "epochs: 70")
    hosts.project.edit("toy.py", '"fitting"', '"fitting again"')
    (hosts.root / "new.py").write_text("x = 1\n")
    (hosts.root / "secret.txt").write_text("x")
    (hosts.root / "reports" / "metrics.json").unlink()
    snapshot(hosts.root, "train", KEY)
    assert "epochs: 70" in hosts.requested("params.yaml")
    assert "fitting again" in hosts.requested("toy.py")
    listed = git(hosts.hub, "ls-tree", "-r", "--name-only", request_ref(KEY)).split()
    assert "new.py" in listed
    assert {"secret.txt", "reports/metrics.json", "schema.json", "ran"}.isdisjoint(listed)


def test_snapshot_uploads_only_what_the_stage_reads(hosts: Hosts) -> None:
    snapshot(hosts.root, "train", KEY)
    files = [path for path in hosts.store.rglob("*") if path.is_file()]
    assert [path.read_text() for path in files] == ['{"columns": 1}']


def test_snapshot_takes_in_files_that_git_holds_for_dvc(hosts: Hosts) -> None:
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


def with_lost_cache(hosts: Hosts) -> None:
    shutil.rmtree(hosts.root / ".dvc" / "cache" / "files")


def with_own_table(hosts: Hosts) -> None:
    hosts.project.edit("dvc.yaml", "deps: [schema.json]", "deps: [table.csv]")
    (hosts.root / "table.csv").write_text("1\n")


def with_table_elsewhere(hosts: Hosts) -> None:
    table = hosts.hub.with_name("table.csv")
    table.write_text("1\n")
    hosts.project.edit("dvc.yaml", "deps: [schema.json]", f"deps: [{table}]")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_git, "no git repository; .* `git init`"),
        (without_git_remote, "no git remote; .* git remote add origin URL"),
        (without_store, "no default DVC remote; .* dvc remote add --default"),
        (with_private_store, r"'hub' is set in .dvc/config.local, which other hosts do not get"),
        (with_relative_store, "'hub': a relative path, .* name one that all hosts have"),
        (with_changed_input, "schema.json: not as DVC recorded it; run `dvc repro validate`"),
        (with_lost_cache, "schema.json: not in DVC's cache; run `dvc commit validate`"),
        (with_own_table, "table.csv: neither DVC nor git tracks it, .* `dvc add table.csv`"),
        (with_table_elsewhere, "table.csv: outside the project, so other hosts lack it"),
    ],
)
def test_what_other_hosts_cannot_get_is_refused_with_the_remedy(
    spoil: Callable[[Hosts], None], message: str, hosts: Hosts
) -> None:
    spoil(hosts)
    with pytest.raises(UserError, match=message):
        snapshot(hosts.root, "train", KEY, timeout=0)
    assert hosts.refs() == []


def test_hub_that_does_not_answer_is_asked_again(hosts: Hosts) -> None:
    told: list[str] = []
    git(hosts.root, "remote", "set-url", "origin", "git://127.0.0.1:9/hub.git")
    with pytest.raises(UserError, match=r"git push: .*unable to connect.*; gave up after 1 s$"):
        snapshot(hosts.root, "train", KEY, log=told.append, timeout=1.2)
    assert len(told) == 1
    assert told[0].endswith("; retrying in 1 s")


def test_hub_that_is_not_there_is_told_at_once(hosts: Hosts) -> None:
    shutil.rmtree(hosts.hub)
    with pytest.raises(UserError, match="does not appear to be a git repository"):
        snapshot(hosts.root, "train", KEY)


@pytest.mark.parametrize("key", ["", "../x", "a b", "a/b", "-x"])
def test_key_that_is_no_part_of_a_ref_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="a key consists of"):
        request_ref(key)


def test_nothing_is_collected_before_there_is_a_result(hosts: Hosts) -> None:
    assert not collect(hosts.root, "train", KEY)
    snapshot(hosts.root, "train", KEY)
    assert not collect(hosts.root, "train", KEY)
    assert hosts.refs() == [request_ref(KEY)]
    discard(hosts.root, KEY)
    assert hosts.refs() == []


@pytest.mark.slow
def test_stage_runs_on_another_host(hosts: Hosts) -> None:
    hosts.project.edit("params.yaml", "epochs: 50", "epochs: 70")
    old = hosts.root / "model"
    old.unlink()
    snapshot(hosts.root, "train", KEY)
    log = hosts.worker.run(str(hosts.hub), KEY)
    assert log == ["fitting"]
    assert not old.exists()
    assert collect(hosts.root, "train", KEY)
    assert old.read_text() == '{"columns": 1}'
    assert not is_changed(hosts.root, "train")
    assert not hosts.project.ran()
    assert hosts.refs() == []
    assert git(hosts.root, "status", "--porcelain").split() == ["M", "dvc.lock", "M", "params.yaml"]


@pytest.mark.slow
def test_second_stage_finds_a_clean_clone_and_brings_metrics(hosts: Hosts) -> None:
    hosts.project.edit("toy.py", "0.9", "0.7")
    for stage in ("train", "evaluate"):
        snapshot(hosts.root, stage, stage)
        run_in_clone(
            remote_url(hosts.root),
            request_ref(stage),
            stage,
            hosts.worker.home / "clones",
            log=print,
            force=True,
        )
        assert collect(hosts.root, stage, stage)
        assert not is_changed(hosts.root, stage)
    assert '"value": 0.7' in (hosts.root / "reports" / "metrics.json").read_text()
    assert [path.is_dir() for path in (hosts.worker.home / "clones").iterdir()].count(True) == 1


@pytest.mark.slow
def test_failure_of_the_stage_is_told_in_its_words(hosts: Hosts) -> None:
    hosts.project.edit(
        "toy.py", '    print("fitting", flush=True)', '    sys.exit("error: no luck")'
    )
    snapshot(hosts.root, "train", KEY)
    with pytest.raises(UserError, match=r"^no luck$"):
        run_in_clone(
            str(hosts.hub), request_ref(KEY), "train", hosts.worker.home, log=print, force=True
        )
    assert not collect(hosts.root, "train", KEY)


@pytest.mark.slow
def test_stages_that_changed_meanwhile_keep_their_entries(hosts: Hosts) -> None:
    hosts.project.edit("params.yaml", "epochs: 50", "epochs: 70")
    snapshot(hosts.root, "train", KEY)
    hosts.worker.run(str(hosts.hub), KEY)
    hosts.project.edit("params.yaml", "min_rows_per_class: 2", "min_rows_per_class: 3")
    assert hosts.project.run("dvc", "repro", "--single-item", "validate").returncode == 0
    before = lock_entries(hosts.root)
    assert collect(hosts.root, "train", KEY)
    after = lock_entries(hosts.root)
    assert before.pop("train") != after.pop("train")
    assert after == before


@pytest.mark.slow
def test_result_of_an_earlier_request_is_not_taken(hosts: Hosts) -> None:
    snapshot(hosts.root, "train", KEY)
    hosts.worker.run(str(hosts.hub), KEY)
    hosts.project.edit("params.yaml", "epochs: 50", "epochs: 70")
    snapshot(hosts.root, "train", KEY)
    assert not collect(hosts.root, "train", KEY)
    hosts.worker.run(str(hosts.hub), KEY)
    assert collect(hosts.root, "train", KEY)
    assert not is_changed(hosts.root, "train")


@pytest.mark.slow
def test_two_runs_on_one_worker_take_turns(hosts: Hosts) -> None:
    use_training(hosts)
    for key in ("a", "b"):
        snapshot(hosts.root, "train", key)
    with hosts.worker.started(str(hosts.hub), "a") as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "starts at step 0\n"
        log = hosts.worker.run(str(hosts.hub), "b")
        assert first.wait(60) == 0
    assert log[0].startswith("waiting for another run in ")
    for key in ("a", "b"):
        assert collect(hosts.root, "train", key)


@pytest.mark.slow
def test_stage_of_a_killed_worker_goes_on_elsewhere_from_its_checkpoint(hosts: Hosts) -> None:
    use_training(hosts)
    snapshot(hosts.root, "train", KEY)
    with hosts.worker.started(str(hosts.hub), KEY, seconds=0.2):
        wait_for(lambda: any("00000003" in path.name for path in hosts.checkpoints()), "no upload")
    assert not collect(hosts.root, "train", KEY)
    other = replace(hosts.worker, home=hosts.worker.home.with_name("other"))
    log = other.run(str(hosts.hub), KEY)
    assert log[0] == "downloaded the checkpoint of an earlier attempt"
    start = int(log[1].removeprefix("starts at step "))
    assert start >= 3
    assert collect(hosts.root, "train", KEY)
    assert (hosts.root / "model").read_text() == "10 steps\n"
    assert hosts.checkpoints() == []


@pytest.mark.slow
def test_killed_worker_leaves_its_clone_usable(hosts: Hosts) -> None:
    use_training(hosts)
    snapshot(hosts.root, "train", KEY)
    with hosts.worker.started(str(hosts.hub), KEY) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "starts at step 0\n"
    (clone,) = (hosts.worker.home / ".cache" / "semigen" / "clones").glob("hub-*[!k]")
    (clone / ".git" / "index.lock").touch()
    (clone / "params.yaml").write_text("seed: [")
    assert hosts.worker.run(str(hosts.hub), KEY) == ["starts at step 0"]
    assert collect(hosts.root, "train", KEY)


@pytest.mark.slow
def test_bucket_that_is_away_for_a_while(hosts: Hosts, s3: S3) -> None:
    """Before the inputs are read, and again while the stage runs."""
    use_training(hosts)
    snapshot(hosts.root, "train", KEY)
    s3.stop()
    with hosts.worker.started(str(hosts.hub), KEY, seconds=0.2) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "127.0.0.1" in line
        assert line.endswith("retrying in 1 s\n")
        s3.start()
        wait_for(lambda: any("checkpoints" in name for name in s3.names()), "no checkpoint")
        s3.stop()
        lines = [process.stdout.readline() for _ in range(2)]
        while "dvc push" not in lines[-1] and "not uploaded" not in lines[-1]:
            lines.append(process.stdout.readline())
        s3.start()
        output, _ = process.communicate(timeout=100)
        assert process.returncode == 0, output
    assert "starts at step 0\n" in lines
    assert collect(hosts.root, "train", KEY)
    assert (hosts.root / "model").read_text() == "10 steps\n"
    assert not is_changed(hosts.root, "train")
    assert not [name for name in s3.names() if "checkpoints" in name]


@pytest.mark.slow
def test_bucket_that_does_not_exist_is_told_at_once(hosts: Hosts, s3: S3) -> None:
    hosts.project.edit(".dvc/config", "s3://bucket/", "s3://nowhere/")
    with pytest.raises(UserError, match=r"dvc push: .*bucket"):
        snapshot(hosts.root, "train", KEY)


@pytest.mark.slow
def test_checkpoints_are_nothing_to_dvc(hosts: Hosts) -> None:
    folder = hosts.root / ".semigen" / "checkpoints" / "train"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text("{}")
    checkpoints.upload(dvc_remote.store(hosts.root), KEY, folder)
    assert hosts.project.run("dvc", "push").returncode == 0
    before = {path for path in hosts.store.rglob("*") if path.is_file()}
    assert any("semigen-checkpoints" in str(path) for path in before)
    status = hosts.project.run("dvc", "status", "--cloud")
    assert status.stdout.strip() == "Cache and remote 'hub' are in sync.", status.stderr
    collected = hosts.project.run("dvc", "gc", "--workspace", "--cloud", "--force")
    assert collected.returncode == 0, collected.stderr
    assert {path for path in hosts.store.rglob("*") if path.is_file()} == before
