"""Progress of long work: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Shows the epochs of a training.

    Args:
        title: What is being trained.
        stream: Where to show it; None shows nothing.
    """

    def __init__(self, title: str, stream: TextIO | None = sys.stdout) -> None:
        self.title, self.stream = title, stream
        self.printed_at = time.monotonic()
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

    def epoch(self, train: Sequence[float], validation: Sequence[float], n_epochs: int) -> None:
        """Show an epoch's losses; the lists end with the latest."""
        if self.stream is None or not train:
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
