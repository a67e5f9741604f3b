"""Progress of long work: a bar on a terminal, a line every few seconds elsewhere, and a file."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from semigen.artifacts import write_json

SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_FILES = 1.0


class Progress:
    """Shows the epochs of a training.

    Args:
        title: What is being trained.
        stream: Where to show it; None shows nothing.
        file: JSON file for those who watch from another process; None writes none.
    """

    def __init__(
        self, title: str, stream: TextIO | None = sys.stdout, file: Path | None = None
    ) -> None:
        self.title, self.stream, self.file = title, stream, file
        self.printed_at = time.monotonic()
        self.written_at = -SECONDS_BETWEEN_FILES
        self.bar: RichProgress | None = None
        self.task: TaskID | None = None

    @classmethod
    def silent(cls) -> Progress:
        return cls("", stream=None)

    def __enter__(self) -> Progress:
        if self.stream is not None and self.stream.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
            self.bar = RichProgress(*columns, console=Console(file=self.stream))
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.stop()
        if self.file is not None:
            self.file.unlink(missing_ok=True)

    def resumed(self, n_done: int, n_epochs: int) -> None:
        """Say that training goes on after epochs of an earlier attempt, if there were any."""
        if n_done and self.stream is not None:
            text = f"{self.title}: goes on after epoch {n_done}/{n_epochs} of an earlier attempt"
            print(text, file=self.stream, flush=True)

    def epoch(self, train: Sequence[float], validation: Sequence[float], n_epochs: int) -> None:
        """Show an epoch's losses; the lists end with the latest."""
        if not train:
            return
        self._write(train, validation, n_epochs)
        if self.stream is None:
            return
        held_out = f", held out {validation[-1]:.4g}" if validation else ""
        text = f"{self.title}: epoch {len(train)}/{n_epochs}, loss {train[-1]:.4g}{held_out}"
        if self.bar is not None:
            if self.task is None:
                self.task = self.bar.add_task(text, total=n_epochs)
            self.bar.update(self.task, completed=len(train), description=text)
        elif time.monotonic() - self.printed_at >= SECONDS_BETWEEN_LINES:
            print(text, file=self.stream, flush=True)
            self.printed_at = time.monotonic()

    def _write(self, train: Sequence[float], validation: Sequence[float], n_epochs: int) -> None:
        if self.file is None or time.monotonic() - self.written_at < SECONDS_BETWEEN_FILES:
            return
        self.written_at = time.monotonic()
        losses = {"train": _finite(train), "validation": _finite(validation)}
        write_progress(self.file, len(train), n_epochs, "epoch", **losses)


def write_progress(file: Path, done: int, total: int, unit: str, **more: Any) -> None:
    """Write how far a stage is, for those who watch from another process.

    Args:
        file: Where; see ``Layout.progress``.
        done: Units that are done.
        total: All units.
        unit: What is counted, in the singular.
        more: What else there is to say, such as losses by epoch.
    """
    write_json(file, {"done": done, "total": total, "unit": unit, **more})


def _finite(losses: Sequence[float]) -> list[float | None]:
    return [loss if math.isfinite(loss) else None for loss in losses]
