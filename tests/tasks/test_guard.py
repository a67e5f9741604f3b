from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tasks.guard import OWNER, owner_of_children

SLEEPER = """
import sys, time
from pathlib import Path
from tasks.guard import end_with_parents
end_with_parents()
Path(sys.argv[1]).write_text("ready")
try:
    time.sleep(60)
except KeyboardInterrupt:
    Path(sys.argv[1]).write_text("tidied")
"""
HOLDER = """
import sys, time
from pathlib import Path
from tasks.guard import only_one
with only_one("train", Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
print("done", flush=True)
"""


def wait_for(path: Path, text: str) -> None:
    deadline = time.monotonic() + 20
    while not (path.exists() and path.read_text() == text):
        assert time.monotonic() < deadline, f"{path} does not say {text!r}"
        time.sleep(0.05)


def start(code: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_ends_with_its_owner(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    name = f"{owner.pid}:{psutil.Process(owner.pid).create_time()}"
    child = start(SLEEPER, tmp_path / "state", **{OWNER: name})
    wait_for(tmp_path / "state", "ready")
    owner.kill()
    owner.wait()
    wait_for(tmp_path / "state", "tidied")
    assert child.wait(timeout=20) == 0


def test_ends_with_its_parent(tmp_path: Path) -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"
    parent = start(code, SLEEPER, tmp_path / "state")
    wait_for(tmp_path / "state", "ready")
    (child,) = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    wait_for(tmp_path / "state", "tidied")
    assert not child.is_running() or child.wait(timeout=20) is None


@pytest.mark.parametrize("owner", ["999999999:1.0", f"{os.getpid()}:1.0"])
def test_owner_that_is_gone_or_whose_number_another_has_ends_it(tmp_path: Path, owner: str) -> None:
    child = start(SLEEPER, tmp_path / "state", **{OWNER: owner})
    assert child.wait(timeout=20) in {0, -signal.SIGINT}


def test_living_owner_keeps_it(tmp_path: Path) -> None:
    child = start(SLEEPER, tmp_path / "state", **{OWNER: owner_of_children()})
    wait_for(tmp_path / "state", "ready")
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(timeout=2)
    child.kill()
    child.wait()


def test_second_run_of_a_stage_waits_and_says_so(tmp_path: Path) -> None:
    first = start(HOLDER, tmp_path / "lock", 2)
    assert first.stdout is not None and first.stdout.readline() == "held\n"
    second = start(HOLDER, tmp_path / "lock", 0)
    output = second.communicate(timeout=30)[0]
    assert output.startswith("train: waiting for another process that runs this stage")
    assert first.poll() == 0
    first.stdout.close()


def test_lock_of_a_killed_run_is_free(tmp_path: Path) -> None:
    first = start(HOLDER, tmp_path / "lock", 60)
    assert first.stdout is not None and first.stdout.readline() == "held\n"
    first.send_signal(signal.SIGKILL)
    first.communicate()
    second = start(HOLDER, tmp_path / "lock", 0)
    assert second.communicate(timeout=30)[0] == "held\ndone\n"
