"""``semigen repro``: ``dvc repro``, after checks, and after files of a killed run are restored."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from semigen.artifacts import Layout, check_files
from semigen.errors import UserError
from semigen.params.config import Params
from tasks.unaccepted import journal_of


def main(argv: Sequence[str] | None = None) -> None:
    layout = Layout()
    try:
        check_files(Params.load(layout.params).data, layout)
        if journal_of(layout).exists():
            from flows.pipeline.trial import Trial  # importing DVC takes long

            with Trial(layout, lambda line: print(line, flush=True)):
                pass
    except UserError as error:
        sys.exit(f"error: {error}")
    arguments = sys.argv[1:] if argv is None else argv
    os.execv(sys.executable, [sys.executable, "-m", "dvc", "repro", *arguments])


if __name__ == "__main__":
    main()
