"""What a run leaves in git: dvc.lock, parameters and figures, and the champion as a tag.

Without that the history of scheduled runs is lost: each one overwrites what the last one wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flows.pipeline import dvc_remote
from flows.pipeline.dvc_graph import Stage, has_remote
from flows.pipeline.git import EMAIL, NAME, git
from flows.pipeline.retry import TIMEOUT_SECONDS, Log, Unreachable, retry
from semigen.artifacts import Layout
from semigen.errors import UserError

BUSY_SECONDS = 60.0
"""How long another git command, of the user's say, is waited for."""


def recorded_files(root: Path, stages: Sequence[Stage]) -> list[str]:
    """Return the files in git that say what a run did: those that are there."""
    of_stages = [path for stage in stages for path in (*stage.in_git, stage.name)]
    names = dict.fromkeys(("dvc.lock", "params.yaml", *of_stages))
    return [name for name in names if (root / name).is_file()]


def is_recorded(root: Path, stages: Sequence[Stage]) -> bool:
    """Return whether git's ``HEAD`` holds these files as they are."""
    return not git(root, "status", "--porcelain", "--", *recorded_files(root, stages))


def difference(root: Path, stages: Sequence[Stage]) -> str:
    """Return how these files differ from ``HEAD``, as ``git diff`` tells it; empty without git."""
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
    """Push DVC's cache, then commit what the run changed, on the current branch.

    In this order, so that no commit names data that is nowhere else. Other changes of the user's,
    staged or not, stay as they are.

    Args:
        layout: The project.
        stages: Of the run.
        message: Of the commit.
        log: Is told what happens.
        timeout: Seconds for which a remote that does not answer is waited for.

    Returns:
        The commit; None if ``HEAD`` holds everything already.

    Raises:
        UserError: If there is no repository or branch, or the remote or git refuses.
    """
    root = layout.root
    if is_recorded(root, stages):
        return None
    branch = _branch(root)
    push(root, stages, log, timeout=timeout)
    retry(lambda: _commit(root, recorded_files(root, stages), message), log, timeout=BUSY_SECONDS)
    commit = git(root, "rev-parse", "HEAD")
    log(f"committed {commit[:10]} on {branch}")
    return commit


def push(root: Path, stages: Sequence[Stage], log: Log, *, timeout: float) -> None:
    """Copy what the stages made to DVC's remote; without a remote, say so."""
    if not has_remote(root):
        log(
            "no default DVC remote, so data and models are not pushed: "
            "dvc remote add --default NAME URL"
        )
        return
    paths = [path for stage in stages for path in stage.cached if (root / path).exists()]
    retry(lambda: dvc_remote.push(root, paths), log, timeout=timeout)


def tag(layout: Layout, log: Log) -> None:
    """Bring the git tags of the champion up to date, if it is known which commit made it."""
    from semigen.registry.registry import Registry
    from semigen.registry.versions import digest_of

    champion = Registry(layout.registry).champion()
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
            f"retrain.commit: {root} is on no branch, so that a commit would be lost; "
            "`git switch BRANCH`, or set retrain.commit to false"
        ) from error


def _commit(root: Path, paths: Sequence[str], message: str) -> None:
    identity = ("-c", f"user.name={NAME}", "-c", f"user.email={EMAIL}")
    try:
        git(root, "add", "--", *paths)
        # The user's hooks are for the user's own commits, and so is a key to sign with.
        options = ("--only", "--no-verify", "--no-gpg-sign", "--quiet")
        git(root, *identity, "commit", *options, "--message", message, "--", *paths)
    except UserError as error:
        if "index.lock" in str(error):
            raise Unreachable(f"git is busy: {error}") from error
        raise
