"""Undo a run whose first stages refuse its tables or parameters.

``-S`` changes ``params.yaml``, and DVC removes the outputs of a stage before it runs the stage. The
first stages check what the user gave. Until they have succeeded, copies of all files that they and
``-S`` change are kept in ``.semigen/trial``, from which a refusal restores the files. After a kill
the next run restores them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from flows.pipeline.dvc_graph import Stage
from flows.pipeline.overrides import Change, apply_overrides, overridden
from flows.pipeline.repair import LOCK_FILE
from flows.pipeline.retry import Log
from semigen.artifacts import (
    Layout,
    atomic_path,
    flush_to_disk,
    read_json,
    remove,
    write_json,
    write_text,
)
from tasks.stage_lock import exclusive, only_one
from tasks.unaccepted import journal_of, lock_of

FIRST_STAGES = ("sample", "validate")
"""Stages that check the parameters and tables of the user."""
REFUSED_REPORT = "reports/refused_validation.md"
"""Validation report of the last run that was refused."""


class Trial:
    """The start of a run, which is undone unless ``accept`` is called.

    Args:
        layout: The project's files.
        log: Called with a message about restored files, and before waiting for another trial.
    """

    def __init__(self, layout: Layout, log: Log) -> None:
        self._layout, self._log = layout, log
        self._journal = journal_of(layout)
        self._parameters = self._journal / "params.json"
        self._outputs = self._journal / "outputs"
        self._exit = contextlib.ExitStack()
        self._is_open = False

    def __enter__(self) -> Trial:
        waiting = "waiting for the first stages of another run"
        self._exit.enter_context(exclusive(lock_of(self._layout), waiting, self._log))
        self._is_open = True
        if self._journal.exists():
            self._log("the last run was killed before its first stages accepted its parameters")
            with self._without_stages():
                self._restore()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._is_open:
            self._restore()
            self._close()

    def set_parameters(self, overrides: Sequence[str]) -> list[Change]:
        """Write overrides into ``params.yaml``, and return the changes.

        Raises:
            UserError: As ``overridden``. The file is then not changed.
        """
        if not overrides:
            return []
        path = self._layout.params
        written, before = overridden(overrides, path), path.read_text(encoding="utf-8")
        write_json(self._parameters, {"before": before, "written": written})
        return apply_overrides(overrides, path)

    def protect(self, stages: Sequence[Stage]) -> None:
        """Copy the outputs of stages that are about to run, and DVC's record of all outputs."""
        if not stages:
            return
        outputs = [path for stage in stages for path in (*stage.cached, *stage.in_git)]
        timings = self._layout.timings.relative_to(self._layout.root).as_posix()
        with atomic_path(self._outputs) as folder:
            (folder / "files").mkdir(parents=True)
            for i, name in enumerate(paths := [*outputs, LOCK_FILE, timings]):
                _copy(self._layout.root / name, folder / "files" / str(i))
            write_json(folder / "paths.json", paths)

    def accept(self) -> None:
        """Keep all changes. A second call has no effect."""
        if self._is_open:
            self._forget()
            self._close()

    def refuse(self, message: str) -> str:
        """Undo all changes and return the message of the refusal.

        A validation report of the refused tables is kept as ``REFUSED_REPORT``, and the message
        refers to that file.
        """
        if not self._is_open:
            return message
        page = self._layout.validation_markdown
        name = page.relative_to(self._layout.root).as_posix()
        if name in message and page.exists():
            write_text(self._layout.root / REFUSED_REPORT, page.read_text(encoding="utf-8"))
            message = message.replace(name, REFUSED_REPORT)
        self._restore()
        self._close()
        return message

    def _restore(self) -> None:
        """Restore all files. May be called again after a kill."""
        if self._outputs.exists():
            for i, name in enumerate(read_json(self._outputs / "paths.json")):
                saved, path = self._outputs / "files" / str(i), self._layout.root / name
                if saved.exists():
                    with atomic_path(path) as temporary:
                        _copy(saved, temporary)
                else:
                    remove(path)
        if self._parameters.exists():
            content, path = read_json(self._parameters), self._layout.params
            if path.read_text(encoding="utf-8") == content["written"]:
                write_text(path, content["before"])
                self._log("params.yaml  restored")
        self._forget()

    def _forget(self) -> None:
        """Remove the journal, by one rename so that it is never incomplete."""
        if self._journal.exists():
            done = self._journal.with_name("trial.done")
            remove(done)
            os.replace(self._journal, done)
            flush_to_disk(self._journal.parent, recursive=False)
            remove(done)

    def _close(self) -> None:
        self._is_open = False
        self._exit.close()

    @contextlib.contextmanager
    def _without_stages(self) -> Iterator[None]:
        """Wait for stages that outlived the killed run."""
        with contextlib.ExitStack() as stack:
            for name in FIRST_STAGES:
                stack.enter_context(only_one(name, self._layout.lock(name)))
            yield


def _copy(source: Path, destination: Path) -> None:
    """Copy a file or folder, if it exists, with its modification times."""
    if source.is_dir():
        shutil.copytree(source, destination)
    elif source.exists():
        shutil.copy2(source, destination)
