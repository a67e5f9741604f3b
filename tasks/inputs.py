"""Check that the inputs of a stage are those that DVC recorded, before the stage reads them.

DVC trusts read-only files of its cache, and files whose size and time have not changed. If such a
file is damaged, DVC restores it and calls the project up to date. A stage would then learn from
damaged rows. Therefore every input is hashed again and compared with ``dvc.lock`` or its ``.dvc``
file, once in a run: an unchanged file that an earlier stage of the run has checked is not read.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from semigen.artifacts import Layout, make_private_folder, read_json, remove, write_json
from semigen.errors import UserError
from tasks.process_lifetime import run_id

FOLDER_SUFFIX = ".dir"
"""End of the hash of a folder, which is the hash of the list of its files."""
TEMPLATE = re.compile(r"\$\{([^}]+)\}")
Signature = list[int]


@dataclass(frozen=True)
class Recorded:
    """A file or folder as DVC recorded it.

    Attributes:
        path: The path, relative to the project.
        md5: Hash of the content.
        origin: Name of the stage that wrote it, or name of its ``.dvc`` file.
    """

    path: str
    md5: str
    origin: str

    @property
    def is_table(self) -> bool:
        """Whether it belongs to the user, and no stage can write it again."""
        return self.origin.endswith(".dvc")


def check_inputs(stage: str, layout: Layout) -> None:
    """Check the inputs of a stage of ``dvc.yaml``; see ``check_recorded``.

    Raises:
        UserError: As ``check_recorded``.
    """
    check_recorded(input_files(stage, layout), layout)


def check_recorded(names: Iterable[str], layout: Layout) -> None:
    """Check files and folders against DVC's records; those without a record are skipped.

    Args:
        names: Paths relative to the project.
        layout: The project's files.

    Raises:
        UserError: If a file differs from its record. The message names the damaged file and what
            to do. A damaged file of the cache that a stage can write again is removed.
    """
    checked = _Checked(layout)
    for recorded in find_records(names, layout):
        path = layout.root / recorded.path
        if path.exists() and checked.hash(path) != recorded.md5:
            _report(path, recorded, layout.root)
    checked.save()


def input_files(stage: str, layout: Layout) -> list[str]:
    """Return the inputs of a stage in the order of ``dvc.yaml``, without those that are not set."""
    pipeline = _read_yaml(layout.root / "dvc.yaml").get("stages", {}).get(stage, {})
    parameters = _read_yaml(layout.params)
    names = (_resolve(str(dep), parameters) for dep in pipeline.get("deps", []))
    return [name for name in names if name]


def find_records(names: Iterable[str], layout: Layout) -> list[Recorded]:
    """Return what DVC recorded about files and folders."""
    written = _outputs(layout.root / "dvc.lock")
    found = (_find(name, written, layout.root) for name in names)
    return list(dict.fromkeys(recorded for recorded in found if recorded))


def _outputs(lock: Path) -> dict[str, Recorded]:
    """Return the outputs of all stages in a ``dvc.lock``, by path; the file may be truncated."""
    stages = _read_yaml(lock).get("stages")
    entries = stages.items() if isinstance(stages, dict) else ()
    return {
        out["path"]: Recorded(out["path"], out["md5"], stage)
        for stage, entry in entries
        for out in (entry.get("outs") or [] if isinstance(entry, dict) else [])
        if _has_md5(out)
    }


def _has_md5(out: Any) -> bool:
    """Return whether an entry has the hash of DVC 3, and is not truncated."""
    if not isinstance(out, dict):
        return False
    md5 = str(out.get("md5", "")).removesuffix(FOLDER_SUFFIX)
    return out.get("hash") == "md5" and re.fullmatch("[0-9a-f]{32}", md5) is not None


def _find(name: str, written: dict[str, Recorded], root: Path) -> Recorded | None:
    """Return the record of a path, or of the tracked folder that contains it."""
    for path in (Path(name), *Path(name).parents):
        if (recorded := written.get(path.as_posix())) is not None:
            return recorded
        file = path.with_name(f"{path.name}.dvc") if path.name else path
        if file.name and (root / file).is_file():
            for out in _read_yaml(root / file).get("outs", []):
                if _has_md5(out) and out["path"] == path.name:
                    return Recorded(path.as_posix(), out["md5"], file.as_posix())
    return None


def _resolve(text: str, parameters: Any) -> str | None:
    """Return a path of ``dvc.yaml`` with its parameters; None if one is not set."""
    for name in TEMPLATE.findall(text):
        value = parameters
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is None:
            return None
        text = text.replace(f"${{{name}}}", str(value))
    return text


def _read_yaml(path: Path) -> dict[str, Any]:
    """Return the content of a YAML file; empty if there is none, or DVC cannot read it either."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), loader)
    except (FileNotFoundError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


class _Checked:
    """Hashes of the files that stages of this run have read, with size, times and inode."""

    def __init__(self, layout: Layout) -> None:
        self._file, self._run = layout.root / ".semigen" / "checked_inputs.json", run_id()
        content = read_json(self._file) if self._run and self._file.exists() else {}
        is_of_run = bool(content) and content["run"] == self._run
        self._known: dict[str, Any] = content["files"] if is_of_run else {}

    def hash(self, path: Path) -> str:
        """Return the hash of a file or folder, as DVC computes it."""
        if not path.is_dir():
            return self._hash_file(path)
        entries = [
            {"md5": self._hash_file(file), "relpath": file.relative_to(path).as_posix()}
            for file in path.rglob("*")
            if file.is_file()
        ]
        listing = json.dumps(sorted(entries, key=lambda e: e["relpath"]), sort_keys=True)
        return _new_md5(listing.encode()).hexdigest() + FOLDER_SUFFIX

    def save(self) -> None:
        if self._run:
            make_private_folder(self._file.parent)
            write_json(self._file, {"run": self._run, "files": self._known}, durable=False)

    def _hash_file(self, path: Path) -> str:
        found, signature = self._known.get(str(path)), _signature(path)
        if found is None or found["signature"] != signature:
            found = {"signature": signature, "md5": md5_of(path)}
            self._known[str(path)] = found
        return str(found["md5"])


def _signature(path: Path) -> Signature:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev]


def md5_of(path: Path) -> str:
    """Return the MD5 of a file, by which DVC identifies content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, _new_md5).hexdigest()


def _new_md5(content: bytes = b"") -> Any:
    return hashlib.md5(content, usedforsecurity=False)


def _report(path: Path, recorded: Recorded, root: Path) -> None:
    """Raise an error for an input that differs from its record.

    Returns only if merely files that DVC ignores (``.dvcignore``) were added to a folder.
    """
    cache = _cache_folder(root)
    expected = _expected_files(path, recorded, cache)
    wrong = {
        file: md5 for file, md5 in expected.items() if not file.is_file() or md5_of(file) != md5
    }
    damaged = {file: _object(cache, md5) for file, md5 in wrong.items()}
    damaged = {file: item for file, item in damaged.items() if _is_damaged(item)}
    if damaged:
        _report_damaged_cache(damaged, recorded, root)
    if wrong:
        _report_other_content(next(iter(wrong)), recorded, root)


def _report_damaged_cache(damaged: dict[Path, Path], recorded: Recorded, root: Path) -> None:
    file, item = next(iter(damaged.items()))
    found = f"{_name(file, root)}: damaged, like its copy in DVC's cache ({_name(item, root)})"
    if recorded.is_table:
        raise UserError(
            f"{found}; delete both, then run `dvc pull {recorded.path}`, or put an undamaged file "
            "there and run again"
        )
    for file, item in damaged.items():
        if file.is_file() and md5_of(file) == md5_of(item):  # otherwise the user changed it
            remove(file)
        remove(item)
    raise UserError(
        f"{found}; both were removed; run again, and stage {recorded.origin!r} writes them anew"
    )


def _report_other_content(file: Path, recorded: Recorded, root: Path) -> None:
    if recorded.is_table:
        raise UserError(
            f"{_name(file, root)}: differs from {recorded.origin}; if you changed the table, run "
            f"`dvc add {recorded.path}`; if not, it is damaged: delete it, then run `dvc checkout "
            f"{recorded.path}`"
        )
    raise UserError(
        f"{_name(file, root)}: not as stage {recorded.origin!r} wrote it (dvc.lock), so it is "
        f"damaged or was changed; delete {recorded.path} and run again, or keep the change with "
        f"`dvc commit {recorded.origin}`"
    )


def _expected_files(path: Path, recorded: Recorded, cache: Path) -> dict[Path, str]:
    """Return the hash of every file of an input, by path."""
    if not recorded.md5.endswith(FOLDER_SUFFIX):
        return {path: recorded.md5}
    listing = _object(cache, recorded.md5)
    if not listing.exists() or _is_damaged(listing):
        remove(listing)
        return {path: recorded.md5}
    return {path / entry["relpath"]: entry["md5"] for entry in json.loads(listing.read_text())}


def _object(cache: Path, md5: str) -> Path:
    """Return the path of a content in DVC's cache."""
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def _is_damaged(item: Path) -> bool:
    """Return whether a file of DVC's cache does not have the content that its name says."""
    md5 = item.parent.name + item.name.removesuffix(FOLDER_SUFFIX)
    return item.is_file() and md5_of(item) != md5


def _cache_folder(root: Path) -> Path:
    """Return the folder of DVC's cache, which users can configure."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "cache", "dir"],
        cwd=root,
        env={**os.environ, "DVC_NO_ANALYTICS": "1"},
        capture_output=True,
        text=True,
    )
    return Path(done.stdout.strip() or root / ".dvc" / "cache")


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
