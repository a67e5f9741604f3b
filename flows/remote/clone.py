"""Clones of a worker: one per repository, used by one run at a time."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil

from flows.pipeline import git
from flows.pipeline.retry import TIMEOUT_SECONDS, Log, retry
from tasks.process_lifetime import OWNER, processes_with, terminate
from tasks.stage_lock import exclusive

WORKSPACE = "SEMIGEN_WORKSPACE"
"""Environment variable: folder of a worker's clones."""
KEPT = ("/.dvc/cache", "/.dvc/tmp", "/.dvc/config.local", "/.semigen/locks", "__pycache__")
"""Files that a clone keeps between runs, as patterns of .gitignore."""
CHECKED_OUT = "refs/semigen/request"
"""Ref of a clone that holds the commit of the latest request."""


def default_workspace() -> Path:
    """Return ``$SEMIGEN_WORKSPACE``, or a folder in the user's cache."""
    return Path(os.environ.get(WORKSPACE) or Path.home() / ".cache" / "semigen" / "clones")


def clone_path(url: str, workspace: Path) -> Path:
    """Return the folder of a repository's clone: the repository's name and a hash of its URL."""
    name = re.sub(r"[^\w.-]", "_", url.rstrip("/").rpartition("/")[2].removesuffix(".git"))
    return workspace.resolve() / f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"


@contextlib.contextmanager
def only_user(clone: Path, log: Log) -> Iterator[None]:
    """Hold the lock of a clone while the block runs."""
    lock = clone.with_name(f"{clone.name}.lock")
    with exclusive(lock, f"waiting for another run in {clone}", log):
        yield


def check_out(
    clone: Path, url: str, ref: str, log: Log, *, timeout: float = TIMEOUT_SECONDS
) -> None:
    """Check out a ref in a clone, and remove everything that a killed run left there.

    DVC's cache and settings stay. The caller must hold the lock (``only_user``).

    Raises:
        UserError: If the repository cannot be reached, or has no such ref.
    """
    clone.mkdir(exist_ok=True)
    _kill_orphans(clone)
    for lock in (clone / ".git").rglob("*.lock"):  # of a git that was killed
        lock.unlink()
    # DVC takes an entry as valid if any process has its id, and ids are reused.
    (clone / ".dvc" / "tmp" / "rwlock").unlink(missing_ok=True)
    git.git(clone, "init", "--quiet")
    git.git(clone, "config", "remote.origin.url", url)
    retry(lambda: git.fetch(clone, f"{ref}:{CHECKED_OUT}"), log, timeout=timeout)
    git.git(clone, "checkout", "--quiet", "--force", "--detach", CHECKED_OUT)
    excluded = [f"--exclude={pattern}" for pattern in KEPT]
    git.git(clone, "clean", "-ffdxq", *excluded)


def _kill_orphans(clone: Path) -> None:
    """Kill the processes of a killed run: stages, and the DVC processes that started them."""
    orphans = []
    for process in processes_with(OWNER):
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(clone):
                orphans.append(process)
    terminate(orphans, (signal.SIGKILL,))
