"""Progress of a running stage in the Prefect UI: a progress bar and a learning curve.

Stages do not depend on Prefect. They write a file (``semigen.training.progress``), which this
module reads.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import httpx
from prefect import get_client, get_run_logger
from prefect.artifacts import (
    create_image_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.settings import PREFECT_API_URL

from flows.display.publish import DRAWING, data_uri
from semigen.artifacts import Layout, read_json

POLL_SECONDS = 1.0
DRAW_SECONDS = 5.0
"""Minimum time between two plots of a curve, which take a quarter of a second each."""
JOIN_SECONDS = 10.0
"""Timeout of the last update; a server that does not answer must not delay the run."""


@contextlib.contextmanager
def show_progress(stage: str, layout: Layout) -> Iterator[None]:
    """Show the progress of a stage in the current task run while the block runs.

    Nothing is shown if the stage writes no progress file, or with a temporary server. Errors are
    logged and do not affect the stage.
    """
    if not PREFECT_API_URL.value():
        yield
        return
    display = Display(stage, layout.progress(stage))
    thread = threading.Thread(
        target=contextvars.copy_context().run, args=(display.run,), daemon=True
    )
    thread.start()
    try:
        yield
        display.has_succeeded = True
    finally:
        display.stop.set()
        thread.join(JOIN_SECONDS)


class Display:
    """Artifacts of one stage, which are updated from its progress file.

    Args:
        stage: Name of the stage; the keys of the artifacts start with it.
        file: The file of ``semigen.training.progress.write_progress``. If it exists already, its
            present content is of an earlier run and is not shown.
    """

    def __init__(self, stage: str, file: Path) -> None:
        self.stage, self.file = stage, file
        self.stop, self.has_succeeded = threading.Event(), False
        self.seen = _modified(file)
        self.drawn_at = -DRAW_SECONDS
        self.bar: UUID | None = None
        self.curve: UUID | None = None

    def run(self) -> None:
        """Read the file repeatedly until ``stop`` is set."""
        try:
            while not self.stop.wait(POLL_SECONDS):
                with contextlib.suppress(httpx.HTTPError):  # the server may be restarting
                    self._update()
            if self.has_succeeded:
                self._close()
        except Exception as error:  # of client, server or plots; the stage must go on
            get_run_logger().warning("progress of %s is not shown any more: %s", self.stage, error)

    def _update(self) -> None:
        modified = _modified(self.file)
        if modified in (None, self.seen):
            return
        try:
            found = read_json(self.file)
        except FileNotFoundError:  # the stage has just finished
            return
        self.seen = modified
        percent, text = 100 * found["done"] / found["total"], describe(found)
        if self.bar is None:
            made = create_progress_artifact(percent, key=f"{self.stage}-progress", description=text)
            self.bar = cast(UUID, made)  # a coroutine only where this is called from one
        else:
            update_progress_artifact(self.bar, percent, description=text)
        if time.monotonic() - self.drawn_at >= DRAW_SECONDS:
            self._draw(found, text)

    def _draw(self, found: Mapping[str, Any], text: str) -> None:
        with DRAWING:
            png = draw(found)
        if png is None:
            return
        self.drawn_at = time.monotonic()
        if self.curve is None:
            made = create_image_artifact(data_uri(png), key=f"{self.stage}-live", description=text)
            self.curve = cast(UUID, made)
            return
        with get_client(sync_client=True) as client:
            update = ArtifactUpdate(data=data_uri(png), description=text)
            client.update_artifact(self.curve, update)

    def _close(self) -> None:
        """Complete the bar, and delete the curve, which the plot of the final result replaces."""
        if self.bar is not None:
            update_progress_artifact(self.bar, 100.0, description="done")
        if self.curve is not None:
            with get_client(sync_client=True) as client:
                client.delete_artifact(self.curve)


def describe(found: Mapping[str, Any]) -> str:
    """Return the content of a progress file: ``epoch 12 of 60: loss 23.1, held out 24.2``."""
    text = f"{found['unit']} {found['done']} of {found['total']}"
    facts = [found["at"]] if "at" in found else []
    for name, meaning in (("train", "loss"), ("validation", "held out")):
        values = found.get(name)
        if values and values[-1] is not None:
            facts.append(f"{meaning} {values[-1]:.4g}")
    return f"{text}: {', '.join(facts)}" if facts else text


def draw(found: Mapping[str, Any]) -> bytes | None:
    """Return a plot of a progress file, None if there is nothing to plot yet."""
    if len(found.get("train", ())) > 1:
        import pandas as pd

        from semigen.report.plots import curves_png

        losses = {name: found[name] for name in ("train", "validation") if found.get(name)}
        table = pd.DataFrame({"epoch": range(1, len(found["train"]) + 1), **losses})
        return curves_png(table.astype(float))
    if found.get("log_loss"):
        from semigen.report.plots import tried_png

        return tried_png(found["log_loss"])
    return None


def _modified(file: Path) -> int | None:
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return None
