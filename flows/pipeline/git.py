"""Git commits and refs by plumbing: no branch, index, stash or working tree of the user's moves."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from flows.pipeline.retry import failed
from semigen.errors import UserError

NAME, EMAIL = "semigen", "semigen@localhost"
IDENTITY = f"{NAME} <{EMAIL}>"
OF_A_HOOK = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY"}
"""Variables by which a hook tells git in which repository it runs."""
NETWORK = {"fetch", "ls-remote", "push"}
CODE = ("*.py", "*.dvc", "dvc.yaml", "dvc.lock", "params.yaml", ".dvc/config", "*ignore")
"""New files that belong to a commit although nobody has added them yet, unless they are ignored."""


def git(root: Path, *arguments: str, index: Path | None = None) -> str:
    """Run git and return what it printed.

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
        told = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        message = f"git {arguments[0]}: {told}"
        raise failed(message) if arguments[0] in NETWORK else UserError(message)
    return done.stdout.strip()


def check_repository(root: Path) -> None:
    """Check that the project's root is that of a git repository.

    Raises:
        UserError: If it is not.
    """
    try:
        prefix = git(root, "rev-parse", "--show-prefix")
    except UserError as error:
        raise UserError(
            f"{root}: no git repository; other hosts get the code by git: run `git init`, commit, "
            "and `git remote add origin URL`"
        ) from error
    if prefix:
        raise UserError(f"{root}: must be the root of the git repository to run on other hosts")


def remote_name(root: Path) -> str:
    """Return the remote repository that other hosts share: ``origin``, or the only one.

    Raises:
        UserError: If there is none, or several without an ``origin``.
    """
    names = git(root, "remote").split()
    if "origin" in names or len(names) == 1:
        return "origin" if "origin" in names else names[0]
    found = f"several git remotes ({', '.join(names)})" if names else "no git remote"
    raise UserError(f"{found}; other hosts get the code from `origin`: git remote add origin URL")


def remote_url(root: Path) -> str:
    """Return where other hosts fetch the project from; a local path is made absolute.

    Raises:
        UserError: If there is no remote.
    """
    check_repository(root)
    url = git(root, "remote", "get-url", remote_name(root))
    return str((root / url).resolve()) if (root / url).exists() else url


def commit_working_tree(root: Path, message: str, *, also: Sequence[str] = ()) -> str:
    """Commit tracked files as they are now, and new code, on no branch.

    Equal files on the same commit give the same commit again.

    Args:
        root: Root of the repository.
        message: Of the commit.
        also: Files to take in although they are ignored or new; those that exist.

    Returns:
        The commit, whose parent is ``HEAD``.
    """
    with _scratch_index(root) as index:
        git(root, "add", "--update", index=index)
        _add(root, _untracked_code(root, index), index)
        _add(root, also, index)
        return _commit(root, message, index)


def commit_files(root: Path, message: str, paths: Sequence[str]) -> str:
    """Commit some files as they are now, ignored ones too, on no branch."""
    with _scratch_index(root) as index:
        _add(root, paths, index)
        return _commit(root, message, index)


def is_committed(root: Path, commit: str, path: str) -> bool:
    """Return whether a commit holds a file, or something of a directory."""
    return bool(git(root, "ls-tree", "--name-only", commit, "--", path))


def restore(root: Path, commit: str, paths: Sequence[str], into: Path) -> None:
    """Write files of a commit below another folder."""
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
    """Push refs, whatever was there; the user's hooks are for the user's own pushes.

    Raises:
        Unreachable: If the remote did not answer.
    """
    git(root, "push", "--no-verify", "--force", "--quiet", remote_name(root), *refspecs)


def fetch(root: Path, refspec: str) -> None:
    """Fetch one ref; ``FETCH_HEAD`` stays as it is.

    Raises:
        Unreachable: If the remote did not answer.
    """
    options = ("--no-tags", "--no-write-fetch-head", "--force", "--quiet")
    git(root, "fetch", *options, remote_name(root), refspec)


def _environment(index: Path | None) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in OF_A_HOOK}
    own = {"GIT_INDEX_FILE": str(index)} if index else {}
    return {**inherited, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **own}


@contextlib.contextmanager
def _scratch_index(root: Path) -> Iterator[Path]:
    """Yield a copy of the index: it knows which files are tracked, and spares hashing them."""
    with tempfile.TemporaryDirectory(prefix="semigen-index-") as folder:
        own = root / git(root, "rev-parse", "--git-path", "index")
        if own.exists():
            shutil.copy2(own, Path(folder) / "index")
        yield Path(folder) / "index"


def _untracked_code(root: Path, index: Path) -> list[str]:
    options = ("--others", "--exclude-standard", "-z")
    found = git(root, "ls-files", *options, "--", *CODE, index=index)
    return [path for path in found.split("\0") if path]


def _add(root: Path, paths: Sequence[str], index: Path) -> None:
    present = [path for path in paths if (root / path).exists()]
    if present:
        git(root, "add", "--force", "--", *present, index=index)


def _commit(root: Path, message: str, index: Path) -> str:
    """Return a commit of an index on ``HEAD``, with its date, so that equal files give it again."""
    lines = [f"tree {git(root, 'write-tree', index=index)}"]
    date = "0"
    with contextlib.suppress(UserError):  # there may be no commit yet
        head, date = git(root, "log", "-1", "--format=%H %ct", "HEAD").split()
        lines.append(f"parent {head}")
    lines += [f"{role} {IDENTITY} {date} +0000" for role in ("author", "committer")]
    text = index.with_name("commit")
    text.write_text("\n".join([*lines, "", message, ""]), encoding="utf-8")
    return git(root, "hash-object", "-t", "commit", "-w", "--no-filters", str(text))
