"""A worker's clones: one for each repository, each for one run at a time."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from flows.pipeline import git
from flows.pipeline.retry import TIMEOUT_SECONDS, Log, retry
from tasks.guard import OWNER

WORKSPACE = "SEMIGEN_WORKSPACE"
"""Environment variable: the folder of a worker's clones."""
KEPT = ("/.dvc/cache", "/.dvc/tmp", "/.dvc/config.local", "/.semigen/locks", "__pycache__")
"""What a clone keeps from one run to the next, in the terms of .gitignore."""
CHECKED_OUT = "refs/semigen/request"
"""Where a clone keeps the ref that it was asked for last."""
ORPHAN_SECONDS = 5.0
"""How long a killed process may take to be gone; without its parent it may stay as a zombie."""


def default_workspace() -> Path:
    """Return ``$SEMIGEN_WORKSPACE``, or a folder in the user's cache."""
    return Path(os.environ.get(WORKSPACE) or Path.home() / ".cache" / "semigen" / "clones")


def clone_path(url: str, workspace: Path) -> Path:
    """Return the folder of a repository's clone: its name, and a hash that tells it from others."""
    name = re.sub(r"[^\w.-]", "_", url.rstrip("/").rpartition("/")[2].removesuffix(".git"))
    return workspace.resolve() / f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"


@contextlib.contextmanager
def only_user(clone: Path, log: Log) -> Iterator[None]:
    """Hold a clone for one run; the system releases it from a process that is killed."""
    clone.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(clone.with_name(f"{clone.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log(f"waiting for another run in {clone}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def check_out(
    clone: Path, url: str, ref: str, log: Log, *, timeout: float = TIMEOUT_SECONDS
) -> None:
    """Make a clone's files those of a ref, whatever a killed run left there.

    DVC's cache and settings stay. ``only_user`` must hold the clone.

    Raises:
        UserError: If the repository cannot be reached, or has no such ref.
    """
    clone.mkdir(exist_ok=True)
    _end_orphans(clone)
    for left in (clone / ".git").rglob("*.lock"):  # by a git that was killed
        left.unlink()
    # Beside processes that are gone, DVC counts on those whose number was given to another one.
    (clone / ".dvc" / "tmp" / "rwlock").unlink(missing_ok=True)
    git.git(clone, "init", "--quiet")
    git.git(clone, "config", "remote.origin.url", url)
    retry(lambda: git.fetch(clone, f"{ref}:{CHECKED_OUT}"), log, timeout=timeout)
    git.git(clone, "checkout", "--quiet", "--force", "--detach", CHECKED_OUT)
    excluded = [f"--exclude={pattern}" for pattern in KEPT]
    git.git(clone, "clean", "-ffdxq", *excluded)


def _end_orphans(clone: Path) -> None:
    """Kill what a killed run started and nobody ended: stages, and DVC around them."""
    orphans = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if OWNER in process.environ() and Path(process.cwd()).is_relative_to(clone):
                process.kill()
                orphans.append(process)
    psutil.wait_procs(orphans, timeout=ORPHAN_SECONDS)
