"""What ``make`` must not do."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def test_clean_keeps_the_registry(tmp_path: Path) -> None:
    """DVC's cache brings back all else; who was champion stands nowhere but there."""
    shutil.copy(Path(__file__).parents[1] / "Makefile", tmp_path)
    kept = ["models/registry/champion.json", "reports/metrics.json", "data/raw/labeled.csv"]
    gone = ["models/classifier/classifier.json", "reports/report.html", "data/schema.json"]
    for name in kept + gone:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for _ in range(2):  # again, with nothing to remove
        subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)
    found = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert found == {*kept, "Makefile"}
