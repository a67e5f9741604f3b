"""What ``make`` must not do."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path


def test_clean_keeps_the_registry(tmp_path: Path) -> None:
    """DVC's cache brings back all else; who was champion stands nowhere but there."""
    shutil.copy(Path(__file__).parents[1] / "Makefile", tmp_path)
    kept = ["models/registry/champion.json", "data/raw/labeled.csv"]
    kept += ["reports/metrics.json", "reports/scores.json"]
    gone = ["models/classifier/classifier.json", "reports/report.html", "data/schema.json"]
    for name in kept + gone:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for _ in range(2):  # again, with nothing to remove
        subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)
    found = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert found == {*kept, "Makefile"}


def test_environment_whose_creation_was_killed_is_created_again(tmp_path: Path) -> None:
    """A killed ``python -m venv`` leaves a Python without pip."""
    shutil.copy(Path(__file__).parents[1] / "Makefile", tmp_path)
    folder = Path(sys.executable).resolve().parent
    environment = {**os.environ, "PATH": f"{folder}:/usr/bin:/bin", "PYTHON": sys.executable}
    make = ["make", ".venv/.created", f"PYTHON={Path(sys.executable).resolve()}"]
    options = {"cwd": tmp_path, "env": environment, "stdout": subprocess.DEVNULL}
    with subprocess.Popen(make, **options, process_group=0) as killed:
        deadline = time.monotonic() + 60
        while not (tmp_path / ".venv" / "bin" / "python").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(killed.pid, signal.SIGKILL)
    python = tmp_path / ".venv" / "bin" / "python"
    assert subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode != 0
    subprocess.run(make, **options, check=True)
    subprocess.run([python, "-m", "pip", "--version"], check=True, capture_output=True)
    own = tmp_path / ".venv" / "own"
    own.touch()
    (tmp_path / ".venv" / ".created").unlink()  # as in an environment of an earlier Makefile
    subprocess.run(make, **options, check=True)
    assert own.exists()
