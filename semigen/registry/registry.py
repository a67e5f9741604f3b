"""The registry of trained classifiers: all versions, the champion, and the history.

.. code-block:: text

    models/registry/
        champion.json                  the champion of each question, and the history
        versions/v0001/classifier/     copy of models/classifier
        versions/v0001/record.json     metrics, parameters and the decision about the version

``champion.json`` is the only source of truth. It holds the pointer and the history, so one rename
changes both, and it is written last. A version in the making has a mark until then, so that the
next call removes what a killed process left, and no version whose history is lost. Versions never
change, so the champion's files can be read while another version is promoted.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from semigen.artifacts import flush_to_disk, remove, write_json
from semigen.errors import UserError
from semigen.registry.history import Event, Move, read_history, was_rolled_back
from semigen.registry.question import (
    Lineage,
    Question,
    describe,
    find_lineage,
    lineages,
    require_lineage,
)
from semigen.registry.versions import (
    RECORD,
    Staged,
    Version,
    copy_classifier,
    is_version_name,
    verify_version,
    version_name,
    version_number,
)
from semigen.storage.saved_files import read_saved_json, reading

MAX_CHALLENGERS = 10
"""Number of challengers kept, the newest ones; former champions are never removed."""
ADDING = ".adding-"
"""Prefix of the mark of a version that is being added, beside the versions."""
LOCK_SECONDS = 600.0
"""Timeout of the lock, which another call holds while it scores two models."""


class Registry:
    """The registry in a folder, which need not exist yet.

    Reading takes no lock. Callers that decide by what they read hold ``locked`` until they have
    written.

    Args:
        root: Folder of the registry, e.g. ``models/registry``.

    Examples:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "model").mkdir()
        >>> _ = (folder / "model" / "classifier.json").write_text("{}")
        >>> registry = Registry(folder / "registry")
        >>> with registry.staged(folder / "model") as staged:
        ...     version = registry.add(staged, {}, promoted=True, trigger="by hand", reason="first")
        >>> registry.champion().name
        'v0001'
        >>> [event.move for event in registry.history()]
        ['promoted']
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._pointer = root / "champion.json"
        self._versions = root / "versions"
        self._lock = FileLock(root / "lock", timeout=LOCK_SECONDS)

    def history(self) -> tuple[Event, ...]:
        """Return all events, the oldest first.

        Raises:
            UserError: If the file with the history is damaged or lacks versions that exist.
        """
        # Another process may add a version: it writes the event last, and then removes the mark.
        found, marked = self._names(), self._marked()
        history = self._events()
        named = {event.version for event in history} | marked
        if lost := sorted(found - named, key=version_number):
            problem = "file not found" if not history else "the history lacks versions"
            raise UserError(
                f"{self._pointer}: {problem}, but {self._versions} holds {', '.join(lost)}; "
                "restore the file, or move these folders away to start a new registry"
            )
        return history

    def lineages(self) -> list[Lineage]:
        """Return the champions, grouped by question, in the order of their first promotion."""
        history = self.history()
        names = dict.fromkeys(event.version for event in history if event.move != "kept")
        return lineages([self._read(name) for name in names], history)

    def champion(self, question: Question | None = None) -> Version | None:
        """Return the champion of a question, or None before its first promotion.

        Args:
            question: The question; None for that of the latest promotion or rollback.
        """
        known = self.lineages()
        if question is None:
            moves = [event for event in self.history() if event.move != "kept"]
            lineage = next((one for one in known if moves[-1] in one.history), None)
        else:
            lineage = find_lineage(known, question)
        return lineage.champion if lineage else None

    def version(self, name: str) -> Version:
        """Return a version by name.

        Raises:
            UserError: If there is no version of that name.
        """
        known = self._known()
        if name not in known:
            raise UserError(
                f"{self._versions}: no version {name!r}; versions: {', '.join(known) or 'none'}"
            )
        return self._read(name)

    def versions(self) -> list[Version]:
        """Return the versions that are kept, the oldest first."""
        return [self._read(name) for name in self._known()]

    def find(self, digest: str) -> Version | None:
        """Return the newest version whose classifier has this digest, or None."""
        return next((v for v in reversed(self.versions()) if v.digest == digest), None)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the registry against other threads and processes; may be nested.

        The operating system releases the lock when the process ends, however it ends.

        Raises:
            UserError: If another process holds the lock for ``LOCK_SECONDS``.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        is_outermost = not self._lock.is_locked
        try:
            self._lock.acquire()
        except Timeout as error:
            raise UserError(
                f"{self.root}: another promotion has held {self._lock.lock_file} for "
                f"{LOCK_SECONDS:.0f} s; stop that process, then try again"
            ) from error
        try:
            if is_outermost:
                self._remove_leftovers()
            yield
        finally:
            self._lock.release()

    @contextlib.contextmanager
    def staged(self, classifier: Path) -> Iterator[Staged]:
        """Copy a classifier into the registry for ``add``; the copy is removed unless added.

        Links are followed, because DVC may link the files to its cache.

        Raises:
            UserError: If there is no classifier, or it was written while it was copied.
        """
        if not (classifier / "classifier.json").exists():
            raise UserError(f"{classifier}: no classifier in this folder; run `semigen run` first")
        with self.locked():
            self._versions.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".staged-", dir=self._versions) as scratch:
                folder = Path(scratch) / "version"
                yield Staged(folder, copy_classifier(classifier, folder / "classifier"))

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
            staged: The copy that ``staged`` yielded.
            facts: Content of ``record.json``, as plain types.
            promoted: Whether the version becomes champion.
            trigger: What started the run.
            reason: Why the version was promoted or not.
        """
        with self.locked():
            name, time = self._next_name(), _now()
            record = {"version": name, "created": time, "digest": staged.digest, **facts}
            write_json(staged.folder / RECORD, record)
            flush_to_disk(staged.folder)
            mark = self._versions / f"{ADDING}{name}"
            write_json(mark, name)
            os.replace(staged.folder, self._versions / name)
            flush_to_disk(self._versions, recursive=False)
            self._append("promoted" if promoted else "kept", name, trigger, reason, time)
            remove(mark)
            self._prune()
            return self.version(name)

    def promote(self, name: str, *, trigger: str, reason: str) -> None:
        """Make a registered version the champion."""
        with self.locked():
            version = self.version(name)
            verify_version(version.classifier)
            self._append("promoted", version.name, trigger, reason, _now())

    def rollback(
        self, to: str | None = None, *, trigger: str = "by hand", question: Question | None = None
    ) -> Event:
        """Make the previous champion, or a named version, the champion of its question again.

        A second rollback goes one champion further back.

        Args:
            to: Name of the version; None for the previous champion.
            trigger: Who or what requested the rollback.
            question: Question whose champion is replaced unless ``to`` is given; None if the
                registry has only one.

        Raises:
            UserError: If there is no previous champion, no version of that name, or several
                questions, or the version's files are not those that were registered.
        """
        with self.locked():
            name = self._previous(question) if to is None else to
            version = self.version(name)
            champion = self.champion(Question.of_version(version))
            if champion is not None and version.name == champion.name:
                raise UserError(f"{self.root}: {name} is the champion already")
            verify_version(version.classifier)
            return self._append("rolled back", name, trigger, "requested", _now())

    def _previous(self, question: Question | None) -> str:
        """Return the champion before the present one."""
        known = self.lineages()
        if not known:
            raise UserError(f"{self.root}: there is no champion before the first one")
        lineage = require_lineage(known, question)
        *earlier, champion = lineage.succession
        if not earlier:
            others = [one for one in known if one is not lineage]
            hint = f" (other champions: {describe(others)})" if others else ""
            raise UserError(
                f"{self.root}: there is no champion before {champion}{hint}; name a version with "
                "--to"
            )
        return earlier[-1]

    def was_rolled_back(self, name: str) -> bool:
        """Return whether the latest event about a version is a rollback that replaced it."""
        return was_rolled_back(self.history(), name)

    def _append(self, move: Move, name: str, trigger: str, reason: str, time: str) -> Event:
        """Write the pointer and the history with one rename."""
        lineage = find_lineage(self.lineages(), Question.of_version(self._read(name)))
        replaced = lineage.champion.name if lineage and move != "kept" else None
        history = (*self.history(), Event(time, move, name, replaced, trigger, reason))
        write_json(self._pointer, self._pointer_content(history))
        return history[-1]

    def _pointer_content(self, history: tuple[Event, ...]) -> dict[str, Any]:
        """Return the content of ``champion.json``, as plain types."""
        moves = [event for event in history if event.move != "kept"]
        names = dict.fromkeys(event.version for event in moves)
        known = lineages([self._read(name) for name in names], history)
        latest = next((one for one in known if moves[-1] in one.history), None)
        line = latest.succession if latest else []
        return {
            "version": line[-1] if line else None,
            "since": moves[-1].time if moves else None,
            "previous": line[-2] if len(line) > 1 else None,
            "champions": [
                {"version": one.champion.name, "question": str(one.question)} for one in known
            ],
            "history": [asdict(event) for event in history],
        }

    def _events(self) -> tuple[Event, ...]:
        """Return the events of the history file, or none if it does not exist."""
        return read_history(self._pointer) if self._pointer.exists() else ()

    def _names(self) -> set[str]:
        """Return the names of all version folders, those left by killed processes included."""
        found = (path.name for path in self._versions.glob("v[0-9]*"))
        return {name for name in found if is_version_name(name)}

    def _marked(self) -> set[str]:
        """Return the names of versions that a process is adding, or that a killed one left."""
        marks = self._versions.glob(f"{ADDING}*")
        return set(filter(is_version_name, (mark.name.removeprefix(ADDING) for mark in marks)))

    def _known(self) -> list[str]:
        """Return the names of the versions that are kept, the oldest first."""
        names = {event.version for event in self.history()} & self._names()
        return sorted(names, key=version_number)

    def _read(self, name: str) -> Version:
        folder = self._versions / name
        with reading(folder / RECORD):
            facts = read_saved_json(folder / RECORD)
            return Version(name, facts.pop("created"), facts.pop("digest"), facts, folder)

    def _next_name(self) -> str:
        """Return the first name never used, not even by a version that was removed."""
        numbers = [version_number(event.version) for event in self.history()]
        return version_name(max(numbers, default=0) + 1)

    def _remove_leftovers(self) -> None:
        """Remove the files of killed processes."""
        for name in self._marked() - {event.version for event in self._events()}:
            remove(self._versions / name)
        for path in [*self._versions.glob(".*"), *self.root.glob(".champion.json.*")]:
            remove(path)

    def _prune(self) -> None:
        """Remove the oldest challengers, after a rename, so that no version is ever incomplete."""
        promoted = {event.version for event in self.history() if event.move != "kept"}
        for name in sorted(self._names() - promoted, key=version_number)[:-MAX_CHALLENGERS]:
            os.replace(self._versions / name, self._versions / f".pruned-{name}")
            remove(self._versions / f".pruned-{name}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
