"""Finalizers of garbage do not run in the thread of the event loop."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys, threading, time

class Resource:
    def __init__(self):
        self.itself = self  # only the garbage collector frees it
    def __del__(self):
        finalized_in.append(threading.current_thread().name)

finalized_in = []
deadline = time.monotonic() + 20
while not finalized_in and time.monotonic() < deadline:
    garbage = [Resource() for _ in range(100_000)]  # a hundred times the collector's threshold
    time.sleep(0.2)
print(sys.argv[1:], set(finalized_in))
"""


def test_garbage_is_collected_in_another_thread(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "tasks.background_gc", "program", "argument"]
    environment = {"PYTHONPATH": f"{Path(__file__).parents[2]}:{tmp_path}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "['argument'] {'garbage'}\n", done.stderr
