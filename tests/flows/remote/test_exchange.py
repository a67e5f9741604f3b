"""Stages on another host: real git, real DVC, processes with a home folder of their own."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from flows.pipeline import dvc_remote
from flows.pipeline.dvc_graph import is_changed
from flows.pipeline.git import remote_url
from flows.remote import checkpoints
from flows.remote.exchange import collect, discard, request_ref, run_in_clone, snapshot
from semigen.errors import UserError
from tests.flows.common import REPOSITORY, wait_for
from tests.flows.hosts import KEY, S3, Hosts, git


def use_training(hosts: Hosts) -> None:
    """Let the train stage take five seconds and write checkpoints."""
    shutil.copy(REPOSITORY / "tests" / "flows" / "toy_training.py", hosts.root / "training.py")
    git(hosts.root, "add", "training.py")
    hosts.project.edit("dvc.yaml", "python toy.py train", "python training.py")


def lock_entries(root: Path) -> dict[str, object]:
    return dict(yaml.safe_load((root / "dvc.lock").read_text())["stages"])


def test_collects_nothing_before_there_is_a_result(hosts: Hosts) -> None:
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
def test_second_stage_runs_in_the_same_clone_and_returns_metrics(hosts: Hosts) -> None:
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
def test_error_of_the_stage_is_reported_unchanged(hosts: Hosts) -> None:
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
def test_entries_of_other_stages_are_kept(hosts: Hosts) -> None:
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
def test_ignores_result_of_an_earlier_request(hosts: Hosts) -> None:
    snapshot(hosts.root, "train", KEY)
    hosts.worker.run(str(hosts.hub), KEY)
    hosts.project.edit("params.yaml", "epochs: 50", "epochs: 70")
    snapshot(hosts.root, "train", KEY)
    assert not collect(hosts.root, "train", KEY)
    hosts.worker.run(str(hosts.hub), KEY)
    assert collect(hosts.root, "train", KEY)
    assert not is_changed(hosts.root, "train")


@pytest.mark.slow
def test_two_runs_on_one_worker_run_one_after_the_other(hosts: Hosts) -> None:
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
def test_stage_of_a_killed_worker_resumes_on_another_host(hosts: Hosts) -> None:
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
def test_clone_of_a_killed_worker_is_usable(hosts: Hosts) -> None:
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
def test_bucket_that_is_unreachable_for_a_while(hosts: Hosts, s3: S3) -> None:
    """It is down before the inputs are downloaded, and again while the stage runs."""
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
def test_does_not_retry_if_the_bucket_does_not_exist(hosts: Hosts, s3: S3) -> None:
    hosts.project.edit(".dvc/config", "s3://bucket/", "s3://nowhere/")
    with pytest.raises(UserError, match=r"dvc push: .*bucket"):
        snapshot(hosts.root, "train", KEY)


@pytest.mark.slow
def test_dvc_ignores_checkpoints_on_its_remote(hosts: Hosts) -> None:
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
