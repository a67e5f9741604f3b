"""Known vulnerabilities of the pinned packages, where pip-audit's database can be reached."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
KNOWN = "urllib3==1.24.1"
"""A version with known vulnerabilities. A database that does not report them cannot be trusted:
pip-audit succeeds, too, when its database has none of the packages."""


def main(paths: list[str]) -> int:
    """Print the vulnerabilities of the packages in requirement files; return 1 if there is one.

    Args:
        paths: Requirement files with pinned versions; ``constraints.txt`` if empty.
    """
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder) / "requirements.txt"
        probe.write_text(KNOWN + "\n", encoding="utf-8")
        if not any(package.get("vulns") for package in _audit(probe) or []):
            print("Vulnerabilities not checked: the database of pip-audit cannot be reached")
            return 0
    found = 0
    for path in paths or [str(CONSTRAINTS)]:
        packages = _audit(Path(path))
        if packages is None:
            print(f"error: {path}: pip-audit failed", file=sys.stderr)
            return 1
        for package in packages:
            for problem in _problems(package):
                print(f"error: {package['name']} {problem}", file=sys.stderr)
                found += 1
        print(
            f"Vulnerabilities of the {len(packages)} packages of {path} checked: {found} problems"
        )
    return int(found > 0)


def _audit(requirements: Path) -> list[dict[str, Any]] | None:
    """Return pip-audit's report on each package, or None if it has none."""
    options = ("--no-deps", "--disable-pip", "--format=json", "--progress-spinner=off")
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(requirements), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:  # for example, no connection: an error message instead of a report
        return None
    return packages


def _problems(package: dict[str, Any]) -> list[str]:
    if "skip_reason" in package:
        return [f"was not checked: {package['skip_reason']}"]
    return [
        f"{package['version']}: {found['id']}, corrected in "
        f"{', '.join(found['fix_versions']) or 'no version'}"
        for found in package["vulns"]
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
