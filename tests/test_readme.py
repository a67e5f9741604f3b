"""The README's commands, run as a reader would, one after the other."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from semigen.params.config import SampleParams
from semigen.tables.samples import cut_sample

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
ROOT = Path(__file__).parents[1]
GENERATED = [
    *(".venv", ".git", "cache", "tmp", ".prefect", ".semigen"),
    *("data", "models", "reports", "dvc.lock", "*.egg-info", "__pycache__", ".*_cache"),
]
"""What a fresh clone does not have."""


def blocks(language: str) -> list[str]:
    """Return the README's code blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with this environment, and a reader's own tables in ``data/raw``."""
    if not (ROOT / ".venv" / ".core").exists():
        pytest.skip("needs the environment that make sets up: run `make test-slow`")
    root = tmp_path_factory.mktemp("clone") / "semigen"
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(*GENERATED))
    (root / ".venv").symlink_to(ROOT / ".venv")
    git = ("git", "-c", "user.name=reader", "-c", "user.email=reader@localhost")
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "Clone")):
        subprocess.run([*git, *command], cwd=root, check=True)
    tables = cut_sample(SampleParams(dataset="breast_cancer", n_labeled=40), seed=0)
    raw = root / "data" / "raw"
    raw.mkdir(parents=True)
    tables["labeled"].rename(columns={"label": "diagnosis"}).to_csv(raw / "labeled.csv")
    tables["unlabeled"].to_csv(raw / "unlabeled.csv")
    return root


def run(script: str, root: Path, interpreter: tuple[str, ...] = ("bash", "-euc")) -> str:
    outside = ("ARGS", "PREFECT_", "DVC_", "PYTHON", "VIRTUAL_ENV", "MAKE", "MFLAGS")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(outside)}
    done = subprocess.run(
        [*interpreter, script],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}"
    return done.stdout


def test_commands_in_their_order(clone: Path) -> None:
    first, own_data, predict, synthesize, with_dvc = blocks("bash")
    output = run(first, clone)
    accuracy = re.search(r"^Accuracy +([\d.]+)%", output, re.M)
    labels_only = re.search(r"^Labels only +([\d.]+)%", output, re.M)
    assert accuracy and labels_only
    # The example that the README shows: above 90, and above what the labels alone give.
    assert float(accuracy[1]) > 90 > float(labels_only[1])
    assert run(first, clone).count("Cached\n") >= 8
    output = run(own_data, clone)
    assert "data.target: label -> diagnosis" in output
    assert re.search(r"^validate +[\d.]+ s", output, re.M)
    assert "rows labeled" in run(predict, clone)
    interpreter = (str(clone / ".venv/bin/python"), "-c")
    from_python, few_labels, on_their_own = blocks("python")
    assert "malignant" in run(from_python, clone, interpreter)
    assert "labels only" in run(few_labels, clone, interpreter)
    assert "[500 rows x" in run(on_their_own, clone, interpreter)
    assert "1000 synthetic rows" in run(synthesize, clone)
    output = run(with_dvc, clone)
    assert "Running stage 'train'" in output
    assert "Running stage 'pretrain'" not in output
    assert "test.accuracy.value" in output
