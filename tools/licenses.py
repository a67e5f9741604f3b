"""License list of the installed packages, checked against the allow list in ``pyproject.toml``."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def main(arguments: list[str] | None = None) -> int:
    """Print every package with a license that is not allowed; return 1 if there is one."""
    parser = argparse.ArgumentParser(prog="python -m tools.licenses", description=__doc__)
    parser.add_argument("--output", type=Path, help="Markdown file for the list of all licenses.")
    output = parser.parse_args(arguments).output
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(_pip_licenses("markdown", "--with-urls"), encoding="utf-8")
    packages = json.loads(_pip_licenses("json"))
    policy = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["semigen"]["licenses"]
    refused = list(unapproved(packages, set(policy["allowed"]), policy["reviewed"]))
    for package in refused:
        print(
            f"error: {package['Name']} {package['Version']}: license {package['License']!r} is not "
            "in the allow list; read it, and then allow it in pyproject.toml, [tool.semigen."
            "licenses], or replace the package",
            file=sys.stderr,
        )
    print(f"Licenses of {len(packages)} packages checked, {len(refused)} not allowed")
    return int(bool(refused))


def unapproved(
    packages: list[dict[str, str]], allowed: set[str], reviewed: dict[str, str]
) -> Iterator[dict[str, str]]:
    """Yield the packages that state a license which is neither allowed nor reviewed.

    Every license of an expression must be allowed, also of one that offers a choice.

    Args:
        packages: ``Name``, ``Version`` and ``License`` of each package.
        allowed: Names of licenses.
        reviewed: License of packages that were reviewed, exactly as the package states it.

    Examples:
        >>> packages = [{"Name": "a", "License": "MIT AND (Apache-2.0 OR GPL-3.0-only)"}]
        >>> [package["Name"] for package in unapproved(packages, {"MIT", "Apache-2.0"}, {})]
        ['a']
    """
    for package in packages:
        stated = package["License"]
        if not allowed.issuperset(_names(stated)) and reviewed.get(package["Name"]) != stated:
            yield package


def _names(stated: str) -> list[str]:
    if re.search(r" (?:AND|OR) ", stated):  # an SPDX expression
        return re.split(r" (?:AND|OR) ", re.sub("[()]", "", stated))
    return stated.split("; ")  # classifiers


def _pip_licenses(form: str, *options: str) -> str:
    command = ["-m", "piplicenses", "--from=mixed", f"--format={form}", *options]
    ignored = ("--ignore-packages", "semigen")
    done = subprocess.run(
        [sys.executable, *command, *ignored], check=True, capture_output=True, text=True
    )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
