"""The ``semigen`` command: help, exit codes, and where it finds a project."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from semigen import __version__
from semigen.cli.commands import COMMANDS, build_parser, command_parser
from semigen.cli.main import main
from semigen.cli.project import find_project

ROOT = Path(__file__).parents[3]
NAMES = [command.name for command in COMMANDS]
EXAMPLES = [
    (command.name, example)
    for command in COMMANDS
    if not command.passes_arguments
    for example in command.examples
]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``semigen`` in a folder, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "semigen.cli", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("name", NAMES)
def test_help_shows_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert f"usage: semigen {name}" in shown
    assert f"examples:\n  semigen {name}" in shown


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_examples_parse(name: str, example: str) -> None:
    command = example.split(" > ")[0]
    program, *arguments = shlex.split(command)
    assert program == "semigen"
    assert build_parser().parse_args(arguments).command == name
    command_parser(name).parse_args(arguments[1:])


def test_help_lists_every_command_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"\n    {name}" in shown for name in NAMES)
    assert all(f"\n  {code} " in shown for code in (0, 1, 2, 130))


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"semigen {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["trane"], ["run", "--forse"]])
def test_wrong_usage_has_exit_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_failure_has_exit_code_1_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["predict", "--input", "nowhere.csv", "--output", "out.csv", "--model", "m"]
    assert main(arguments) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: nowhere.csv: ")
    assert shown.err.count("\n") == 1
    assert main([*arguments, "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["run"], ["repro", "--dry"], ["prefect", "version"]])
def test_pipeline_commands_refuse_a_folder_without_a_project(
    arguments: list[str], tmp_path: Path
) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path}: not the folder of a semigen project")
    assert "semigen init" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_project_is_found_from_its_subfolders(tmp_path: Path) -> None:
    assert find_project(ROOT / "flows" / "display") == ROOT
    assert find_project(tmp_path) is None


def test_project_commands_run_in_the_root_with_this_python() -> None:
    """From a subfolder, and with an environment that is not activated."""
    done = subprocess.run(
        [sys.executable, "-m", "semigen.cli", "repro", "--dry", "--single-item", "report"],
        cwd=ROOT / "flows",
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
    )
    assert "dvc.yaml" not in done.stderr, done.stderr
    assert "'report'" in done.stdout + done.stderr


@pytest.mark.parametrize("arguments", ["predict", "synthesize --target y"])
def test_missing_input_is_reported_with_its_option(
    arguments: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("new.csv").write_text("a,y\n1,x\n")
    assert main([*arguments.split(), "--input", "nwe.csv", "--output", "out.csv"]) == 1
    message = "error: nwe.csv: no such file; check --input; did you mean 'new.csv'?\n"
    assert capsys.readouterr().err == message


def test_bash_completes_commands(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "semigen.bash"
    script.write_text(capsys.readouterr().out)
    bash = shutil.which("bash")
    assert bash
    ask = (
        f"source {script}; COMP_WORDS=(semigen r); COMP_CWORD=1; "
        "_shtab_semigen semigen r semigen; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run([bash, "-c", ask], capture_output=True, text=True, check=True)
    assert {"run", "repro", "rollback", "registry"} == set(done.stdout.split())


def test_registry_of_a_folder_without_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["registry"]) == 0
    assert "empty" in capsys.readouterr().out
    assert main(["rollback"]) == 1
    assert capsys.readouterr().err.startswith("error: ")
