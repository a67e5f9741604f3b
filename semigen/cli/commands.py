"""The commands of ``semigen``: what each one does, its arguments, and the code that runs it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from semigen.cli import arguments

EXIT_CODES = """\
exit codes:
  0    the command succeeded
  1    the command failed or refused its input; stderr has one line that starts with "error:"
  2    unknown command or option
  130  interrupted (Ctrl-C)
"""


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: Name on the command line.
        summary: One line for ``semigen --help``.
        examples: Command lines for ``semigen NAME --help``.
        handler: ``module:function`` that takes the parsed arguments and may return an exit code.
        add_arguments: Adds the arguments to a parser.
        project_module: Module that runs the command in the folder of a project, with the same
            arguments. Such a command needs the extra ``pipeline``.
        prefix: Arguments that ``project_module`` takes before those of the command.
        passes_arguments: Whether all arguments go to ``project_module`` unread.

    Examples:
        >>> find_command("run").project_module
        'flows.train'
    """

    name: str
    summary: str
    examples: tuple[str, ...]
    handler: str | None = None
    add_arguments: Callable[[argparse.ArgumentParser], None] = arguments.add_debug
    project_module: str | None = None
    prefix: tuple[str, ...] = ()
    passes_arguments: bool = False


SERVICE = "flows.service.cli"
COMMANDS = (
    Command(
        "init",
        "create a project in a folder",
        ("semigen init churn", "semigen init churn --name churn-eu"),
        handler="semigen.cli.init:run",
        add_arguments=arguments.add_init,
    ),
    Command(
        "run",
        "bring the whole pipeline up to date, as a Prefect flow",
        (
            "semigen run",
            "semigen run labeled.csv unlabeled.csv --target diagnosis",
            "semigen run -S train.epochs=20 -S pretrain.generator=ssvae",
            "semigen run --force",
        ),
        add_arguments=arguments.add_run,
        project_module="flows.train",
    ),
    Command(
        "repro",
        "the same with DVC alone: all arguments go to `dvc repro`",
        ("semigen repro", "semigen repro --force train", "semigen repro --dry"),
        project_module="flows.repro",
        passes_arguments=True,
    ),
    Command(
        "up",
        "start the Prefect server with its UI, workers and schedules",
        ("semigen up", "semigen up --port 4300"),
        add_arguments=arguments.add_up,
        project_module=SERVICE,
        prefix=("up",),
    ),
    Command(
        "down",
        "stop the server, the workers and their runs",
        ("semigen down",),
        project_module=SERVICE,
        prefix=("down",),
    ),
    Command(
        "status",
        "show which processes of the service run; exit code 1 if none does",
        ("semigen status",),
        project_module=SERVICE,
        prefix=("status",),
    ),
    Command(
        "prefect",
        "Prefect's own command line with this project's server and login",
        (
            "semigen prefect flow-run ls --limit 5",
            "semigen prefect work-pool ls",
        ),
        project_module=SERVICE,
        prefix=("prefect",),
        passes_arguments=True,
    ),
    Command(
        "predict",
        "predict the labels of new rows",
        (
            "semigen predict --input new.csv --output predictions.csv",
            "semigen predict --input new.parquet --output predictions.parquet --keep-columns",
            "semigen predict --input new.csv --output predictions.csv --model models/classifier",
        ),
        handler="semigen.cli.handlers:predict",
        add_arguments=arguments.add_predict,
    ),
    Command(
        "synthesize",
        "learn a table and write synthetic rows",
        (
            "semigen synthesize --input table.csv --target diagnosis --output synthetic.csv",
            "semigen synthesize --input table.csv --target diagnosis --rows 1000 "
            "--output synthetic.csv --model models/synthesizer",
        ),
        handler="semigen.cli.handlers:synthesize",
        add_arguments=arguments.add_synthesize,
    ),
    Command(
        "label-curve",
        "measure accuracy with fewer labels and estimate the value of more",
        ("semigen label-curve", "semigen label-curve --budgets 20 50 100 --draws 5"),
        add_arguments=arguments.add_label_curve,
        project_module="flows.label_curve",
    ),
    Command(
        "monitor",
        "check for changed tables and for drift in new rows",
        ("semigen monitor", "semigen monitor --input new.csv"),
        add_arguments=arguments.add_monitor,
        project_module="flows.monitor",
    ),
    Command(
        "promote",
        "make the latest classifier the champion if it passes the comparison",
        ("semigen promote", "semigen promote --force --reason 'approved by review'"),
        add_arguments=arguments.add_promote,
        project_module="tasks",
        prefix=("promote",),
    ),
    Command(
        "rollback",
        "make the previous champion, or another version, the champion again",
        ("semigen rollback", "semigen rollback --to v0003"),
        handler="semigen.cli.handlers:rollback",
        add_arguments=arguments.add_rollback,
    ),
    Command(
        "registry",
        "list the champion, the challengers and the history",
        ("semigen registry", "semigen registry --verify"),
        handler="semigen.cli.handlers:registry",
        add_arguments=arguments.add_registry,
    ),
    Command(
        "completion",
        "print a completion script for a shell",
        (
            "semigen completion bash > ~/.local/share/bash-completion/completions/semigen",
            "semigen completion zsh > ~/.zfunc/_semigen",
        ),
        handler="semigen.cli.handlers:completion",
        add_arguments=arguments.add_completion,
    ),
)


def find_command(name: str) -> Command:
    """Return the command of a name.

    Raises:
        KeyError: If there is none.
    """
    return {command.name: command for command in COMMANDS}[name]


def command_parser(name: str) -> argparse.ArgumentParser:
    """Return the parser of one command, as ``semigen NAME`` uses it."""
    command = find_command(name)
    parser = argparse.ArgumentParser(prog=f"semigen {name}", **_texts(command))
    command.add_arguments(parser)
    return parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``semigen`` with all commands."""
    from semigen import __version__

    parser = argparse.ArgumentParser(
        prog="semigen",
        description="Classifiers from few labels, with generative models of the unlabeled rows.",
        epilog=EXIT_CODES + "\n`semigen COMMAND --help` shows the options and examples.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"semigen {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_arguments(
            commands.add_parser(command.name, help=command.summary, **_texts(command))
        )
    return parser


def _texts(command: Command) -> dict[str, Any]:
    """Return the texts of a command's ``--help``."""
    examples = "\n".join(f"  {example}" for example in command.examples)
    return {
        "description": f"{command.summary[0].upper()}{command.summary[1:]}.",
        "epilog": f"examples:\n{examples}",
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }
