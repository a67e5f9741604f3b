"""Progress of a training: a bar on a terminal, log lines elsewhere, and a JSON file."""

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
    """Reports the epochs of a training.

    Args:
        title: Name of the training, such as the stage.
        stream: Output stream; None prints nothing. On a terminal a progress bar is shown, otherwise
            a line every few seconds.
        file: JSON file from which other processes read the progress; None writes none. It is
            removed at the end.

    Examples:
        >>> import sys
        >>> with Progress("pretrain", sys.stdout) as progress:
        ...     progress.resumed(3, 60)
        pretrain: resuming after epoch 3/60 of an earlier attempt
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
        """Return a progress that prints nothing."""
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
        """Report that training resumes after ``n_done`` epochs; nothing if there are none."""
        if n_done and self.stream is not None:
            text = f"{self.title}: resuming after epoch {n_done}/{n_epochs} of an earlier attempt"
            print(text, file=self.stream, flush=True)

    def restarted(self) -> None:
        """Report that a checkpoint was not used, because other code wrote it."""
        if self.stream is not None:
            text = f"{self.title}: starting again, because other code wrote the checkpoint"
            print(text, file=self.stream, flush=True)

    def epoch(self, train: Sequence[float], validation: Sequence[float], n_epochs: int) -> None:
        """Report the losses of an epoch.

        Args:
            train: Training losses of all epochs so far.
            validation: Held-out losses of all epochs so far; empty without held-out rows.
            n_epochs: Maximum number of epochs.
        """
        if not train:
            return
        self._write(train, validation, n_epochs)
        if self.stream is None:
            return
        held_out = f", held-out loss {validation[-1]:.4g}" if validation else ""
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
    """Write the progress of a stage to a file that other processes read.

    Args:
        file: JSON file; see ``Layout.progress``.
        done: Number of completed units.
        total: Number of all units.
        unit: Name of a unit, singular, such as ``epoch``.
        more: Further entries, such as losses by epoch.
    """
    write_json(file, {"done": done, "total": total, "unit": unit, **more}, durable=False)


def _finite(losses: Sequence[float]) -> list[float | None]:
    return [loss if math.isfinite(loss) else None for loss in losses]
