"""Tables that are named on the command line, as parameters."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from semigen.params.config import PARTS, gathered

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
        ['data.labeled="a.csv"', 'sources.labeled=[]', 'data.unlabeled="a.csv"',
         'sources.unlabeled=[]', 'data.target="y"']
    """
    overrides = []
    for part in PARTS:
        if (table := getattr(arguments, part)) is not None:
            overrides += _table(part, table, root)
    if arguments.labeled is not None and arguments.unlabeled is None:
        path = overrides[0].partition("=")[2]
        overrides += [f"data.unlabeled={path}", "sources.unlabeled=[]"]
    if arguments.target is not None:
        overrides.append(f"data.target={quoted(arguments.target)}")
    return overrides


def _table(part: str, table: str, root: Path) -> list[str]:
    """Return the overrides for one table; patterns, URLs and queries are gathered first."""
    from semigen.tables.gather import URL, is_gathered  # importing pandas takes long

    if URL.match(table):
        source = table
    else:
        source = _path(table, root)
        if not is_gathered(str(root / source)):
            return [f"data.{part}={quoted(source)}", f"sources.{part}=[]"]
    return [f"data.{part}={gathered(part)}", f"sources.{part}=[{quoted(source)}]"]


def _path(name: str, root: Path) -> str:
    """Return a path as ``params.yaml`` has it: relative to the project if it is inside."""
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
