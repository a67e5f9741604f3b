from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from flows.pipeline.dvc_graph import Stage
from flows.pipeline.fork_server import DVC, fork_server, needed
from tasks.forked import ADDRESS
from tasks.process_lifetime import GRACE_SECONDS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the fork server needs Linux")
PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from tasks.process_lifetime import exit_with_owner

def main(argv):
    Path("pid").write_text(str(os.getpid()))
    if argv[0] == "print":
        print(os.environ["COLOR"], sys.argv[1:], flush=True)
        print("to stderr", file=sys.stderr)
        return 3
    if argv[0] == "read":
        print(input().upper())
    if argv[0] == "raise":
        raise RuntimeError("failed")
    if argv[0] == "exit":
        sys.exit(4)
    if argv[0] == "sleep":
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            Path("interrupted").touch()
            time.sleep(0.5)
            Path("cleaned").touch()
    if argv[0] == "watched":
        exit_with_owner()
        time.sleep(3)
    if argv[0] == "ignore":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


@pytest.fixture(params=["forked", "here"])
def with_or_without_server(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """With a fork server and without one."""
    with ExitStack() as stack:
        if request.param == "forked":
            stack.enter_context(fork_server([]))
        else:
            monkeypatch.delenv(ADDRESS, raising=False)
        yield request.param


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[psutil.Process]:
    monkeypatch.delenv(ADDRESS, raising=False)
    before = set(psutil.Process().children())
    with fork_server([]):
        (found,) = set(psutil.Process().children()) - before
        yield found


def program(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(folder), str(Path(__file__).parents[2])])
    return subprocess.Popen(
        [sys.executable, "-m", "tasks.forked", "program", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "COLOR": "red"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def forked(folder: Path) -> psutil.Process:
    """Wait for the program to start, and return its process."""
    deadline = time.monotonic() + 30
    while not ((file := folder / "pid").exists() and file.read_text()):
        assert time.monotonic() < deadline, "the program did not start"
        time.sleep(0.02)
    return psutil.Process(int(file.read_text()))


def has_exited(process: psutil.Process) -> bool:
    """Return whether a process exits soon; a zombie has exited."""
    deadline = time.monotonic() + GRACE_SECONDS + 15
    while time.monotonic() < deadline:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_runs_with_streams_environment_folder_and_exit_code_of_the_caller(
    folder: Path, with_or_without_server: str
) -> None:
    command = program(folder, "print", "two words")
    output, errors = command.communicate(timeout=60)
    assert (output, errors) == ("red ['print', 'two words']\n", "to stderr\n")
    assert command.returncode == 3
    assert (int((folder / "pid").read_text()) == command.pid) is (with_or_without_server == "here")


@pytest.mark.usefixtures("server")
def test_normal_exit_of_the_caller_does_not_interrupt_the_fork(folder: Path) -> None:
    for _ in range(60):
        command = program(folder, "print")
        assert command.communicate(timeout=60) == ("red ['print']\n", "to stderr\n")
        assert command.returncode == 3


@pytest.mark.usefixtures("server")
def test_reads_standard_input_of_the_caller(folder: Path) -> None:
    assert program(folder, "read").communicate("loud\n", timeout=60) == ("LOUD\n", "")


@pytest.mark.parametrize(("action", "status"), [("raise", 1), ("exit", 4)])
@pytest.mark.usefixtures("with_or_without_server")
def test_errors_and_exit_codes_are_those_of_a_separate_process(
    folder: Path, action: str, status: int
) -> None:
    command = program(folder, action)
    _, errors = command.communicate(timeout=60)
    assert command.returncode == status
    assert ("RuntimeError: failed" in errors) is (action == "raise")


@pytest.mark.usefixtures("server")
def test_killed_fork_kills_the_caller(folder: Path) -> None:
    command = program(folder, "sleep")
    forked(folder).kill()
    command.communicate(timeout=60)
    assert command.returncode == -signal.SIGKILL


@pytest.mark.parametrize("action", ["sleep", "ignore"])
@pytest.mark.usefixtures("server")
def test_fork_exits_with_a_killed_caller(folder: Path, action: str) -> None:
    command = program(folder, action)
    fork = forked(folder)
    command.kill()
    assert has_exited(fork)
    assert (folder / "cleaned").exists() is (action == "sleep")
    command.communicate()


@pytest.mark.usefixtures("server")
def test_fork_receives_sigint_of_the_callers_group(folder: Path) -> None:
    command = program(folder, "sleep")
    forked(folder)
    os.killpg(command.pid, signal.SIGINT)
    assert command.communicate(timeout=60) == ("", "")
    assert command.returncode == 0  # the program handles the signal
    assert (folder / "cleaned").exists()


@pytest.mark.usefixtures("server")
def test_second_sigint_does_not_abort_the_clean_up(folder: Path) -> None:
    """The flow and ``exit_with_owner`` may both interrupt a stage."""
    command = program(folder, "sleep")
    forked(folder)
    os.killpg(command.pid, signal.SIGINT)
    while not (folder / "interrupted").exists():
        time.sleep(0.02)
    os.killpg(command.pid, signal.SIGINT)
    command.communicate(timeout=60)
    assert (folder / "cleaned").exists()


def test_runs_without_fork_if_the_server_was_killed(folder: Path, server: psutil.Process) -> None:
    server.kill()
    server.wait()
    command = program(folder, "print")
    command.communicate(timeout=60)
    assert command.returncode == 3
    assert int((folder / "pid").read_text()) == command.pid


def test_fork_outlives_a_killed_server(folder: Path, server: psutil.Process) -> None:
    command = program(folder, "watched")
    fork = forked(folder)
    server.kill()
    server.wait()
    command.communicate(timeout=60)
    assert command.returncode == 0
    assert has_exited(fork)


def test_server_exits_with_a_killed_flow(folder: Path) -> None:
    code = (
        "import time; from pathlib import Path\n"
        "from flows.pipeline.fork_server import fork_server\n"
        "with fork_server([]): Path('ready').touch(); time.sleep(60)"
    )
    path = str(Path(__file__).parents[2])
    flow = subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, env={**os.environ, "PYTHONPATH": path}
    )
    while not (folder / "ready").exists():
        time.sleep(0.05)
    (server,) = psutil.Process(flow.pid).children()
    flow.kill()
    flow.wait()
    assert has_exited(server)


def test_imports_modules_of_own_stages_only() -> None:
    own = Stage("train", "python -m tasks train", None, changed=True, pending=True)
    others = Stage("mine", "python mine.py", None, changed=True, pending=True)
    assert needed([own, others]) == [*DVC, "tasks.train", "tasks.promote"]
    assert needed([others]) == list(DVC)
