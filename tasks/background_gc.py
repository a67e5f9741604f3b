"""``python -m tasks.background_gc MODULE ARGUMENTS``: run a module; collect garbage in a thread.

Prefect's server hangs for a minute if Python collects garbage in the thread of its event loop at
the wrong time. The garbage contains objects of SQLite, which wait for their connection, which waits
in a thread for a lock of the database (``PRAGMA busy_timeout``, 60 s). The request that holds the
lock needs the event loop. No setting of Prefect avoids this. In a thread of its own the collector
may wait, and the event loop goes on.
"""

from __future__ import annotations

import gc
import runpy
import sys
import threading
import time
from collections.abc import Sequence

YOUNG_SECONDS = 1.0
"""Time between two collections of young objects, most of the garbage."""
N_YOUNG = 30
"""Number of those for each collection of all objects."""


def collect_in_background() -> None:
    """Collect garbage in a thread only, until the process exits."""
    gc.disable()
    threading.Thread(target=_collect, daemon=True, name="garbage").start()


def _collect() -> None:
    while True:
        for _ in range(N_YOUNG):
            time.sleep(YOUNG_SECONDS)
            gc.collect(1)
        gc.collect()


def main(argv: Sequence[str]) -> None:
    collect_in_background()
    sys.argv = list(argv)
    runpy.run_module(argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
