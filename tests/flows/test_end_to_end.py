"""The real pipeline on a small sample: flow, DVC and predictions."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import semigen
from tasks import STAGES
from tests.quick_run import QUICK

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]


def run(root: Path, environment: dict[str, str], *arguments: str, fails: bool = False) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert bool(done.returncode) is fails, done.stdout
    return done.stdout


def stages_run(output: str) -> list[str]:
    return re.findall(r"^Running stage '(\w+)'", output, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """The project after the flow, in a folder without git."""
    root = tmp_path_factory.mktemp("project")
    for name in ("dvc.yaml", "params.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, root)
    (root / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc" / "config", root / ".dvc")
    overrides = [part for override in QUICK for part in ("-S", override)]
    output = run(root, environment, "flows.train", *overrides)
    assert "Accuracy" in output
    return root


@pytest.fixture
def project(trained: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    root = tmp_path / "project"
    shutil.copytree(trained, root)
    return root


def test_flow_writes_metrics_timings_and_an_offline_report(trained: Path) -> None:
    metrics = json.loads((trained / "reports" / "metrics.json").read_text())
    assert (metrics["n_labeled"], metrics["n_test"]) == (30, 36)
    assert metrics["n_unlabeled"] == 178 - 30 - 36
    names = set(metrics["test"])
    assert names == set(metrics["labels_only"]) == set(metrics["gain"])
    for name in names:
        estimate = metrics["test"][name]
        low, value, high = (estimate[key] for key in ("low", "value", "high"))
        assert low is None is high or low <= value <= high  # None: not estimable from so few rows
        difference = estimate["value"] - metrics["labels_only"][name]["value"]
        rounding = 3 * 0.5e-6  # all three figures have six decimals
        assert metrics["gain"][name]["value"] == pytest.approx(difference, abs=rounding + 1e-12)
    assert set(json.loads((trained / "reports" / "timings.json").read_text())) == set(STAGES)
    page = (trained / "reports" / "report.html").read_text()
    assert not re.search(r"""(src|href)=["']https?:""", page), "the page must open offline"


def test_dvc_uses_the_results_of_the_flow(project: Path, environment: dict[str, str]) -> None:
    assert stages_run(run(project, environment, "dvc", "repro")) == []


def test_changed_parameter_reruns_dependent_stages(
    project: Path, environment: dict[str, str]
) -> None:
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("n_bootstrap: 100", "n_bootstrap: 101"))
    output = run(project, environment, "dvc", "repro")
    assert stages_run(output) == ["evaluate", "report"]
    params.write_text(params.read_text().replace("device: auto", "device: cpu"))
    assert stages_run(run(project, environment, "dvc", "repro")) == []


def test_forced_run_gives_the_same_hashes(project: Path, environment: dict[str, str]) -> None:
    before = (project / "dvc.lock").read_bytes()
    output = run(project, environment, "dvc", "repro", "--force")
    assert stages_run(output) == list(STAGES)
    assert (project / "dvc.lock").read_bytes() == before


def test_outputs_are_transferred_by_a_remote(
    project: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    run(project, environment, "dvc", "remote", "add", "--default", "here", str(tmp_path / "remote"))
    run(project, environment, "dvc", "push")
    for name in ("data", "models", ".dvc/cache"):
        shutil.rmtree(project / name)
    run(project, environment, "dvc", "pull")
    assert stages_run(run(project, environment, "dvc", "repro")) == []


def test_three_ways_to_predict_agree(project: Path, environment: dict[str, str]) -> None:
    table = pd.read_csv(project / "data" / "samples" / "test.csv")
    shuffled = table[table.columns[::-1]].assign(unknown="x")
    shuffled.to_csv(project / "new.csv", index=False)
    predict = ("semigen.cli", "predict", "--input", "new.csv", "--output", "a.csv")
    assert "a.csv: 36 rows labeled" in run(project, environment, *predict)
    flow = "from flows.predict import predict; predict('new.csv', 'b.csv', keep_columns=True)"
    subprocess.run([sys.executable, "-c", flow], cwd=project, env=environment, check=True)
    by_command, by_flow = pd.read_csv(project / "a.csv"), pd.read_csv(project / "b.csv")
    pd.testing.assert_frame_equal(by_command, by_flow[by_command.columns])
    assert set(shuffled.columns) <= set(by_flow.columns)
    classifier = semigen.load(project / "models" / "classifier")
    probabilities = by_command[[f"probability_{label}" for label in classifier.classes_]]
    np.testing.assert_allclose(probabilities, classifier.predict_proba(table), atol=1e-5)
    metrics = json.loads((project / "reports" / "metrics.json").read_text())
    accuracy = (by_command["prediction"] == table["label"]).mean()
    assert accuracy == pytest.approx(metrics["test"]["accuracy"]["value"], abs=1e-6)


def test_own_tables_are_set_by_three_parameters(project: Path, environment: dict[str, str]) -> None:
    raw = project / "data" / "raw"
    raw.mkdir()
    own = pd.read_csv(project / "data" / "samples" / "labeled.csv").rename(
        columns={"label": "kind"}
    )
    own.to_csv(raw / "labeled.csv", index=False, sep=";")
    shutil.copy(project / "data" / "samples" / "unlabeled.csv", raw)
    names = ["labeled=data/raw/labeled.csv", "unlabeled=data/raw/unlabeled.csv", "target=kind"]
    overrides = [part for name in names for part in ("-S", f"data.{name}")]
    run(project, environment, "flows.train", *overrides)
    metrics = json.loads((project / "reports" / "metrics.json").read_text())
    assert (metrics["n_labeled"], metrics["n_test"]) == (24, 6)
    assert stages_run(run(project, environment, "dvc", "repro")) == []


def test_invalid_table_stops_the_run_before_later_stages(
    project: Path, environment: dict[str, str]
) -> None:
    labeled = project / "data" / "samples" / "labeled.csv"
    labeled.unlink()  # in DVC's cache, perhaps a link to it
    labeled.write_text("alcohol\n12\n")
    before = {p: p.stat().st_mtime_ns for p in (project / "models").rglob("*")}
    run(project, environment, "dvc", "commit", "--force", "sample")
    output = run(project, environment, "flows.train", fails=True)
    (error,) = re.findall(r"^error: .*$", output, flags=re.MULTILINE)
    assert "labeled.csv" in error
    assert "'label'" in error
    assert "Traceback" not in output
    assert {p: p.stat().st_mtime_ns for p in (project / "models").rglob("*")} == before
