from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

HOLDER = """
import sys, time
from pathlib import Path
from tasks.stage_lock import only_one
with only_one("train", Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
print("done", flush=True)
"""


def start(path: Path, seconds: float) -> subprocess.Popen[str]:
    """Start a process that holds a lock for some seconds."""
    command = [sys.executable, "-c", HOLDER, str(path), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_second_run_of_a_stage_waits_with_a_message(tmp_path: Path) -> None:
    first = start(tmp_path / "lock", 2)
    assert first.stdout is not None and first.stdout.readline() == "held\n"
    second = start(tmp_path / "lock", 0)
    output = second.communicate(timeout=30)[0]
    assert output.startswith("train: waiting for another process that runs this stage")
    assert first.poll() == 0
    first.stdout.close()


def test_lock_of_a_killed_run_is_released(tmp_path: Path) -> None:
    first = start(tmp_path / "lock", 60)
    assert first.stdout is not None and first.stdout.readline() == "held\n"
    first.send_signal(signal.SIGKILL)
    first.communicate()
    second = start(tmp_path / "lock", 0)
    assert second.communicate(timeout=30)[0] == "held\ndone\n"
