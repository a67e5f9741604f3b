"""Commands that need a project: they run its flows and stages in its folder."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import semigen
from semigen.cli.commands import Command
from semigen.cli.tables import CALLED_FROM
from semigen.errors import UserError

PROJECT_FILES = ("dvc.yaml", "params.yaml", "flows", "tasks")
"""What the root folder of a project holds."""
VERSION_FILE = "flows/VERSION"
"""Version of semigen that a project's code comes from; semigen's own repository has none."""
PIPELINE_LIBRARIES = ("prefect", "dvc", "great_expectations")


def find_project(start: Path | None = None) -> Path | None:
    """Return the root of the project that a folder belongs to, or None.

    Args:
        start: The folder; None takes the current one. Its parents are searched too.
    """
    folder = (start or Path.cwd()).resolve()
    for root in (folder, *folder.parents):
        if all((root / name).exists() for name in PROJECT_FILES):
            return root
    return None


def require_project() -> Path:
    """Return the root of the project that the current folder belongs to.

    Raises:
        UserError: If there is none.
    """
    root = find_project()
    if root is None:
        raise UserError(
            f"{Path.cwd()}: not the folder of a semigen project (no {PROJECT_FILES[0]} with "
            f"{PROJECT_FILES[2]}/ and {PROJECT_FILES[3]}/); create one with `semigen init FOLDER`"
        )
    return root


def require_pipeline(command: str) -> None:
    """Check that the libraries of the pipeline are installed.

    Raises:
        UserError: If one is absent; the message names the extra to install.
    """
    absent = [name for name in PIPELINE_LIBRARIES if importlib.util.find_spec(name) is None]
    if absent:
        raise UserError(
            f"`semigen {command}` needs {', '.join(absent)}; install the pipeline: "
            "pip install 'semigen[pipeline]'"
        )


def run_in_project(command: Command, arguments: Sequence[str]) -> int:
    """Replace this process by a module of the project, run in the project's folder.

    Raises:
        UserError: If the current folder is in no project, or the pipeline is not installed.
    """
    require_pipeline(command.name)
    root = require_project()
    warn_of_other_version(root)
    environment = project_environment()
    os.chdir(root)
    assert command.project_module is not None
    argv = [sys.executable, "-m", command.project_module, *command.prefix, *arguments]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, argv, environment)


def warn_of_other_version(root: Path) -> None:
    """Print a note if the code of a project comes from another version than the one installed."""
    file = root / VERSION_FILE
    version = file.read_text(encoding="utf-8").strip() if file.exists() else semigen.__version__
    if version != semigen.__version__:
        print(
            f"note: flows/ and tasks/ come from semigen {version}, installed is "
            f"{semigen.__version__}; update them with `semigen init --update {root}`",
            file=sys.stderr,
        )


def project_environment() -> dict[str, str]:
    """Return the environment for processes of a project.

    Stages are run by DVC as ``python -m tasks STAGE``; the Python that runs ``semigen`` comes first
    on the path, so that the environment need not be activated.
    """
    interpreters = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", os.defpath)
    return {
        **os.environ,
        CALLED_FROM: str(Path.cwd()),
        "PATH": f"{interpreters}{os.pathsep}{path}",
        # DVC reads this when it is imported; the flows' other settings are in flows/environment.py.
        "DVC_NO_ANALYTICS": os.environ.get("DVC_NO_ANALYTICS", "1"),
    }
