"""The manifest of a saved model: size and SHA-256 of every file in its folder.

A manifest shows damage: files that were changed, removed, added or mixed up. It does not show who
wrote the folder. Whoever can change a model can also write a manifest for it, so that the content
of the files is checked as well when they are loaded.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from semigen.errors import UserError
from semigen.storage.saved_files import REMEDY, list_files, read_saved_json, reading, require

MANIFEST = "manifest.json"
FORMAT = 1
"""Version of the manifest."""
LOGGER = logging.getLogger(__name__)


def write_manifest(folder: Path) -> None:
    """Write the manifest of a folder whose other files are complete.

    Examples:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "weights").write_bytes(b"1234")
        >>> write_manifest(folder)
        >>> check_manifest(folder)
        True
    """
    names = [name for name in list_files(folder) if name != MANIFEST]
    files = {name: _describe(folder / name) for name in names}
    text = json.dumps({"format": FORMAT, "files": files}, indent=2) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def check_manifest(folder: Path) -> bool:
    """Check the files of a folder against its manifest.

    Returns:
        Whether there is a manifest; models that earlier versions saved have none.

    Raises:
        UserError: If a file differs from the manifest, is missing, or is not listed; the message
            names it.
    """
    with reading(folder):
        names = set(list_files(folder))
        if MANIFEST not in names:
            return False
        listed = _read(folder / MANIFEST)
        for name in sorted(listed.keys() - names):
            raise UserError(f"{folder / name}: missing, but listed in {MANIFEST}; {REMEDY}")
        for name in sorted(names - listed.keys() - {MANIFEST}):
            raise UserError(f"{folder / name}: not listed in {MANIFEST}; {REMEDY}")
        for name, described in listed.items():
            size = (folder / name).stat().st_size
            require(
                size == described["size"],
                folder / name,
                f"has {size} bytes, but {described['size']} according to {MANIFEST}",
            )
        for name, described in listed.items():
            is_same = _describe(folder / name) == described
            require(is_same, folder / name, f"content differs from {MANIFEST} (SHA-256)")
    return True


def verify_saved(folder: Path) -> None:
    """Check a saved model against its manifest; log a note if there is none.

    Raises:
        UserError: If a file differs from the manifest.
    """
    if not check_manifest(folder):
        LOGGER.warning(
            "note: %s has no %s (saved by an earlier version of semigen), so changes of its files "
            "cannot be noticed; save the model again to add one",
            folder,
            MANIFEST,
        )


def _read(path: Path) -> dict[str, dict[str, Any]]:
    content = read_saved_json(path)
    require(content.get("format") == FORMAT, path, f"not a manifest of format {FORMAT}")
    files = content.get("files")
    is_valid = isinstance(files, dict) and all(
        isinstance(described, dict) and described.keys() == {"size", "sha256"}
        for described in files.values()
    )
    require(is_valid, path, "no list of files with their size and SHA-256")
    return dict(files or {})


def _describe(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"size": file.tell(), "sha256": digest}
