"""``semigen repro``: ``dvc repro``, after checks, and after repairing what a killed run left."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from flows.pipeline.repair import LOCK_FILE, is_complete
from semigen.artifacts import Layout, check_files
from semigen.errors import UserError
from semigen.params.config import Params
from tasks.unaccepted import journal_of


def main(argv: Sequence[str] | None = None) -> None:
    layout = Layout()
    try:
        repair_project(layout)
        check_files(Params.load(layout.params).data, layout)
    except UserError as error:
        sys.exit(f"error: {error}")
    arguments = sys.argv[1:] if argv is None else argv
    os.execv(sys.executable, [sys.executable, "-m", "dvc", "repro", *arguments])


def repair_project(layout: Layout) -> None:
    """Restore the files of a run that was killed before it was accepted, and repair ``dvc.lock``.

    Raises:
        UserError: If ``dvc.lock`` has a merge conflict, or a file cannot be restored.
    """
    if journal_of(layout).exists():
        from flows.pipeline.trial import Trial  # importing DVC takes long

        with Trial(layout, lambda line: print(line, flush=True)):
            pass
    if not is_complete(layout.root / LOCK_FILE):
        from flows.pipeline.dvc_graph import open_repo

        with open_repo(layout.root):  # repairs the file
            sys.stdout.flush()


if __name__ == "__main__":
    main()
