"""Checks of the paths that a user names for results, so that nothing of theirs is replaced.

Files of a project (``semigen.artifacts.Layout``) need no check: they are the pipeline's own.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

from semigen.errors import UserError
from semigen.params.explain import PARQUET_SUFFIXES, TABLE_SUFFIXES

MAX_NAMES = 3
"""Files that a message names."""


def check_output_file(path: Path, *, inputs: Iterable[Path] = (), overwrite: bool = False) -> None:
    """Check that a file may be written.

    Args:
        path: The file.
        inputs: Files that are read to make it.
        overwrite: Whether an existing regular file may be replaced.

    Raises:
        UserError: If the path is an input, a folder, a link or a device, or an existing file that
            may not be replaced, or its suffix is that of a format which is only read.

    Examples:
        >>> from pathlib import Path
        >>> check_output_file(Path("."))
        Traceback (most recent call last):
        semigen.errors.UserError: .: a folder, which is never replaced; name a file
    """
    written = (".csv", ".tsv", *PARQUET_SUFFIXES)
    read_only = set(TABLE_SUFFIXES).difference(written).intersection(path.suffixes)
    if read_only:
        raise UserError(f"{path}: {min(read_only)} files are only read; write CSV or Parquet")
    kind = _kind(path)
    if kind is None:
        return
    if kind != "file":
        raise UserError(f"{path}: a {kind}, which is never replaced; name a file")
    for source in inputs:
        if source.exists() and path.samefile(source):
            raise UserError(f"{path}: both input and output; name another file to write")
    if not overwrite:
        raise UserError(f"{path}: exists already; name another file, or overwrite it with --force")


def check_output_folder(folder: Path, marker: str) -> None:
    """Check that a folder may be written or replaced.

    Args:
        folder: The folder.
        marker: Name of a file that shows that the folder holds an earlier result of the same kind.

    Raises:
        UserError: If the path is a file, a link or a device, or a folder with other content.
    """
    kind = _kind(folder)
    if kind is None:
        return
    if kind != "folder":
        raise UserError(f"{folder}: a {kind}, which is never replaced; name a folder")
    names = sorted(path.name for path in folder.iterdir())
    if names and marker not in names:
        listed = ", ".join(names[:MAX_NAMES]) + (", …" if len(names) > MAX_NAMES else "")
        raise UserError(
            f"{folder}: holds other files ({listed}) and no {marker}, so it is not replaced; name "
            "a new or empty folder"
        )


def _kind(path: Path) -> str | None:
    """Return what a path is: file, folder, link or device; None if there is nothing."""
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISLNK(mode):
        return "link"
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "device"
