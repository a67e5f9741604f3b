from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flows.project import Project, slug, template_variables
from semigen.errors import UserError
from semigen.params.config import Params
from tests.flows.common import REPOSITORY


def project_with(root: Path, line: str) -> Project:
    (root / "prefect.yaml").write_text(f"{line}\n")
    return Project.of(root)


def test_names_are_scoped_by_the_project(tmp_path: Path) -> None:
    project = project_with(tmp_path, "name: churn")
    assert project.tag == "project:churn"
    assert project.pool("gpu") == "churn-gpu"
    assert project.deployment("train") == "train/churn"
    assert project.stage_deployment("gpu") == "stage/churn-gpu"
    assert project.key == "churn"


def test_keys_of_different_names_differ(tmp_path: Path) -> None:
    keys = {Project(tmp_path, name).key for name in ("a-b", "a_b", "A-b")}
    assert len(keys) == 3
    assert all(slug(key) == key for key in keys)


@pytest.mark.parametrize("name", ["prefect-x", "a/b", "a b", "'{{ $X }}'"])
def test_rejects_names_that_prefect_would_refuse(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"prefect.yaml: name: .* must consist of letters"):
        project_with(tmp_path, f"name: {name}")


def test_name_defaults_to_that_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "My_Folder 2"
    folder.mkdir()
    assert Project.of(folder).name == "my-folder-2"
    assert project_with(folder, "pull: []").name == "my-folder-2"
    assert slug("Prefect") == "project-prefect"
    assert slug("...") == "project"


def test_variables_of_the_repository_are_all_set(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "prefect.yaml", tmp_path)
    variables = template_variables(Project.of(tmp_path), Params())
    text = (tmp_path / "prefect.yaml").read_text()
    used = {part.split(" }}")[0] for part in text.split("{{ $")[1:]}
    assert used == {*variables, "SEMIGEN_PROJECT"}
