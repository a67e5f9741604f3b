"""The history of the registry: which version became champion when, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
