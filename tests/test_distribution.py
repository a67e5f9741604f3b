"""The wheel and the source distribution, installed as a user would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.quick_run import QUICK

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
ROOT = Path(__file__).parents[1]
FIT = """
import numpy as np, pandas as pd, semigen, sys
from sklearn.datasets import load_wine
x, y = load_wine(return_X_y=True, as_frame=True)
y = y.where(np.arange(len(y)) % 6 == 0, -1)
classifier = semigen.SemiSupervisedClassifier(random_state=0, time_budget_s=5).fit(x, y)
classifier.save("saved")
assert (semigen.load("saved").predict(x) == classifier.predict(x)).all()
absent = {"prefect", "dvc", "great_expectations", "optuna"} & set(sys.modules)
print("fitted", semigen.__file__, absent or "alone")
"""


def environment() -> dict[str, str]:
    """Return the environment of a user who has not activated anything."""
    kept = {name: os.environ[name] for name in ("HOME", "TMPDIR", "LANG") if name in os.environ}
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    return {**kept, **pip, "PATH": "/usr/local/bin:/usr/bin:/bin"}


def run(folder: Path, *command: str | Path, code: int = 0) -> str:
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the wheel and the source distribution; the wheel is built from the latter."""
    folder = tmp_path_factory.mktemp("dist")
    run(ROOT, sys.executable, "-m", "build", "--no-isolation", "--outdir", folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def core(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scripts of a new virtual environment with the wheel and its core dependencies alone."""
    folder = tmp_path_factory.mktemp("core") / "venv"
    venv.create(folder, with_pip=True)
    install = ("-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel)
    run(ROOT, folder / "bin/python", *install)
    return folder / "bin"


@pytest.fixture(scope="module")
def full(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scripts of an environment with the wheel, and this environment's libraries.

    Path configuration files of the libraries' folder are not read, so that neither ``flows`` nor
    ``tasks`` can be imported from the repository.
    """
    folder = tmp_path_factory.mktemp("full") / "venv"
    venv.create(folder, with_pip=True)
    python = folder / "bin/python"
    run(ROOT, python, "-m", "pip", "install", "--quiet", "--no-deps", wheel)
    purelib = run(ROOT, python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    (Path(purelib.strip()) / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_distributions_are_accepted(built: Path) -> None:
    files = sorted(built.iterdir())
    assert [path.name.split("-")[0] for path in files] == ["semigen", "semigen"]
    output = run(ROOT, sys.executable, "-m", "twine", "check", "--strict", *files)
    assert output.count("PASSED") == 2


def test_wheel_holds_semigen_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"semigen"}
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    template = "semigen/project_template/"
    for name in ("flows/train.py", "tasks/train.py", "dvc.yaml", "prefect.yaml", ".dvc/config"):
        assert template + name in names


def test_source_distribution_has_tests_and_no_results(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "constraints.txt", "tests/test_distribution.py", "flows/train.py"} <= names
    assert not [
        name for name in names if name.startswith(("benchmarks/results", "models", ".git/"))
    ]


def test_core_installation_fits_an_estimator(core: Path, tmp_path: Path) -> None:
    absent = "import importlib.util as u; print([n for n in ('prefect', 'dvc') if u.find_spec(n)])"
    assert run(tmp_path, core / "python", "-c", absent) == "[]\n"
    assert "alone" in run(tmp_path, core / "python", "-c", FIT)


def test_core_installation_names_the_extra(core: Path, tmp_path: Path) -> None:
    run(tmp_path, core / "semigen", "init", "churn")
    project = tmp_path / "churn"
    for command in (["run"], ["repro"], ["up"], ["monitor"], ["promote"]):
        output = run(project, core / "semigen", *command, code=1)
        assert output.startswith(f"error: `semigen {command[0]}` needs prefect, dvc")
        assert "pip install 'semigen[pipeline]'" in output


def test_core_installation_synthesizes(core: Path, tmp_path: Path) -> None:
    rows = "\n".join(f"{i % 7},{i % 3},{'ab'[i % 2]}" for i in range(120))
    (tmp_path / "real.csv").write_text(f"x,y,label\n{rows}\n")
    options = ("--input", "real.csv", "--target", "label", "--generator", "vae", "--rows", "9")
    run(tmp_path, core / "semigen", "synthesize", *options, "--output", "new.csv")
    assert (tmp_path / "new.csv").read_text().count("\n") == 10


def test_new_project_runs_from_the_wheel(full: Path, tmp_path: Path) -> None:
    where = "import semigen, importlib.util as u; print(u.find_spec('flows'), semigen.__file__)"
    assert run(tmp_path, full / "python", "-c", where).startswith(f"None {full.parent}")
    semigen = full / "semigen"
    run(tmp_path, semigen, "init", "wine-cellar")
    project = tmp_path / "wine-cellar"
    overrides = [part for override in QUICK for part in ("-S", override)]
    output = run(project, semigen, "run", *overrides)
    assert re.search(r"^ *Accuracy +[\d.]+%", output, re.M)
    assert run(project / "data", semigen, "run").count("Cached\n") >= 8  # from a subfolder
    assert "up to date" in run(project, semigen, "repro")
    predict = ("predict", "--input", "data/samples/test.csv", "--output", "predictions.csv")
    assert "labeled by champion v0001" in run(project, semigen, *predict)
    assert "v0001" in run(project, semigen, "registry")
    assert str(ROOT) not in (project / "dvc.lock").read_text()
