"""Answers of pip-audit with and without its database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
VULNERABLE = {"name": "urllib3", "version": "1.24.1", "vulns": [{"id": "A-1", "fix_versions": []}]}
SKIPPED = {"name": "urllib3", "skip_reason": "Dependency not found and could not be audited"}


def audit(path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.audit", str(path)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def answering(folder: Path, requirements: Path, report: str) -> dict[str, str]:
    """Return the environment in which pip-audit prints a report on these requirements.

    The database is not reachable everywhere that the tests run. Of other requirements, such as the
    probe for the database, the answer is that they are vulnerable.
    """
    known = json.dumps({"dependencies": [VULNERABLE]})
    (folder / "pip_audit.py").write_text(
        f"import sys\nprint({report!r} if {str(requirements)!r} in sys.argv else {known!r})\n"
    )
    return {"PYTHONPATH": str(folder)}


def test_says_that_the_database_cannot_be_reached(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("urllib3==1.24.1\n")
    nowhere = "http://127.0.0.1:9"
    done = audit(requirements, HTTPS_PROXY=nowhere, https_proxy=nowhere)
    assert (done.returncode, done.stderr) == (0, "")
    assert "not checked" in done.stdout


def test_does_not_trust_a_database_without_known_vulnerabilities(tmp_path: Path) -> None:
    (tmp_path / "pip_audit.py").write_text(f"print({json.dumps({'dependencies': [SKIPPED]})!r})\n")
    done = audit(tmp_path / "requirements.txt", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert "not checked" in done.stdout


def test_fails_for_vulnerable_and_for_unchecked_packages(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    for package, problem in (
        (VULNERABLE, "urllib3 1.24.1: A-1, corrected in no version"),
        (SKIPPED, "urllib3 was not checked: Dependency not found"),
    ):
        report = json.dumps({"dependencies": [package]})
        done = audit(path, **answering(tmp_path, path, report))
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: {problem}")
    done = audit(path, **answering(tmp_path, path, "no connection"))
    assert (done.returncode, done.stderr) == (1, f"error: {path}: pip-audit failed\n")
    sound = json.dumps({"dependencies": [{"name": "a", "version": "1", "vulns": []}]})
    assert audit(path, **answering(tmp_path, path, sound)).returncode == 0
