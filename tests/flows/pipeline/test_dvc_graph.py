from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flows.pipeline.dvc_graph import changed_tables, is_changed, plan, settle_scm
from semigen.errors import UserError

if TYPE_CHECKING:
    from conftest import Project

ORDER = ["sample", "validate", "train", "evaluate", "report"]


def pending(project: Project) -> list[str]:
    return [stage.name for stage in plan(project.root) if stage.pending]


def changed(project: Project) -> list[str]:
    return [stage.name for stage in plan(project.root) if stage.changed]


def test_plan_lists_dependencies_of_the_target_in_order(settled: Project) -> None:
    stages = plan(settled.root)
    assert [stage.name for stage in stages] == ORDER
    assert [stage.worker for stage in stages] == [None, None, "gpu", None, None]
    assert stages[0].command == "python toy.py sample"
    assert [stage.name for stage in plan(settled.root, "validate")] == ORDER[:2]
    assert pending(settled) == ORDER


def test_nothing_is_pending_after_repro(done: Project) -> None:
    assert pending(done) == []


def test_changed_parameter_makes_its_stage_and_later_stages_pending(done: Project) -> None:
    done.edit("params.yaml", "epochs: 50", "epochs: 20")
    assert changed(done) == ["train"]
    assert pending(done) == ["train", "evaluate", "report"]


def test_missing_output_makes_its_stage_and_later_stages_pending(done: Project) -> None:
    (done.root / "schema.json").unlink()
    assert changed(done) == ["validate", "train"]
    assert pending(done) == ORDER[1:]


def test_stage_is_unchanged_if_earlier_stages_wrote_the_same_files(done: Project) -> None:
    done.edit("params.yaml", "min_rows_per_class: 2", "min_rows_per_class: 3")
    assert pending(done) == ORDER[1:]
    assert done.run("dvc", "repro", "-s", "validate").returncode == 0
    assert not is_changed(done.root, "train")
    assert pending(done) == []


def test_table_under_dvc_add_is_part_of_the_graph(done: Project) -> None:
    (done.root / "table.csv").write_text("1\n")
    assert done.run("dvc", "add", "table.csv").returncode == 0
    done.edit("dvc.yaml", "deps: [schema.json]", "deps: [schema.json, table.csv]")
    assert "table.csv.dvc" in [stage.name for stage in plan(done.root)]
    assert changed(done) == ["train"]
    (done.root / "table.csv").write_text("2\n")
    assert set(changed(done)) == {"table.csv.dvc", "train"}


def test_lists_changed_tables_that_no_stage_writes(done: Project) -> None:
    assert changed_tables(done.root) == []
    done.edit("params.yaml", "epochs: 50", "epochs: 20")
    (done.root / "labeled.csv").write_text("written by sample\n")
    assert changed_tables(done.root) == [], "neither parameters nor outputs of stages"
    for name in ("own.csv", "added.csv"):
        (done.root / name).write_text("1\n")
    assert done.run("dvc", "add", "added.csv").returncode == 0
    done.edit("dvc.yaml", "deps: [schema.json]", "deps: [schema.json, own.csv, added.csv]")
    assert changed_tables(done.root) == ["added.csv", "own.csv"]
    assert done.run("dvc", "repro", "report").returncode == 0
    assert changed_tables(done.root) == []
    (done.root / "added.csv").write_text("2\n")
    assert changed_tables(done.root) == ["added.csv"]
    (done.root / "own.csv").unlink()
    assert changed_tables(done.root) == ["added.csv", "own.csv"]
    assert changed_tables(done.root, "validate") == []


def test_errors_of_dvc_become_user_errors_of_one_line(settled: Project) -> None:
    with pytest.raises(UserError, match=r"no stage 'reprot'; stages: evaluate, report"):
        plan(settled.root, "reprot")
    settled.edit("dvc.yaml", "deps: [labeled.csv]", "deps: ['${data.labeled}']")
    with pytest.raises(UserError, match=r"^DVC: [^\n]*Could not find 'data.labeled'"):
        plan(settled.root)


def test_project_works_without_git_and_after_git_init(project: Project) -> None:
    config = project.root / ".dvc" / "config.local"
    with pytest.raises(UserError, match="not a git repository"):
        plan(project.root)
    settle_scm(project.root)
    assert "no_scm = true" in config.read_text().lower()
    assert len(plan(project.root)) == len(ORDER)
    subprocess.run(["git", "init", "-q", str(project.root)], check=True)
    settle_scm(project.root)
    assert "no_scm" not in config.read_text()
    assert len(plan(project.root)) == len(ORDER)


def test_git_repository_needs_no_local_settings(project: Project) -> None:
    subprocess.run(["git", "init", "-q", str(project.root)], check=True)
    settle_scm(project.root)
    assert not Path(project.root / ".dvc" / "config.local").exists()


def test_waits_for_files_that_another_dvc_uses(done: Project) -> None:
    """DVC refuses to read them, so that a run that starts during a stage would fail."""
    with subprocess.Popen(["sleep", "2"]) as other:
        holder = {"pid": other.pid, "cmd": "sleep 2"}
        content = {"write": {str(done.root / "model"): holder}, "read": {}}
        (done.root / ".dvc" / "tmp" / "rwlock").write_text(json.dumps(content))
        logged: list[str] = []
        assert [stage.pending for stage in plan(done.root, log=logged.append)] == [False] * 5
        assert logged == [
            f"report: waiting for another DVC process that uses its files (process {other.pid})"
        ]
