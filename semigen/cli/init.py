"""``semigen init``: create a project, or bring the code of one up to date."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from pathlib import Path

import semigen
from semigen.artifacts import atomic_path, write_text
from semigen.cli.project import PROJECT_FILES, VERSION_FILE, find_project
from semigen.errors import UserError

PACKAGED_TEMPLATE = "project_template"
"""Folder of the package that holds the template in a wheel; see ``pyproject.toml``."""
CODE = ("flows", "tasks", "dvc.yaml")
"""What a new version of semigen may change, as well as ``prefect.yaml`` but for the name."""
OTHERS = (
    "params.yaml",
    ".dvcignore",
    ".dvc/config",
    ".dvc/.gitignore",
    "data/README.md",
    "data/raw/.gitignore",
)
REPOSITORY_ONLY = "# Only in the repository of semigen itself"
"""Line of ``.gitignore`` after which nothing concerns a project."""
NAME = re.compile(r"^name: .*$", re.MULTILINE)
VALID_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
README = """\
# {name}

A semigen project: classifiers from few labels, with generative models of the unlabeled rows.

1. Put your tables into `data/raw/` and version them: `dvc add data/raw/*.csv`.
2. `semigen run data/raw/LABELED.csv data/raw/UNLABELED.csv --target COLUMN`; `params.yaml` keeps
   the names, so that later runs need only `semigen run`.
3. Open `reports/report.html`.
4. Predict new rows: `semigen predict --input NEW.csv --output predictions.csv`.
5. `semigen up` starts the Prefect UI, the workers and the schedules of `params.yaml`.

`semigen --help` lists the commands.
"""
AUTHOR = ("-c", "user.name=semigen", "-c", "user.email=semigen@localhost")
"""Author of the first commit where git knows none."""


def run(arguments: argparse.Namespace) -> None:
    """Run ``semigen init``."""
    folder = Path(arguments.folder)
    if arguments.update:
        update_project(folder)
        print(f"{folder}: code of semigen {semigen.__version__}; review with `git diff`, commit")
        return
    name = create_project(folder, arguments.name)
    print(f"{folder}: project {name!r} created")
    print("\nNext")
    print(f"  cd {folder}")
    print("  semigen run      run the pipeline on an embedded data set")
    print("  semigen run LABELED.csv UNLABELED.csv --target COLUMN      run it on your own tables")
    print("  semigen up       start the Prefect UI, workers and schedules")


def create_project(folder: Path, name: str | None = None) -> str:
    """Create a project: its files, a git repository and DVC's folder.

    Args:
        folder: Folder of the project; it may exist if it has none of the project's files.
        name: Name of the project; None takes that of the folder.

    Returns:
        The name.

    Raises:
        UserError: If the name is refused, the folder has such files already, or it lies inside
            another project or git repository.
    """
    folder = folder.resolve()
    name = _project_name(folder, name)
    _check_folder(folder)
    template = template_root()
    for part in OTHERS:
        _copy(template / part, folder / part)
    _write_code(folder, template, name)
    ignored, _, _ = (template / ".gitignore").read_text(encoding="utf-8").partition(REPOSITORY_ONLY)
    write_text(folder / ".gitignore", ignored)
    write_text(folder / "README.md", README.format(name=name))
    _start_git(folder)
    return name


def update_project(folder: Path) -> None:
    """Replace the code of a project by that of this version; parameters and data stay.

    Raises:
        UserError: If the folder is no project, or git could not undo the change.
    """
    folder = folder.resolve()
    if find_project(folder) != folder:
        raise UserError(f"{folder}: no semigen project; `semigen init {folder}` creates one")
    changed = _git(folder, "status", "--porcelain", "--", *CODE, "prefect.yaml")
    if changed is None:
        raise UserError(f"{folder}: not in git; commit the project first, so that nothing is lost")
    if changed:
        names = ", ".join(line.split(maxsplit=1)[1] for line in changed.splitlines())
        raise UserError(f"{folder}: uncommitted changes in {names}; commit or revert them first")
    found = NAME.search((folder / "prefect.yaml").read_text(encoding="utf-8"))
    name = found[0].removeprefix("name: ") if found else folder.name
    _write_code(folder, template_root(), name)


def template_root() -> Path:
    """Return the folder with the files of a new project: in the package, or the repository.

    Raises:
        UserError: If the installation has neither.
    """
    package = Path(semigen.__file__).parent
    for root in (package / PACKAGED_TEMPLATE, package.parent):
        if all((root / part).exists() for part in (*CODE, "prefect.yaml")):
            return root
    raise UserError(f"{package}: the installation lacks the project template; reinstall semigen")


def _project_name(folder: Path, name: str | None) -> str:
    chosen = name or re.sub(r"[^A-Za-z0-9_-]+", "-", folder.name).strip("-_")
    if not VALID_NAME.fullmatch(chosen):
        raise UserError(
            f"{chosen!r} cannot be the name of a project: use letters, digits, - and _ "
            "(semigen init FOLDER --name NAME)"
        )
    return chosen


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: a file, not a folder")
    taken = [n for n in (*PROJECT_FILES, "prefect.yaml") if (folder / n).exists()]
    if taken:
        raise UserError(f"{folder}: has {', '.join(taken)} already; nothing was changed")
    outer = find_project(folder)
    if outer is not None:
        raise UserError(f"{folder}: lies inside the project {outer}; choose a folder outside")
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    repository = _git(existing, "rev-parse", "--show-toplevel")
    if repository and Path(repository) != folder:
        raise UserError(
            f"{folder}: lies inside the git repository {repository}; a project is a repository of "
            "its own, so choose a folder outside"
        )


def _copy(source: Path, destination: Path) -> None:
    """Copy a file or folder without bytecode; it appears whole or not at all."""
    with atomic_path(destination) as temporary:
        if source.is_dir():
            shutil.copytree(source, temporary, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, temporary)


def _write_code(folder: Path, template: Path, name: str) -> None:
    """Write what a new version of semigen may change, and that version."""
    for part in CODE:
        _copy(template / part, folder / part)
    text = (template / "prefect.yaml").read_text(encoding="utf-8")
    write_text(folder / "prefect.yaml", NAME.sub(f"name: {name}", text, count=1))
    write_text(folder / VERSION_FILE, f"{semigen.__version__}\n")


def _start_git(folder: Path) -> None:
    """Make the folder a git repository whose first commit has the project's files.

    Where git is absent the project works without: DVC is told so by the first run.
    """
    if _git(folder, "rev-parse", "--git-dir") is None and _git(folder, "init", "-q") is None:
        print("note: git is not installed; the project is not under version control")
        return
    files = (*CODE, *OTHERS, "prefect.yaml", ".gitignore", "README.md")
    _git(folder, "add", *files)
    author = () if _git(folder, "config", "user.email") else AUTHOR
    message = f"Create the project with semigen {semigen.__version__}"
    _git(folder, *author, "commit", "-qm", message, "--", *files)


def _git(folder: Path, *arguments: str) -> str | None:
    """Return git's output, or None if git failed or is absent."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
