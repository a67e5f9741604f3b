"""Requirement files with hashes: complete, equal to ``constraints.txt``, and effective."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.lock import split

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def pinned(path: Path) -> dict[str, str]:
    """Return the version of each package in a requirement file, or in ``constraints.txt``."""
    lines = re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==([^\s;]+)", path.read_text(), re.M)
    return {canonicalize_name(name): version for name, version in lines}


def test_lock_has_the_versions_of_the_constraints() -> None:
    tested = pinned(ROOT / "constraints.txt")
    for name in ("requirements.txt", "torch.txt", "torch-cpu.txt"):
        locked = pinned(DEPLOY / name)
        assert locked
        assert not {
            package: (version, tested[package])
            for package, version in locked.items()
            if tested.get(package, version) != version
        }


def test_lock_has_every_direct_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    direct = [*project["dependencies"], *extras["pipeline"], *extras["excel"], *extras["s3"]]
    locked = pinned(DEPLOY / "requirements.txt") | pinned(DEPLOY / "torch.txt")
    for requirement in map(Requirement, direct):
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("name", ["requirements.txt", "torch.txt", "torch-cpu.txt"])
def test_every_package_has_hashes_and_no_address(name: str) -> None:
    text = (DEPLOY / name).read_text()
    packages = split(text)
    assert packages
    assert all("--hash=sha256:" in package for package in packages)
    assert "://" not in text


@pytest.mark.slow
def test_file_with_another_hash_is_refused(tmp_path: Path) -> None:
    packages = [t for t in split((DEPLOY / "requirements.txt").read_text()) if t[:5] == "idna="]
    path = tmp_path / "requirements.txt"
    options = ("--no-deps", "--require-hashes", "--no-cache-dir", "--dest", str(tmp_path))
    download = [sys.executable, "-m", "pip", "download", "-r", str(path), *options]
    path.write_text("".join(packages))
    subprocess.run(download, check=True, capture_output=True)
    (tmp_path / next(tmp_path.glob("idna*")).name).unlink()
    path.write_text(re.sub(r"sha256:\w{8}", "sha256:01234567", packages[0]))
    done = subprocess.run(download, capture_output=True, text=True)
    assert done.returncode == 1
    assert "DO NOT MATCH THE HASHES" in done.stderr
