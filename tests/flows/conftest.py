"""A toy project with real DVC and fast stages, and an environment without user settings."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from flows.pipeline.dvc_graph import settle_scm
from tests.flows.common import REPOSITORY

DVC_YAML = """
stages:
  sample:
    cmd: python toy.py sample
    params: [seed]
    outs: [labeled.csv]
  validate:
    cmd: python toy.py validate
    params: [validate]
    deps: [labeled.csv]
    outs: [schema.json]
  train:
    cmd: python toy.py train
    params: [train]
    deps: [schema.json]
    outs: [model]
    meta: {worker: gpu}
  evaluate:
    cmd: python toy.py evaluate
    deps: [model]
    metrics: [reports/metrics.json: {cache: false}]
  report:
    cmd: python toy.py report
    deps: [reports/metrics.json]
    outs: [reports/model_card.md: {persist: true}]
  unrelated:
    cmd: python toy.py unrelated
    deps: [labeled.csv]
    outs: [elsewhere]
"""
PARAMS_YAML = """\
seed: 42 # of everything
validate:
  min_rows_per_class: 2
train: # the classifier
  hidden_dims: [128, 64] # widths
  epochs: 50 # passes
"""


@dataclass(frozen=True)
class Project:
    root: Path
    environment: dict[str, str]

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.root,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
        )

    def ran(self) -> list[str]:
        """Return the stages whose commands ran since the last call."""
        log = self.root / "ran"
        stages = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return stages

    def wait_for_slow_stage(self) -> None:
        """Wait until the train stage, which a file ``slow`` makes slow, is running."""
        started = self.root / "started"
        deadline = time.monotonic() + 60
        while not (started.exists() and started.read_text()):
            assert time.monotonic() < deadline, "the train stage did not start"
            time.sleep(0.05)

    def is_slow_stage_alive(self) -> bool:
        pid = int((self.root / "started").read_text())
        return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.root / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of a new user: no Prefect server is configured."""
    inherited = {name: os.environ[name] for name in os.environ if not name.startswith("PREFECT_")}
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)
    return {
        **inherited,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(REPOSITORY),
        "PREFECT_HOME": str(tmp_path_factory.mktemp("prefect")),
        "HOME": str(tmp_path_factory.mktemp("home")),
    }


@pytest.fixture
def project(tmp_path: Path, environment: dict[str, str]) -> Project:
    """A toy project without git, as from an unpacked archive."""
    return make_project(tmp_path, environment)


@pytest.fixture
def settled(project: Project) -> Project:
    """The toy project with DVC configured for a folder without git."""
    settle_scm(project.root)
    return project


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Project:
    project = make_project(tmp_path_factory.mktemp("finished"), environment)
    settle_scm(project.root)
    result = project.run("dvc", "repro", "report")
    assert result.returncode == 0, result.stderr
    return project


@pytest.fixture
def done(finished: Project, tmp_path: Path) -> Project:
    """The toy project after ``dvc repro report``."""
    root = tmp_path / "done"
    shutil.copytree(finished.root, root)
    project = Project(root, finished.environment)
    assert project.ran() == ["sample", "validate", "train", "evaluate", "report"]
    return project


def make_project(root: Path, environment: dict[str, str]) -> Project:
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / "params.yaml").write_text(PARAMS_YAML)
    shutil.copy(Path(__file__).with_name("toy.py"), root)
    return Project(root, environment)
