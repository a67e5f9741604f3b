"""The commands of the README and of the tutorial, run in order as a reader would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from semigen.params.config import SampleParams
from semigen.tables.samples import cut_sample
from tests.docs.documents import code_sequence

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
ROOT = Path(__file__).parents[1]
SEMIGEN = ".venv/bin/semigen"


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Path]:
    """A fresh checkout that uses this environment; its server is stopped afterwards."""
    stamp, project = ROOT / ".venv" / ".core", ROOT / "pyproject.toml"
    # With an outdated environment `make run` would install the clone into it.
    if not stamp.exists() or stamp.stat().st_mtime < project.stat().st_mtime:
        pytest.skip("needs an up-to-date environment: run `make test-slow`")
    root = tmp_path / "semigen"
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    (root / ".venv").symlink_to(ROOT / ".venv")
    git = ("git", "-c", "user.name=reader", "-c", "user.email=reader@localhost")
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "Clone")):
        subprocess.run([*git, *command], cwd=root, check=True)
    yield root
    for project in (root, tmp_path / "tumors"):
        if project.exists():
            run([f"{ROOT}/{SEMIGEN} down"], project)


def run(blocks: list[str], folder: Path) -> list[str]:
    """Run blocks of shell commands in one shell and return the output of each block."""
    mark = "---- next block"
    outside = ("ARGS", "PREFECT_", "DVC_", "PYTHON", "VIRTUAL_ENV", "MAKE", "MFLAGS")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(outside)}
    environment |= {f"GIT_{who}_NAME": "reader" for who in ("AUTHOR", "COMMITTER")}
    environment |= {f"GIT_{who}_EMAIL": "reader@localhost" for who in ("AUTHOR", "COMMITTER")}
    done = subprocess.run(
        ["bash", "-euc", f"\necho '{mark}'\n".join(blocks)],
        cwd=folder,
        env=environment | {"COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.split(f"{mark}\n")


def script(language: str, block: str, python: str) -> str:
    """Return a code block as a shell command."""
    return block if language == "bash" else f"{python} - <<'END'\n{block}\nEND"


def test_readme(clone: Path) -> None:
    tables = cut_sample(SampleParams(dataset="breast_cancer", n_labeled=40), seed=0)
    raw = clone / "data" / "raw"  # the reader's own tables
    raw.mkdir(parents=True, exist_ok=True)
    tables["labeled"].rename(columns={"label": "diagnosis"}).to_csv(raw / "labeled.csv")
    tables["unlabeled"].to_csv(raw / "unlabeled.csv")

    blocks = [script(*block, ".venv/bin/python") for block in code_sequence(ROOT / "README.md")]
    first, *others = blocks
    (output, again) = run([first, first], clone)
    accuracy = re.search(r"^Accuracy +([\d.]+)%", output, re.M)
    labels_only = re.search(r"^Labels only +([\d.]+)%", output, re.M)
    assert accuracy and labels_only
    # The example in the README: above 90 %, and above the accuracy from the labels alone.
    assert float(accuracy[1]) > 90 > float(labels_only[1])
    assert again.count("Cached\n") >= 8

    up, own_data, predict, estimator, synthesizer = run(others, clone)
    assert re.search(r"^UI +http://127.0.0.1:\d+", up, re.M)
    assert "data.target: label -> diagnosis" in own_data
    assert re.search(r"^validate +[\d.]+ s", own_data, re.M)
    assert "rows labeled" in predict
    assert "labels only" in estimator
    assert "[500 rows x" in synthesizer


def test_tutorial(clone: Path) -> None:
    blocks = [script(*block, "python") for block in code_sequence(ROOT / "docs" / "tutorial.md")]
    watch = next(i for i, block in enumerate(blocks) if "flow-run ls" in block)
    # The reader waits for the schedule.
    blocks[watch] = (
        f"export COLUMNS=150; for _ in $(seq 60); do runs=$({blocks[watch].strip()}); "
        'grep -q ", schedule.*COMPLETED" <<<"$runs" && break; sleep 5; done; echo "$runs"'
    )
    outputs = run(blocks, clone)
    texts = "\n".join(outputs)
    assert "data.target: label -> diagnosis" in texts
    assert "predictions.csv: 69 rows labeled by champion v0001" in texts
    assert texts.count("v0001  CHAMPION") == 1
    assert texts.count("v0002  CHAMPION") == 1
    assert "v0001 is the champion" in texts
    assert re.search(", schedule.*COMPLETED", outputs[watch])
    assert outputs[-1].strip() == "stopped"
