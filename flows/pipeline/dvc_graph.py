"""The pipeline as read by DVC. Only this module, ``dvc_remote`` and ``repair`` use DVC's API.

``Repo.index`` and ``Repo.status`` are not documented, hence ``dvc<4`` in pyproject.toml.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import networkx as nx
from dvc.config import Config
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.scm import SCM, SCMError

from flows.pipeline.locks import holders, wait_for
from flows.pipeline.repair import repair
from flows.pipeline.retry import Log
from semigen.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Stage:
    """A stage of ``dvc.yaml``, or a file tracked by ``dvc add`` (named by its ``.dvc`` file).

    Attributes:
        name: Name of the stage, as for ``dvc repro``.
        command: Command of the stage; None for a file.
        worker: Kind of worker that runs the stage (``meta.worker`` in ``dvc.yaml``); None for any.
        changed: Whether DVC would run the stage now.
        pending: Whether the stage, or a stage that it depends on, has changed.
        cached: Outputs that DVC caches, relative to the root.
        in_git: Outputs that git tracks.
    """

    name: str
    command: str | None
    worker: str | None
    changed: bool
    pending: bool
    cached: tuple[str, ...] = ()
    in_git: tuple[str, ...] = ()


def plan(root: Path, target: str = "report", *, log: Log = print) -> list[Stage]:
    """Return a stage and all stages that it depends on, in topological order.

    Args:
        root: The project's root.
        target: Name of the last stage.
        log: Called with a message if another DVC process must finish first.

    Raises:
        UserError: If DVC cannot read the project, or there is no such stage.
    """
    with open_repo(root) as repo:
        graph = repo.index.graph  # its edges lead to dependencies
        wanted = _upstream(graph, target)
        changed = set(_unblocked(repo.status, target, log))
        positions = {stage: i for i, stage in enumerate(repo.index.stages)}
        order = nx.lexicographical_topological_sort(
            graph.subgraph(wanted).reverse(), key=positions.__getitem__
        )
        stages: dict[str, Stage] = {}
        for stage in order:
            upstream = [stages[other.addressing] for other in graph.successors(stage)]
            stages[stage.addressing] = _describe(stage, changed, upstream)
    return list(stages.values())


def changed_tables(root: Path, target: str = "report") -> list[str]:
    """Return the user's tables that have changed since the last run, sorted.

    These are the files that the target depends on and that no stage writes. Before the first run
    all of them count as changed.

    Args:
        root: The project's root.
        target: Name of the last stage.

    Returns:
        Paths relative to the root.

    Raises:
        UserError: As ``plan``.
    """
    with open_repo(root) as repo:
        wanted = _upstream(repo.index.graph, target)
        made = {str(out) for stage in wanted if stage.cmd for out in stage.outs}
        status = _unblocked(repo.status, target, print)
        entries = [entry for stage in wanted for entry in status.get(stage.addressing, [])]
        # Entries are dictionaries or strings such as "changed command". The values of "changed
        # deps" are strings for files and dictionaries for parameters.
        deps = [entry["changed deps"] for entry in entries if "changed deps" in entry]
        found = {path for dep in deps for path, how in dep.items() if isinstance(how, str)}
    return sorted(found - made)


def is_changed(root: Path, name: str) -> bool:
    """Return whether DVC would run a stage now, regardless of its upstream stages."""
    with open_repo(root) as repo:
        return bool(_unblocked(lambda: repo.status([name]), name, print))


def has_remote(root: Path) -> bool:
    """Return whether the project has a default remote."""
    return bool(Config(str(root / ".dvc"))["core"].get("remote"))


def settle_scm(root: Path | None = None) -> None:
    """Set in DVC's local configuration whether the project is in a git repository.

    Without git (an unpacked archive) DVC requires the setting ``core.no_scm``.
    """
    root = root or Path.cwd()
    try:
        SCM(str(root)).close()
        has_git = True
    except SCMError:
        has_git = False
    config = Config(str(root / ".dvc"), validate=False)
    if has_git is bool(config.load_one("local").get("core", {}).get("no_scm")):
        with config.edit("local", validate=False) as local:
            core = local.setdefault("core", {})
            if has_git:
                del core["no_scm"]
            else:
                core["no_scm"] = True


def _upstream(graph: Any, target: str) -> set[Any]:
    """Return the stage of a name, as an object of DVC, and all stages that it depends on."""
    by_name = {stage.addressing: stage for stage in graph}
    if target not in by_name:
        raise UserError(f"dvc.yaml: no stage {target!r}; stages: {', '.join(sorted(by_name))}")
    found: set[Any] = nx.descendants(graph, by_name[target]) | {by_name[target]}
    return found


def _unblocked(call: Callable[[], T], what: str, log: Log) -> T:
    """Return the result of a call of DVC's API; wait while other processes use its files.

    Args:
        call: May be called several times.
        what: Name of the stage, for the log.
        log: Called with a message before each wait.
    """
    while True:
        try:
            return call()
        except LockError as error:
            others = holders(str(error).splitlines())
            if not others:
                raise
            wait_for(others, what, log)


@contextlib.contextmanager
def open_repo(root: Path) -> Iterator[Any]:
    """Open the project in DVC; convert its errors to ``UserError``."""
    try:
        # DVC names stages relative to the working directory. Another process may hold the lock
        # for a short time: wait, as --wait-for-lock does.
        with contextlib.chdir(root), Repo(_wait_for_lock=True) as repo:
            repair(repo)
            yield repo
    except DvcException as error:
        raise UserError(f"DVC: {' '.join(str(error).split())}") from error


def _describe(stage: Any, changed: set[str], upstream: list[Stage]) -> Stage:
    is_changed_itself = stage.addressing in changed
    return Stage(
        name=stage.addressing,
        command=stage.cmd,
        worker=(stage.meta or {}).get("worker") if stage.cmd else None,
        changed=is_changed_itself,
        pending=is_changed_itself or any(other.pending for other in upstream),
        cached=tuple(str(out) for out in stage.outs if out.use_cache),
        in_git=tuple(str(out) for out in stage.outs if not out.use_cache),
    )
