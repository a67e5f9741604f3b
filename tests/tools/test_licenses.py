"""License of a package that is not in the allow list."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def check(
    site: Path, name: str, license_name: str, *options: str
) -> subprocess.CompletedProcess[str]:
    """Check an environment that also has a package with this license."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n"
    (info / "METADATA").write_text(f"{metadata}License-Expression: {license_name}\n")
    return subprocess.run(
        [sys.executable, "-m", "tools.licenses", *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )


def test_refuses_a_license_that_is_not_allowed(tmp_path: Path) -> None:
    path = tmp_path / "list" / "licenses.md"
    done = check(tmp_path, "intruder", "MIT AND AGPL-3.0-only", "--output", str(path))
    assert done.returncode == 1
    assert done.stderr.startswith("error: intruder 1.0: license 'MIT AND AGPL-3.0-only' is not in")
    assert done.stderr.count("\n") == 1
    assert "| intruder " in path.read_text()


def test_refuses_a_reviewed_package_whose_license_has_changed(tmp_path: Path) -> None:
    done = check(tmp_path, "pygit2", "GPL-2.0-only")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "error: pygit2 1.0: license 'GPL-2.0-only'" in done.stderr


def test_accepts_allowed_licenses(tmp_path: Path) -> None:
    done = check(tmp_path, "guest", "MPL-2.0 AND (Apache-2.0 OR MIT)")
    assert (done.returncode, done.stderr) == (0, "")
