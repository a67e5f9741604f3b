"""Remove truncated files of a DVC process that was killed or ran out of disk space.

DVC writes ``dvc.lock`` and ``rwlock``, its list of processes that read and write files, in place.
If either is truncated, every later run fails. Neither is needed: outputs and their dependencies are
in DVC's cache, and the processes in the list have exited.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import yaml
from dvc.lock import make_lock
from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK

from flows.pipeline.retry import Log
from semigen.errors import UserError

LOCK_FILE = "dvc.lock"
DAMAGED = ".semigen/damaged_dvc.lock"
"""Copy of the last ``dvc.lock`` that could not be parsed."""
CONFLICT_MARKERS = (b"<<<<<<< ", b"||||||| ", b">>>>>>> ")


def repair(repo: Any, log: Log = print) -> None:
    """Move a truncated ``dvc.lock`` away; remove entries of exited processes from ``rwlock``.

    Args:
        repo: DVC's object of the project, which waits for locks.
        log: Called with a message about a file that was moved.

    Raises:
        UserError: If ``dvc.lock`` has a merge conflict, which only the user can resolve.
    """
    path = Path(repo.root_dir) / LOCK_FILE
    if not is_complete(path):
        with repo.lock:  # the process that holds it may be writing
            if not is_complete(path):
                reject_conflict(path)
                kept = path.parent / DAMAGED
                kept.parent.mkdir(exist_ok=True)
                path.replace(kept)
                log(
                    f"{LOCK_FILE}: truncated by a killed process or a full disk; DVC recreates it, "
                    f"the old file is {DAMAGED}"
                )
    rwlock = Path(repo.tmp_dir) / RWLOCK_FILE if repo.tmp_dir else None
    if rwlock is not None and not is_clean(rwlock):
        with _lock_of(repo, rwlock):
            if not is_clean(rwlock):
                _remove_stale_entries(rwlock)


def is_complete(path: Path) -> bool:
    """Return whether a ``dvc.lock`` can be parsed or does not exist."""
    try:
        with path.open(encoding="utf-8") as file:
            content = yaml.load(file, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except FileNotFoundError:
        return True
    except (yaml.YAMLError, UnicodeDecodeError):
        return False
    return isinstance(content, dict) and "schema" in content and "stages" in content


def reject_conflict(path: Path) -> None:
    """Raise ``UserError`` if git left a merge conflict in a file."""
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if line.startswith(CONFLICT_MARKERS):
            raise UserError(
                f"{path.name}: line {number} is a marker of a merge conflict; resolve the "
                f"conflict, e.g. `git checkout --ours {path.name}`, then run again"
            )


def is_clean(rwlock: Path) -> bool:
    """Return whether ``rwlock`` can be parsed and lists running processes only."""
    try:
        content = json.loads(rwlock.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return True
    except ValueError:
        return False
    written = rwlock.stat().st_mtime
    return all(is_holder(entry, written) for entry in _entries(content))


def is_holder(entry: dict[str, Any], written: float) -> bool:
    """Return whether the process of an entry is the one that created the entry.

    DVC checks only whether a process with that id exists. In a container that was restarted there
    often is one.

    Args:
        entry: Process id and command.
        written: Modification time of ``rwlock``, in seconds since the epoch.
    """
    try:
        process = psutil.Process(entry["pid"])
        arguments = entry["cmd"].partition(" ")[2]  # the program may have another path
        is_same = " ".join(process.cmdline()).endswith(arguments)
        return is_same and process.create_time() <= written
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # of another user
        return True


def _entries(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from content.get("write", {}).values()
    for readers in content.get("read", {}).values():
        yield from readers


def _lock_of(repo: Any, rwlock: Path) -> contextlib.AbstractContextManager[Any]:
    lock: contextlib.AbstractContextManager[Any] = make_lock(
        str(rwlock.with_name(RWLOCK_LOCK)),
        tmp_dir=repo.tmp_dir,
        hardlink_lock=repo.config["core"].get("hardlink_lock", False),
        wait=True,
    )
    return lock


def _remove_stale_entries(rwlock: Path) -> None:
    """Remove the entries of processes that have exited, or the file if it cannot be parsed."""
    try:
        content = json.loads(rwlock.read_text(encoding="utf-8"))
    except ValueError:
        rwlock.unlink()
        return
    written = rwlock.stat().st_mtime
    readers = {
        path: [entry for entry in entries if is_holder(entry, written)]
        for path, entries in content.get("read", {}).items()
    }
    kept = {
        "write": {p: e for p, e in content.get("write", {}).items() if is_holder(e, written)},
        "read": {path: entries for path, entries in readers.items() if entries},
    }
    rwlock.write_text(json.dumps(kept), encoding="utf-8")
