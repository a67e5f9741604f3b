"""Git commits and refs by plumbing commands.

The user's branches, index, stash and working tree are not changed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from flows.pipeline.retry import failed
from semigen.errors import UserError

NAME, EMAIL = "semigen", "semigen@localhost"
IDENTITY = f"{NAME} <{EMAIL}>"
HOOK_VARIABLES = {
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_PREFIX",
    "GIT_OBJECT_DIRECTORY",
}
"""Environment variables of git hooks that would select another repository."""
NETWORK = {"fetch", "ls-remote", "push"}
PIPELINE = (
    *("*.dvc", "dvc.yaml", "dvc.lock", "params.yaml", ".dvc/config"),
    *("*.gitignore", "*.dvcignore"),
)
"""New files that a commit includes although they were not added, unless they are ignored. Other
files, code too, may hold secrets."""


def git(root: Path, *arguments: str, index: Path | None = None) -> str:
    """Run git and return its output.

    Args:
        root: Working directory.
        arguments: Subcommand and its arguments.
        index: Index file to use instead of the user's.

    Raises:
        Unreachable: If a remote repository did not answer.
        UserError: If git failed for another reason.
    """
    done = subprocess.run(
        ["git", *arguments],
        cwd=root,
        env=_environment(index),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        start_new_session=True,  # without a terminal ssh cannot ask for a password
    )
    if done.returncode:
        error = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        message = f"git {arguments[0]}: {error}"
        raise failed(message) if arguments[0] in NETWORK else UserError(message)
    return done.stdout.strip()


def check_repository(root: Path) -> None:
    """Check that the project's root is the root of a git repository.

    Raises:
        UserError: If it is not.
    """
    try:
        prefix = git(root, "rev-parse", "--show-prefix")
    except UserError as error:
        raise UserError(
            f"{root}: not a git repository, by which other hosts fetch the code: run `git init`, "
            "commit, and `git remote add origin URL`"
        ) from error
    if prefix:
        raise UserError(f"{root}: must be the root of the git repository to run on other hosts")


def remote_name(root: Path) -> str:
    """Return the git remote that hosts exchange commits through: ``origin``, or the only one.

    Raises:
        UserError: If there is none, or several without an ``origin``.
    """
    names = git(root, "remote").split()
    if "origin" in names or len(names) == 1:
        return "origin" if "origin" in names else names[0]
    found = f"several git remotes ({', '.join(names)})" if names else "no git remote"
    raise UserError(f"{found}; other hosts fetch the code from `origin`: git remote add origin URL")


def remote_url(root: Path) -> str:
    """Return the URL from which other hosts fetch the project; a local path is made absolute.

    Raises:
        UserError: If there is no remote.
    """
    check_repository(root)
    url = git(root, "remote", "get-url", remote_name(root))
    return str((root / url).resolve()) if (root / url).exists() else url


def commit_working_tree(root: Path, message: str, *, also: Sequence[str] = ()) -> str:
    """Commit tracked files as they are now, and new files of DVC, without changing a branch.

    Equal files on the same ``HEAD`` give the same commit again.

    Args:
        root: Root of the repository.
        message: Message of the commit.
        also: Files to include even if they are ignored or new; missing files are skipped.

    Returns:
        The commit, whose parent is ``HEAD``.
    """
    with _scratch_index(root) as index:
        git(root, "add", "--update", index=index)
        _add(root, untracked(root, PIPELINE, index=index), index)
        _add(root, also, index)
        return _commit(root, message, index)


def untracked(root: Path, patterns: Sequence[str], *, index: Path | None = None) -> list[str]:
    """Return the files of some patterns that git neither tracks nor ignores."""
    options = ("--others", "--exclude-standard", "-z")
    found = git(root, "ls-files", *options, "--", *patterns, index=index)
    return [path for path in found.split("\0") if path]


def remove_stale_locks(root: Path, min_seconds: float) -> list[Path]:
    """Remove lock files that a killed git left, after which every later git command fails.

    Args:
        root: A folder of the repository.
        min_seconds: Minimum age of a lock. No lock is removed while a git process runs in the
            repository.

    Returns:
        The removed files.
    """
    top = Path(git(root, "rev-parse", "--show-toplevel"))
    if any(_is_git_in(process, top) for process in psutil.process_iter(["name"])):
        return []
    folders = {root / git(root, "rev-parse", f"--git{kind}-dir") for kind in ("", "-common")}
    oldest = time.time() - min_seconds
    patterns = ("*.lock", "refs/**/*.lock")
    locks = {path for folder in folders for name in patterns for path in folder.glob(name)}
    stale = sorted(path for path in locks if path.stat().st_mtime <= oldest)
    for path in stale:
        path.unlink(missing_ok=True)
    return stale


def _is_git_in(process: psutil.Process, top: Path) -> bool:
    """Return whether a process is a git command in a repository, or may be one."""
    try:
        is_git = (process.info["name"] or "").startswith("git")
        return is_git and Path(process.cwd()).is_relative_to(top)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # of another user
        return True


def commit_files(root: Path, message: str, paths: Sequence[str]) -> str:
    """Commit some files as they are now, even ignored ones, without changing a branch."""
    with _scratch_index(root) as index:
        _add(root, paths, index)
        return _commit(root, message, index)


def is_committed(root: Path, commit: str, path: str) -> bool:
    """Return whether a commit contains a file, or a file of a directory."""
    return bool(git(root, "ls-tree", "--name-only", commit, "--", path))


def restore(root: Path, commit: str, paths: Sequence[str], into: Path) -> None:
    """Write files of a commit into another folder."""
    with _scratch_index(root) as index:
        git(root, f"--work-tree={into}", "checkout", commit, "--", *paths, index=index)


def remote_refs(root: Path, pattern: str) -> dict[str, str]:
    """Return the commit of every matching ref of the remote repository.

    Raises:
        Unreachable: If the remote did not answer.
    """
    lines = git(root, "ls-remote", remote_name(root), pattern).splitlines()
    return {ref: commit for commit, ref in (line.split("\t") for line in lines)}


def push(root: Path, *refspecs: str) -> None:
    """Push refs and overwrite existing ones, without the user's hooks.

    Raises:
        Unreachable: If the remote did not answer.
    """
    git(root, "push", "--no-verify", "--force", "--quiet", remote_name(root), *refspecs)


def fetch(root: Path, refspec: str) -> None:
    """Fetch one ref without changing ``FETCH_HEAD``.

    Raises:
        Unreachable: If the remote did not answer.
    """
    options = ("--no-tags", "--no-write-fetch-head", "--force", "--quiet")
    git(root, "fetch", *options, remote_name(root), refspec)


def _environment(index: Path | None) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in HOOK_VARIABLES}
    own = {"GIT_INDEX_FILE": str(index)} if index else {}
    return {**inherited, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **own}


@contextlib.contextmanager
def _scratch_index(root: Path) -> Iterator[Path]:
    """Yield a copy of the index, which lists the tracked files with their hashes."""
    with tempfile.TemporaryDirectory(prefix="semigen-index-") as folder:
        own = root / git(root, "rev-parse", "--git-path", "index")
        if own.exists():
            shutil.copy2(own, Path(folder) / "index")
        yield Path(folder) / "index"


def _add(root: Path, paths: Sequence[str], index: Path) -> None:
    present = [path for path in paths if (root / path).exists()]
    if present:
        git(root, "add", "--force", "--", *present, index=index)


def _commit(root: Path, message: str, index: Path) -> str:
    """Return a commit of an index on ``HEAD`` with its date: equal files give equal commits."""
    lines = [f"tree {git(root, 'write-tree', index=index)}"]
    date = "0"
    with contextlib.suppress(UserError):  # there may be no commit yet
        head, date = git(root, "log", "-1", "--format=%H %ct", "HEAD").split()
        lines.append(f"parent {head}")
    lines += [f"{role} {IDENTITY} {date} +0000" for role in ("author", "committer")]
    text = index.with_name("commit")
    text.write_text("\n".join([*lines, "", message, ""]), encoding="utf-8")
    return git(root, "hash-object", "-t", "commit", "-w", "--no-filters", str(text))
