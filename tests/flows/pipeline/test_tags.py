from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from gto import api

from flows.pipeline.tags import ARTIFACT, STAGE, tag_champion
from semigen.artifacts import Layout
from semigen.errors import UserError

ROOT = Path(__file__).parents[3]


def git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(root: Path, text: str) -> str:
    (root / "dvc.lock").write_text(text)
    git(root, "add", "-A")
    git(root, "commit", "-qm", text)
    return git(root, "rev-parse", "HEAD")


def champions(root: Path) -> list[str]:
    found = api.find_versions_in_stage(root, ARTIFACT, STAGE, versions_per_stage=-1)
    return [version.version for version in found]


@pytest.fixture
def repository(tmp_path):
    """A git repository with this project's ``dvc.yaml``."""
    git(tmp_path, "init", "-q")
    git(tmp_path, "config", "user.name", "tester")
    git(tmp_path, "config", "user.email", "tester@localhost")
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    return tmp_path


def test_artifact_is_the_classifier_of_dvc_yaml():
    artifact = yaml.safe_load((ROOT / "dvc.yaml").read_text())["artifacts"][ARTIFACT]
    layout = Layout(ROOT)
    assert layout.root / artifact["path"] == layout.classifier
    assert artifact["type"] == "model"


def test_versions_are_registered_and_one_is_champion(repository):
    first = commit(repository, "one")
    assert tag_champion(repository, "v0001", first) == [
        "classifier@v1.0.0",
        "classifier#champion#1",
    ]
    third = commit(repository, "three")
    tag_champion(repository, "v0003", third)
    assert champions(repository) == ["v3.0.0"]
    assert git(repository, "rev-parse", "classifier@v1.0.0^{commit}") == first
    assert git(repository, "rev-parse", "classifier@v3.0.0^{commit}") == third


def test_second_call_changes_nothing(repository):
    first = commit(repository, "one")
    tag_champion(repository, "v0001", first)
    tags = git(repository, "tag")
    assert tag_champion(repository, "v0001", first) == []
    assert git(repository, "tag") == tags


def test_rollback_makes_the_earlier_version_champion(repository):
    commits = []
    for version in ("v0001", "v0002"):
        commits.append(commit(repository, version))
        tag_champion(repository, version, commits[-1])
    time.sleep(1.1)  # GTO orders a version's tags by their second
    tag_champion(repository, "v0001", commits[-1])
    assert champions(repository) == ["v1.0.0"]
    assert git(repository, "rev-parse", "classifier@v1.0.0^{commit}") == commits[0]
    time.sleep(1.1)
    tag_champion(repository, "v0002", commits[-1])
    assert champions(repository) == ["v2.0.0"]


def test_reports_errors_of_git_and_gto(repository, tmp_path_factory):
    first = commit(repository, "one")
    tag_champion(repository, "v0001", first)
    with pytest.raises(UserError, match=r"v0002: cannot tag .* already registered"):
        tag_champion(repository, "v0002", first)
    with pytest.raises(UserError, match="nonsense"):
        tag_champion(repository, "v0002", "nonsense")
    outside = tmp_path_factory.mktemp("outside")
    assert not any((parent / ".git").exists() for parent in (outside, *outside.parents))
    with pytest.raises(UserError, match="not a git repository"):
        tag_champion(outside, "v0002", "HEAD")
