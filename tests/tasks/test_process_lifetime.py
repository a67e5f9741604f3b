from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tasks.process_lifetime import (
    OWNER,
    owner_variable,
    processes_with,
    terminate,
    terminate_group,
)

SLEEPER = """
import sys, time
from pathlib import Path
from tasks.process_lifetime import exit_with_owner
exit_with_owner()
Path(sys.argv[1]).write_text("ready")
try:
    time.sleep(60)
except KeyboardInterrupt:
    Path(sys.argv[1]).write_text("cleaned up")
"""
STUBBORN = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
Path(sys.argv[1]).write_text("ready")
time.sleep(60)
"""
PARENT = "import subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]])"


def wait_for(path: Path, text: str) -> None:
    deadline = time.monotonic() + 20
    while not (path.exists() and path.read_text() == text):
        assert time.monotonic() < deadline, f"{path} does not contain {text!r}"
        time.sleep(0.05)


def start(
    code: str, *arguments: object, process_group: int | None = None, **environment: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        process_group=process_group,
    )


def test_exits_with_owner_after_cleaning_up(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    name = f"{owner.pid}:{psutil.Process(owner.pid).create_time()}"
    child = start(SLEEPER, tmp_path / "state", **{OWNER: name})
    wait_for(tmp_path / "state", "ready")
    owner.kill()
    owner.wait()
    wait_for(tmp_path / "state", "cleaned up")
    assert child.wait(timeout=20) == 0


def test_exits_with_parent_process(tmp_path: Path) -> None:
    parent = start(PARENT, "-c", SLEEPER, tmp_path / "state")
    wait_for(tmp_path / "state", "ready")
    (child,) = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    wait_for(tmp_path / "state", "cleaned up")
    assert not child.is_running() or child.wait(timeout=20) is None


@pytest.mark.parametrize("owner", ["999999999:1.0", f"{os.getpid()}:1.0"], ids=["gone", "reused"])
def test_exits_if_owner_is_gone_or_its_id_was_reused(tmp_path: Path, owner: str) -> None:
    child = start(SLEEPER, tmp_path / "state", **{OWNER: owner})
    assert child.wait(timeout=20) in {0, -signal.SIGINT}


def test_goes_on_while_owner_is_running(tmp_path: Path) -> None:
    child = start(SLEEPER, tmp_path / "state", **owner_variable())
    wait_for(tmp_path / "state", "ready")
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(timeout=2)
    child.kill()
    child.wait()


def test_module_exits_with_parent_process(tmp_path: Path) -> None:
    """As supervisord starts server and workers, which know nothing of their parent."""
    (tmp_path / "program.py").write_text(
        "import sys, time; from pathlib import Path\n"
        "Path(sys.argv[1]).write_text(__name__); time.sleep(60)"
    )
    arguments = ("-m", "tasks.process_lifetime", "program", tmp_path / "state")
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    parent = start(PARENT, *arguments, PYTHONPATH=path)
    wait_for(tmp_path / "state", "__main__")
    (child,) = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    assert child.wait(timeout=20) is None


def test_terminates_a_group_with_processes_that_ignore_sigint(tmp_path: Path) -> None:
    parent = start(PARENT, "-c", STUBBORN, tmp_path / "state", process_group=0)
    wait_for(tmp_path / "state", "ready")
    (child,) = psutil.Process(parent.pid).children()
    terminate_group(parent, (signal.SIGINT, signal.SIGKILL), grace=0.2)
    assert parent.returncode in (-signal.SIGINT, -signal.SIGKILL)
    os.killpg(parent.pid, signal.SIGKILL)
    assert child.wait(timeout=20) is None


def test_terminates_marked_processes(tmp_path: Path) -> None:
    mark = {"SEMIGEN_TEST_MARK": str(tmp_path)}
    for name in ("a", "b"):
        start(STUBBORN, tmp_path / name, **mark)
        wait_for(tmp_path / name, "ready")
    found = list(processes_with("SEMIGEN_TEST_MARK", str(tmp_path)))
    assert len(found) == 2
    assert not list(processes_with("SEMIGEN_TEST_MARK", "elsewhere"))
    terminate(found, grace=0.5)
    assert not list(processes_with("SEMIGEN_TEST_MARK"))
