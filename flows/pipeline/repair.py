"""What a DVC that was killed, or whose disk was full, leaves half-written and then stumbles over.

DVC writes ``dvc.lock`` and its own books of who reads and writes what in place. Cut short, either
stops every later run. Both can do without what is lost: outputs and what they came from are in
DVC's cache, and the books are of processes that are gone.
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

LOCK_FILE = "dvc.lock"


def mend(repo: Any, log: Log = print) -> None:
    """Remove half-written files of DVC.

    Args:
        repo: The project in DVC, which waits for locks.
        log: Is told what was removed.
    """
    path = Path(repo.root_dir) / LOCK_FILE
    if not is_whole(path):
        with repo.lock:  # who holds it may be writing
            if not is_whole(path):
                path.unlink()
                log(f"{LOCK_FILE}: cut short by a killed process or a full disk; DVC makes it anew")
    books = Path(repo.tmp_dir) / RWLOCK_FILE if repo.tmp_dir else None
    if books is not None and not is_clean(books):
        with _books_guard(repo, books):
            if not is_clean(books):
                _strike_out(books)


def is_whole(path: Path) -> bool:
    """Return whether a ``dvc.lock`` can be read, or is absent."""
    try:
        with path.open(encoding="utf-8") as file:
            content = yaml.load(file, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except FileNotFoundError:
        return True
    except (yaml.YAMLError, UnicodeDecodeError):
        return False
    return isinstance(content, dict) and "schema" in content and "stages" in content


def is_clean(books: Path) -> bool:
    """Return whether DVC's books can be read and name live holders only."""
    try:
        content = json.loads(books.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return True
    except ValueError:
        return False
    written = books.stat().st_mtime
    return all(is_holder(entry, written) for entry in _entries(content))


def is_holder(entry: dict[str, Any], written: float) -> bool:
    """Return whether the process that an entry names is the one that made it.

    DVC asks only whether there is a process of that number, which in a container that was started
    anew there mostly is.

    Args:
        entry: Number and command.
        written: When the books were written last, in seconds since the epoch.
    """
    try:
        process = psutil.Process(entry["pid"])
        arguments = entry["cmd"].partition(" ")[2]  # the program itself is spelled differently
        is_same = " ".join(process.cmdline()).endswith(arguments)
        return is_same and process.create_time() <= written
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # another user's
        return True


def _entries(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from content.get("write", {}).values()
    for readers in content.get("read", {}).values():
        yield from readers


def _books_guard(repo: Any, books: Path) -> contextlib.AbstractContextManager[Any]:
    guard: contextlib.AbstractContextManager[Any] = make_lock(
        str(books.with_name(RWLOCK_LOCK)),
        tmp_dir=repo.tmp_dir,
        hardlink_lock=repo.config["core"].get("hardlink_lock", False),
        wait=True,
    )
    return guard


def _strike_out(books: Path) -> None:
    """Remove the entries of processes that are gone, or the books if they cannot be read."""
    try:
        content = json.loads(books.read_text(encoding="utf-8"))
    except ValueError:
        books.unlink()
        return
    written = books.stat().st_mtime
    readers = {
        path: [entry for entry in entries if is_holder(entry, written)]
        for path, entries in content.get("read", {}).items()
    }
    kept = {
        "write": {p: e for p, e in content.get("write", {}).items() if is_holder(e, written)},
        "read": {path: entries for path, entries in readers.items() if entries},
    }
    books.write_text(json.dumps(kept), encoding="utf-8")
