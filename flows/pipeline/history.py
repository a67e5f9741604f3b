"""Record a run in git: commit dvc.lock, parameters and metrics, and tag the champion.

Otherwise each scheduled run would overwrite the files of the run before.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from flows.pipeline import dvc_remote
from flows.pipeline.dvc_graph import Stage, has_remote
from flows.pipeline.git import EMAIL, NAME, git, remove_stale_locks
from flows.pipeline.retry import TIMEOUT_SECONDS, Log, Unreachable, retry
from semigen.artifacts import Layout
from semigen.errors import UserError

LOCKED = ".lock': File exists"
"""Part of git's message if another git command holds a lock."""
BUSY_SECONDS = 60.0
"""Timeout while another git command, such as one of the user's, holds a lock."""


def recorded_files(root: Path, stages: Sequence[Stage]) -> list[str]:
    """Return the existing files in git that describe a run."""
    of_stages = [path for stage in stages for path in (*stage.in_git, stage.name)]
    names = dict.fromkeys(("dvc.lock", "params.yaml", *of_stages))
    return [name for name in names if (root / name).is_file()]


def is_recorded(root: Path, stages: Sequence[Stage]) -> bool:
    """Return whether git's ``HEAD`` contains these files unchanged."""
    return not git(root, "status", "--porcelain", "--", *recorded_files(root, stages))


def difference(root: Path, stages: Sequence[Stage]) -> str:
    """Return the output of ``git diff HEAD`` for these files; empty without git."""
    try:
        return git(root, "diff", "--no-color", "HEAD", "--", *recorded_files(root, stages))
    except UserError:  # no repository, or no commit yet
        return ""


def record(
    layout: Layout,
    stages: Sequence[Stage],
    message: str,
    log: Log,
    *,
    timeout: float = TIMEOUT_SECONDS,
) -> str | None:
    """Push DVC's cache, then commit the changes of the run on the current branch.

    The cache is pushed first, so that no commit refers to data that exists only here. The user's
    other changes, staged or not, are not committed.

    Args:
        layout: The project's files.
        stages: Stages of the run.
        message: Message of the commit.
        log: Called with a message for each step.
        timeout: Seconds after which an unreachable remote is given up.

    Returns:
        The commit; None if ``HEAD`` contains everything already.

    Raises:
        UserError: If there is no repository or branch, or the remote or git refuses.
    """
    root = layout.root
    if is_recorded(root, stages):
        return None
    branch = _branch(root)
    push(root, stages, log, timeout=timeout)
    _commit_when_free(root, recorded_files(root, stages), message, log)
    commit = git(root, "rev-parse", "HEAD")
    log(f"committed {commit[:10]} on {branch}")
    return commit


def push(root: Path, stages: Sequence[Stage], log: Log, *, timeout: float) -> None:
    """Push the outputs of the stages to DVC's remote; log a message if there is none."""
    if not has_remote(root):
        log(
            "no default DVC remote, so data and models are not pushed: "
            "dvc remote add --default NAME URL"
        )
        return
    paths = [path for stage in stages for path in stage.cached if (root / path).exists()]
    retry(lambda: dvc_remote.push(root, paths), log, timeout=timeout)


def tag(layout: Layout, log: Log) -> None:
    """Update the git tags of the project's champion, if the commit that trained it is known."""
    from semigen.registry.question import Question
    from semigen.registry.registry import Registry
    from semigen.registry.versions import digest_of

    champion = Registry(layout.registry).champion(Question.of_project(layout))
    if champion is None:
        return
    from flows.pipeline.tags import is_tagged, tag_champion

    is_newest = layout.classifier.exists() and champion.digest == digest_of(layout.classifier)
    if is_newest or is_tagged(layout.root, champion.name):
        for name in tag_champion(layout.root, champion.name, git(layout.root, "rev-parse", "HEAD")):
            log(f"tagged {name}")


def _branch(root: Path) -> str:
    try:
        return git(root, "symbolic-ref", "--short", "HEAD")
    except UserError as error:
        raise UserError(
            f"retrain.commit: {root} is on no branch (detached HEAD), so a commit would be lost; "
            "`git switch BRANCH`, or set retrain.commit to false"
        ) from error


def _commit_when_free(root: Path, paths: Sequence[str], message: str, log: Log) -> None:
    """Commit when no other git command holds a lock; remove locks that a killed one left."""

    def commit() -> None:
        _commit(root, paths, message)

    started = time.monotonic()
    try:
        retry(commit, log, timeout=BUSY_SECONDS)
    except UserError as error:
        if LOCKED not in str(error):
            raise
        stale = remove_stale_locks(root, time.monotonic() - started)
        if not stale:
            raise
        log(f"removed {', '.join(path.name for path in stale)}, which a killed git left")
        commit()


def _commit(root: Path, paths: Sequence[str], message: str) -> None:
    identity = ("-c", f"user.name={NAME}", "-c", f"user.email={EMAIL}")
    try:
        # Projects of earlier versions ignore files in reports/ that are tracked now.
        git(root, "add", "--force", "--", *paths)
        # Hooks and signing keys are for the user's own commits.
        options = ("--only", "--no-verify", "--no-gpg-sign", "--quiet")
        git(root, *identity, "commit", *options, "--message", message, "--", *paths)
    except UserError as error:
        if LOCKED in str(error):
            raise Unreachable(f"git is busy: {error}") from error
        raise
