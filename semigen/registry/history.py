"""The history of the registry: which version became champion when, and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from semigen.errors import UserError
from semigen.registry.versions import is_version_name
from semigen.storage.saved_files import read_saved_json, reading

Move = Literal["promoted", "kept", "rolled back"]


@dataclass(frozen=True)
class Event:
    """One entry of the history.

    Attributes:
        time: Time of the event, ISO 8601 in UTC.
        move: ``promoted``, ``kept`` (a challenger that did not become champion) or ``rolled back``.
        version: Version that the event is about.
        replaced: Former champion; None if the event replaced none.
        trigger: What started the run, e.g. ``by hand`` or ``schedule``.
        reason: Explanation for the user.

    Examples:
        >>> Event("2026-01-01T00:00:00+00:00", "promoted", "v0001", None, "by hand", "first").move
        'promoted'
    """

    time: str
    move: Move
    version: str
    replaced: str | None
    trigger: str
    reason: str


def read_history(path: Path) -> tuple[Event, ...]:
    """Return the events of ``champion.json``, the oldest first; there is at least one.

    Raises:
        UserError: If the file is damaged or has no event.
    """
    with reading(path):
        content: Any = read_saved_json(path).get("history")
        events = TypeAdapter(tuple[Event, ...]).validate_python(content)
        for event in events:
            if not is_version_name(event.version):
                raise ValueError(f"{event.version!r} is no name of a version")
    if not events:
        raise UserError(
            f"{path}: no event in the history, which every registry has; restore the file from a "
            "copy, or move the folder away to start a new registry"
        )
    return events


def succession(history: tuple[Event, ...]) -> list[str]:
    """Return the champions that rollbacks go back through, the present champion last.

    A promotion appends a version. A rollback removes all versions after the one that it returns to,
    so that a second rollback goes one version further back.
    """
    line: list[str] = []
    for event in history:
        if event.move == "rolled back" and event.version in line:
            del line[line.index(event.version) :]
        if event.move != "kept":
            line.append(event.version)
    return line


def was_rolled_back(history: tuple[Event, ...], name: str) -> bool:
    """Return whether the latest event about a version is a rollback that replaced it."""
    events = [event for event in history if name in (event.version, event.replaced)]
    return bool(events) and events[-1].replaced == name and events[-1].move == "rolled back"
