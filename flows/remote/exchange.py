"""Run a stage on another host that shares only git and DVC's remote with this host.

The host of the flow calls ``snapshot``, the other host ``run_in_clone``, and the first host
``collect``. They exchange two commits on refs that are not branches:

    refs/semigen/<key>/request    the working tree, with uncommitted changes
    refs/semigen/<key>/result     the same, with the stage's entry in dvc.lock

Data is transferred by DVC's remote. A key identifies one stage of one flow run. It is the same for
all attempts to run the stage, so that the next attempt finds the checkpoints of the last one. Git
transfers the settings of the remote in `.dvc/config` but no secrets: every host has its own in the
environment (``AWS_*``) or in its user's DVC configuration (``dvc config --global``).
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from pathlib import Path

from flows.pipeline import dvc_remote, git
from flows.pipeline.dvc_graph import plan
from flows.pipeline.retry import TIMEOUT_SECONDS, Log, Unreachable, retry
from flows.pipeline.stage import reproduce
from flows.remote.checkpoints import SECONDS_BETWEEN, forget, synchronized
from flows.remote.clone import check_out, clone_path, only_user
from semigen.artifacts import Layout, atomic_path
from semigen.errors import UserError

KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def snapshot(
    root: Path, stage: str, key: str, *, log: Log = print, timeout: float = TIMEOUT_SECONDS
) -> str:
    """Push the code and the inputs of a stage to git and DVC's remote.

    The user's branch, index, stash and working tree are not changed. New files that git does not
    track are included if they are inputs of the stage or belong to DVC (``git.PIPELINE``). New code
    is not: it may hold secrets, and a file that was forgotten is named in the log.

    Args:
        root: The project's root, which must be the root of its git repository.
        stage: Name of the stage. The stages that it depends on must be up to date.
        key: Identifies the stage and the flow run (see the module).
        log: Called with a message about new code, and when a host does not answer.
        timeout: Seconds after which a host that does not answer is given up.

    Returns:
        The commit, on ``request_ref(key)`` of the remote repository.

    Raises:
        UserError: If other hosts could not get an input; the message contains the remedy.
    """
    ref = request_ref(key)
    git.check_repository(root)
    git.remote_name(root)
    dvc_remote.check_store(root)
    dvc_remote.check_dependencies(root, stage)
    needed = dvc_remote.dependencies(root, stage)
    if new := git.untracked(root, ["*.py"]):
        log(f"not sent, since git does not track it: {', '.join(new)}; `git add` what is needed")
    commit = git.commit_working_tree(root, f"request to run {stage}", also=needed.in_git)
    _check_sources(root, commit, needed.sources)
    retry(lambda: dvc_remote.push(root, needed.cached), log, timeout=timeout)
    retry(lambda: git.push(root, f"{commit}:{ref}"), log, timeout=timeout)
    return commit


def run_in_clone(
    url: str,
    commit_ref: str,
    stage: str,
    workspace: Path,
    *,
    log: Log,
    force: bool = False,
    debug: bool = False,
    timeout: float = TIMEOUT_SECONDS,
    checkpoint_seconds: float = SECONDS_BETWEEN,
) -> None:
    """Run a stage that another host requested, and push its outputs.

    While the stage runs, its checkpoints are uploaded to DVC's remote. A checkpoint of an earlier
    attempt is downloaded first. All checkpoints are removed at the end.

    Args:
        url: URL of the repository on this host.
        commit_ref: The return value of ``request_ref``.
        stage: Name of the stage.
        workspace: Folder of the clones, one per repository, each with its own DVC cache.
        log: Called with each line of the stage's output, and with a message when a host does not
            answer.
        force: As in ``reproduce``.
        debug: As in ``reproduce``.
        timeout: Seconds after which a host that does not answer is given up.
        checkpoint_seconds: Minimum time between uploads of checkpoints.

    Raises:
        UserError: If the stage failed, or a host cannot be reached.
    """
    key = _key_of(commit_ref)
    clone = clone_path(url, workspace)
    with only_user(clone, log):
        check_out(clone, url, commit_ref, log, timeout=timeout)
        needed = dvc_remote.dependencies(clone, stage).cached
        retry(lambda: dvc_remote.pull(clone, needed), log, timeout=timeout)
        store = dvc_remote.store(clone)
        folder = Layout(clone).checkpoint(stage)
        options = {"seconds": checkpoint_seconds, "timeout": timeout}
        with synchronized(store, key, folder, log=log, **options):
            reproduce(plan(clone, stage)[-1], clone, force=force, debug=debug, log=log)
        _hand_over(clone, stage, key, log, timeout)
        with contextlib.suppress(Unreachable):  # ``collect`` removes them as well
            forget(store, key)


def collect(
    root: Path, stage: str, key: str, *, log: Log = print, timeout: float = TIMEOUT_SECONDS
) -> bool:
    """Fetch the outputs of a stage from the host that ran it, and remove the exchanged files.

    Only the entry of this stage in ``dvc.lock`` changes. The function may be called again after an
    error.

    Args:
        root: The project's root.
        stage: Name of the stage.
        key: Identifies the stage and the flow run (see the module).
        log: Called with a message when a host does not answer.
        timeout: Seconds after which a host that does not answer is given up.

    Returns:
        False if there is no result of the latest request; nothing is changed then.

    Raises:
        UserError: If a host cannot be reached.
    """
    result = _result(root, key, log, timeout)
    if result is None:
        return False
    lock = git.git(root, "show", f"{result}:{dvc_remote.lock_file(root, stage)}")
    made = dvc_remote.outputs(root, stage)
    dvc_remote.merge_lock_entry(root, stage, lock)
    retry(lambda: dvc_remote.pull(root, made.cached), log, timeout=timeout)
    _restore(root, result, made.in_git)
    discard(root, key, log=log, timeout=timeout)
    return True


def discard(root: Path, key: str, *, log: Log = print, timeout: float = TIMEOUT_SECONDS) -> None:
    """Remove the refs and checkpoints of a key.

    Raises:
        UserError: If a host cannot be reached.
    """
    store = dvc_remote.store(root)
    retry(lambda: forget(store, key), log, timeout=timeout)
    retry(lambda: _delete_refs(root, key), log, timeout=timeout)


def request_ref(key: str) -> str:
    """Return the ref of the request for a stage.

    Raises:
        ValueError: If the key contains other characters than letters, digits, ``-`` and ``_``.
    """
    if not KEY.fullmatch(key):
        raise ValueError(f"a key consists of letters, digits, '-' and '_', not {key!r}")
    return f"refs/semigen/{key}/request"


def result_ref(key: str) -> str:
    """Return the ref of the result of a stage."""
    return request_ref(key).replace("/request", "/result")


def _key_of(ref: str) -> str:
    key = ref.removeprefix("refs/semigen/").removesuffix("/request")
    if ref != request_ref(key):
        raise ValueError(f"not the ref of a request: {ref!r}")
    return key


def _check_sources(root: Path, commit: str, paths: tuple[str, ...]) -> None:
    for path in paths:
        if not git.is_committed(root, commit, path):
            raise UserError(
                f"{path}: tracked by neither DVC nor git, so other hosts do not have it; run "
                f"`dvc add {path}`"
            )


def _hand_over(clone: Path, stage: str, key: str, log: Log, timeout: float) -> None:
    made = dvc_remote.outputs(clone, stage)
    retry(lambda: dvc_remote.push(clone, made.cached), log, timeout=timeout)
    paths = [dvc_remote.lock_file(clone, stage), *made.in_git]
    commit = git.commit_files(clone, f"result of {stage}", paths)
    retry(lambda: git.push(clone, f"{commit}:{result_ref(key)}"), log, timeout=timeout)


def _result(root: Path, key: str, log: Log, timeout: float) -> str | None:
    """Fetch and return the commit with the result of the latest request, if there is one."""

    def find() -> str | None:
        refs = git.remote_refs(root, f"refs/semigen/{key}/*")
        if result_ref(key) not in refs:
            return None
        git.fetch(root, result_ref(key))
        commit = refs[result_ref(key)]
        is_of_request = git.git(root, "rev-parse", f"{commit}^") == refs.get(request_ref(key))
        return commit if is_of_request else None

    return retry(find, log, timeout=timeout)


def _restore(root: Path, commit: str, paths: tuple[str, ...]) -> None:
    if not paths:
        return
    with tempfile.TemporaryDirectory() as scratch:
        git.restore(root, commit, paths, Path(scratch))
        for path in paths:
            with atomic_path(root / path) as temporary:
                shutil.move(Path(scratch) / path, temporary)


def _delete_refs(root: Path, key: str) -> None:
    refs = git.remote_refs(root, f"refs/semigen/{key}/*")
    if refs:
        git.push(root, *(f":{ref}" for ref in refs))
