"""Tables that are named on the command line, as parameters."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

CALLED_FROM = "SEMIGEN_CALLED_FROM"
"""Environment variable with the folder from which a command was called: relative paths on its
command line start there, while the command itself runs in the project's folder."""


def table_overrides(arguments: argparse.Namespace, root: Path) -> list[str]:
    """Return the overrides for the tables and the target that are arguments of ``semigen run``.

    Args:
        arguments: Parsed arguments with ``labeled``, ``unlabeled``, ``test`` and ``target``, each
            None if it was not given. A labeled table alone is the unlabeled table too.
        root: Folder of the project.

    Examples:
        >>> arguments = argparse.Namespace(labeled="a.csv", unlabeled=None, test=None, target="y")
        >>> table_overrides(arguments, Path.cwd())
        ['data.labeled="a.csv"', 'data.unlabeled="a.csv"', 'data.target="y"']
    """
    given = {
        "data.labeled": _path(arguments.labeled, root),
        "data.unlabeled": _path(arguments.unlabeled or arguments.labeled, root),
        "data.test": _path(arguments.test, root),
        "data.target": arguments.target,
    }
    return [f"{name}={quoted(value)}" for name, value in given.items() if value is not None]


def _path(name: str | None, root: Path) -> str | None:
    """Return a path as ``params.yaml`` has it: relative to the project if it is inside."""
    if name is None:
        return None
    called_from = os.environ.get(CALLED_FROM, ".")
    path = Path(os.path.abspath(Path(called_from, name)))  # noqa: PTH100 - links stay
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def quoted(value: str) -> str:
    r"""Return a value in Hydra's grammar: quotes are escaped, and backslashes before quotes.

    Examples:
        >>> print(quoted('my "label" (2)'))
        "my \"label\" (2)"
    """
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', value)
    return '"' + re.sub(r"(\\+)$", r"\1\1", escaped) + '"'
