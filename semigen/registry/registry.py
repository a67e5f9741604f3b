"""The classifiers that were candidates, which of them is the champion, and how that came about.

.. code-block:: text

    models/registry/
        champion.json                  who is champion, and all that happened
        versions/v0001/classifier/     copy of models/classifier
        versions/v0001/record.json     when and why it was made, and what was found

``champion.json`` alone says what is true. It holds the pointer and the history, so that one rename
changes both, and it is written last: a version that it does not name is the leftover of a call that
was killed, and the next call removes it. Versions never change, so whoever has asked for the
champion's folder can read it in peace while another one is promoted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from semigen.artifacts import atomic_path, read_json, remove, write_json
from semigen.errors import UserError

MAX_CHALLENGERS = 10
"""Newest versions that never were champion and are kept; champions are kept for ever."""
LOCK_SECONDS = 600.0
"""How long a call waits for another one, which holds the registry while it scores two models."""

Move = Literal["promoted", "kept", "rolled back"]


@dataclass(frozen=True)
class Event:
    """One line of the history.

    Attributes:
        time: When, ISO 8601 in UTC.
        move: What happened: ``kept`` is a challenger that did not become champion.
        version: To which version.
        replaced: The champion whose place it took; None if it took none.
        trigger: What started the run, e.g. ``by hand`` or ``schedule``.
        reason: Why it ended so.
    """

    time: str
    move: Move
    version: str
    replaced: str | None
    trigger: str
    reason: str


@dataclass(frozen=True)
class Version:
    """A registered classifier.

    Attributes:
        name: ``v0001`` and so on; no number is given twice.
        created: When it was registered, ISO 8601 in UTC.
        digest: SHA-256 of the classifier's files, see ``digest_of``.
        facts: What else was recorded, as in ``record.json``.
        folder: Where it lies, complete; it never changes.
    """

    name: str
    created: str
    digest: str
    facts: Mapping[str, Any]
    folder: Path

    @property
    def classifier(self) -> Path:
        """Folder of the classifier."""
        return self.folder / "classifier"


@dataclass(frozen=True)
class Staged:
    """A copy of a classifier that may become a version.

    Attributes:
        folder: Becomes the version's folder; files written beside ``classifier`` are kept in it.
        digest: Of the classifier's files.
    """

    folder: Path
    digest: str

    @property
    def classifier(self) -> Path:
        """Folder of the classifier."""
        return self.folder / "classifier"


class Registry:
    """The registry in a folder, which need not exist yet.

    Reading takes no lock. Whatever decides by what it read holds ``locked`` until it has written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._pointer = root / "champion.json"
        self._versions = root / "versions"
        self._lock = FileLock(root / "lock", timeout=LOCK_SECONDS)

    def history(self) -> tuple[Event, ...]:
        """Return all that happened, the oldest first.

        Raises:
            UserError: If versions are there, but the file that tells their history is not.
        """
        if self._pointer.exists():
            return tuple(Event(**event) for event in read_json(self._pointer)["history"])
        lost = sorted(self._names() - {_name(1)}, key=_number)
        if lost:  # one call can leave no more than the first version without a history
            raise UserError(
                f"{self._pointer}: no such file, though {', '.join(lost)} lie in {self._versions}; "
                "restore it, or move these folders away to start anew"
            )
        return ()

    def champion(self) -> Version | None:
        """Return the champion, or None before the first promotion."""
        line = succession(self.history())
        return self.version(line[-1]) if line else None

    def version(self, name: str) -> Version:
        """Return a version by name.

        Raises:
            UserError: If there is none of that name.
        """
        known = self._known()
        if name not in known:
            raise UserError(
                f"{self._versions}: no version {name!r}; there are: {', '.join(known) or 'none'}"
            )
        return self._read(name)

    def versions(self) -> list[Version]:
        """Return the versions that are kept, the oldest first."""
        return [self._read(name) for name in self._known()]

    def find(self, digest: str) -> Version | None:
        """Return the version whose classifier has this digest, if any."""
        return next((v for v in reversed(self.versions()) if v.digest == digest), None)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other calls and processes from changing the registry; may be nested.

        The system releases the lock of a process that ends in whatever way.

        Raises:
            UserError: If another process holds it for ``LOCK_SECONDS``.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        is_outermost = not self._lock.is_locked
        try:
            self._lock.acquire()
        except Timeout as error:
            raise UserError(
                f"{self.root}: another promotion has held {self._lock.lock_file} for "
                f"{LOCK_SECONDS:.0f} s; end it, then try again"
            ) from error
        try:
            if is_outermost:
                self._sweep()
            yield
        finally:
            self._lock.release()

    @contextlib.contextmanager
    def staged(self, classifier: Path) -> Iterator[Staged]:
        """Copy a classifier into the registry, as a version to be, gone afterwards unless added.

        Files are copied whatever they are: DVC may have made them links into its cache.

        Raises:
            UserError: If there is no classifier, or it was written while it was copied.
        """
        if not (classifier / "classifier.json").exists():
            raise UserError(f"{classifier}: no classifier here; train one with `make run`")
        with self.locked():
            self._versions.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".staged-", dir=self._versions) as scratch:
                folder = Path(scratch) / "version"
                yield Staged(folder, _copy(classifier, folder / "classifier"))

    def add(
        self,
        staged: Staged,
        facts: Mapping[str, Any],
        *,
        promoted: bool,
        trigger: str,
        reason: str,
    ) -> Version:
        """Register a staged classifier, as champion or as challenger.

        Args:
            staged: What ``staged`` yielded.
            facts: What to record of it, for JSON.
            promoted: Whether it becomes champion.
            trigger: What started the run.
            reason: Why it was promoted or not.
        """
        with self.locked():
            name, time = self._next_name(), _now()
            record = {"version": name, "created": time, "digest": staged.digest, **facts}
            write_json(staged.folder / "record.json", record)
            _sync(staged.folder)
            os.replace(staged.folder, self._versions / name)
            _sync(self._versions, inside=False)
            self._append("promoted" if promoted else "kept", name, trigger, reason, time)
            self._prune()
            return self.version(name)

    def promote(self, name: str, *, trigger: str, reason: str) -> None:
        """Make a registered version champion."""
        with self.locked():
            self._append("promoted", self.version(name).name, trigger, reason, _now())

    def rollback(self, to: str | None = None, *, trigger: str = "by hand") -> Event:
        """Give the place of the champion back to the one before it, or to a named version.

        Called again, it goes one further back.

        Raises:
            UserError: If there is none before it, or no version of that name.
        """
        with self.locked():
            line = succession(self.history())
            if to is None and len(line) < 2:
                raise UserError(
                    f"{self.root}: there is no champion before "
                    + (f"{line[-1]}; name a version with --to" if line else "the first one")
                )
            target = self.version(to or line[-2]).name
            if line and target == line[-1]:
                raise UserError(f"{self.root}: {target} is the champion already")
            return self._append("rolled back", target, trigger, "asked for", _now())

    def was_rolled_back(self, name: str) -> bool:
        """Return whether the last that is told of a version is that a rollback took its place."""
        told = [event for event in self.history() if name in (event.version, event.replaced)]
        return bool(told) and told[-1].replaced == name and told[-1].move == "rolled back"

    def _append(self, move: Move, name: str, trigger: str, reason: str, time: str) -> Event:
        """Write pointer and history in one go."""
        history = self.history()
        line = succession(history)
        replaced = line[-1] if line and move != "kept" else None
        event = Event(time, move, name, replaced, trigger, reason)
        line = succession((*history, event))
        moves = [e for e in (*history, event) if e.move != "kept"]
        content = {
            "version": line[-1] if line else None,
            "since": moves[-1].time if moves else None,
            "previous": line[-2] if len(line) > 1 else None,
            "history": [asdict(e) for e in (*history, event)],
        }
        with atomic_path(self._pointer) as temporary:
            temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
            _sync(temporary, inside=False)
        _sync(self.root, inside=False)
        return event

    def _names(self) -> set[str]:
        """Return the names of versions and of leftovers that look like one."""
        return {path.name for path in self._versions.glob("v[0-9]*")}

    def _known(self) -> list[str]:
        """Return the names of the versions that are kept, the oldest first."""
        return sorted({event.version for event in self.history()} & self._names(), key=_number)

    def _read(self, name: str) -> Version:
        folder = self._versions / name
        facts = read_json(folder / "record.json")
        return Version(name, facts.pop("created"), facts.pop("digest"), facts, folder)

    def _next_name(self) -> str:
        """Return the first name never given, also not to a version that was pruned."""
        numbers = [_number(event.version) for event in self.history()]
        return _name(max(numbers, default=0) + 1)

    def _sweep(self) -> None:
        """Remove what calls that were killed have left."""
        for path in [*self._versions.glob(".*"), *self.root.glob(".champion.json.*")]:
            remove(path)
        remove(self._versions / self._next_name())

    def _prune(self) -> None:
        """Remove the oldest challengers; a rename comes first, for a half of one is no version."""
        promoted = {event.version for event in self.history() if event.move != "kept"}
        for name in sorted(self._names() - promoted, key=_number)[:-MAX_CHALLENGERS]:
            os.replace(self._versions / name, self._versions / f".pruned-{name}")
            remove(self._versions / f".pruned-{name}")


def succession(history: tuple[Event, ...]) -> list[str]:
    """Return the champions that a rollback goes back through, the present one last.

    A promotion adds to the line. A rollback cuts it off after the version that it goes to, so that
    a second one does not return to what the first one left.
    """
    line: list[str] = []
    for event in history:
        if event.move == "rolled back" and event.version in line:
            del line[line.index(event.version) :]
        if event.move != "kept":
            line.append(event.version)
    return line


def digest_of(folder: Path) -> str:
    """Return SHA-256 of the names and contents of all files in a folder, links followed."""
    total = hashlib.sha256()
    found = os.walk(folder, followlinks=True)
    for path in sorted(Path(parent) / name for parent, _, names in found for name in names):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{content} {path.relative_to(folder).as_posix()}\n".encode())
    return total.hexdigest()


def _copy(classifier: Path, folder: Path) -> str:
    """Copy a classifier; return its digest, which is that of the copy."""
    try:
        before = digest_of(classifier)
        shutil.copytree(classifier, folder, copy_function=shutil.copyfile)
        is_same = digest_of(folder) == digest_of(classifier) == before
    except (FileNotFoundError, shutil.Error):
        is_same = False
    if not is_same:
        raise UserError(f"{classifier}: another run wrote it meanwhile; try again after that run")
    return before


def _name(number: int) -> str:
    return f"v{number:04}"


def _number(name: str) -> int:
    return int(name.removeprefix("v"))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _sync(path: Path, *, inside: bool = True) -> None:
    """Have files and folders written to disk, so that a power cut cannot undo half of them."""
    for entry in [*(path.rglob("*") if inside else ()), path]:
        descriptor = os.open(entry, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
