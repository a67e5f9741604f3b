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
from tasks.guard import GRACE_SECONDS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux")
PLAY = """
import os, signal, sys, time
from pathlib import Path
from tasks.guard import end_with_parents

def main(argv):
    Path("pid").write_text(str(os.getpid()))
    if argv[0] == "tell":
        print(os.environ["COLOUR"], sys.argv[1:], flush=True)
        print("to stderr", file=sys.stderr)
        return 3
    if argv[0] == "read":
        print(input().upper())
    if argv[0] == "raise":
        raise RuntimeError("of the play")
    if argv[0] == "exit":
        sys.exit(4)
    if argv[0] == "sleep":
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            Path("interrupted").touch()
            time.sleep(0.5)
            Path("tidied").touch()
    if argv[0] == "guarded":
        end_with_parents()
        time.sleep(3)
    if argv[0] == "deaf":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "play.py").write_text(PLAY)
    return tmp_path


@pytest.fixture(params=["forked", "here"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
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


def play(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(folder), str(Path(__file__).parents[2])])
    return subprocess.Popen(
        [sys.executable, "-m", "tasks.forked", "play", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "COLOUR": "red"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def forked(folder: Path) -> psutil.Process:
    """Return the process in which the play runs, once it does."""
    deadline = time.monotonic() + 30
    while not ((file := folder / "pid").exists() and file.read_text()):
        assert time.monotonic() < deadline, "the play does not begin"
        time.sleep(0.02)
    return psutil.Process(int(file.read_text()))


def has_ended(process: psutil.Process) -> bool:
    """Return whether a process ends soon; one that nobody has waited for counts as ended."""
    deadline = time.monotonic() + GRACE_SECONDS + 15
    while time.monotonic() < deadline:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_streams_environment_folder_and_exit_code_are_the_callers(
    folder: Path, either: str
) -> None:
    command = play(folder, "tell", "two words")
    output, errors = command.communicate(timeout=60)
    assert (output, errors) == ("red ['tell', 'two words']\n", "to stderr\n")
    assert command.returncode == 3
    assert (int((folder / "pid").read_text()) == command.pid) is (either == "here")


@pytest.mark.usefixtures("server")
def test_end_is_no_interrupt(folder: Path) -> None:
    """The fork sees the caller end, which must not look like the caller's death to it."""
    for _ in range(60):
        command = play(folder, "tell")
        assert command.communicate(timeout=60) == ("red ['tell']\n", "to stderr\n")
        assert command.returncode == 3


@pytest.mark.usefixtures("server")
def test_standard_input_is_the_callers(folder: Path) -> None:
    assert play(folder, "read").communicate("loud\n", timeout=60) == ("LOUD\n", "")


@pytest.mark.parametrize(("act", "status"), [("raise", 1), ("exit", 4)])
@pytest.mark.usefixtures("either")
def test_mistakes_end_as_in_a_process_of_its_own(folder: Path, act: str, status: int) -> None:
    command = play(folder, act)
    _, errors = command.communicate(timeout=60)
    assert command.returncode == status
    assert ("RuntimeError: of the play" in errors) is (act == "raise")


@pytest.mark.usefixtures("server")
def test_killed_fork_kills_the_caller(folder: Path) -> None:
    command = play(folder, "sleep")
    forked(folder).kill()
    command.communicate(timeout=60)
    assert command.returncode == -signal.SIGKILL


@pytest.mark.parametrize("act", ["sleep", "deaf"])
@pytest.mark.usefixtures("server")
def test_fork_ends_with_a_killed_caller(folder: Path, act: str) -> None:
    command = play(folder, act)
    fork = forked(folder)
    command.kill()
    assert has_ended(fork)
    assert (folder / "tidied").exists() is (act == "sleep")
    command.communicate()


@pytest.mark.usefixtures("server")
def test_interrupt_of_the_callers_group_reaches_the_fork(folder: Path) -> None:
    command = play(folder, "sleep")
    forked(folder)
    os.killpg(command.pid, signal.SIGINT)
    assert command.communicate(timeout=60) == ("", "")
    assert command.returncode == 0  # as the play, which hears it, says
    assert (folder / "tidied").exists()


@pytest.mark.usefixtures("server")
def test_second_interrupt_does_not_end_the_tidying(folder: Path) -> None:
    """Guard, fork server and flow may all ask for the end of one stage."""
    command = play(folder, "sleep")
    forked(folder)
    os.killpg(command.pid, signal.SIGINT)
    while not (folder / "interrupted").exists():
        time.sleep(0.02)
    os.killpg(command.pid, signal.SIGINT)
    command.communicate(timeout=60)
    assert (folder / "tidied").exists()


def test_killed_server_is_done_without(folder: Path, server: psutil.Process) -> None:
    server.kill()
    server.wait()
    command = play(folder, "tell")
    command.communicate(timeout=60)
    assert command.returncode == 3
    assert int((folder / "pid").read_text()) == command.pid


def test_what_runs_outlives_a_killed_server(folder: Path, server: psutil.Process) -> None:
    command = play(folder, "guarded")
    fork = forked(folder)
    server.kill()
    server.wait()
    command.communicate(timeout=60)
    assert command.returncode == 0
    assert has_ended(fork)


def test_server_ends_with_a_killed_flow(folder: Path) -> None:
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
    assert has_ended(server)


def test_only_modules_of_own_stages_are_imported() -> None:
    own = Stage("train", "python -m tasks train", None, changed=True, pending=True)
    others = Stage("mine", "python mine.py", None, changed=True, pending=True)
    assert needed([own, others]) == [*DVC, "tasks.train", "tasks.promote"]
    assert needed([others]) == list(DVC)
