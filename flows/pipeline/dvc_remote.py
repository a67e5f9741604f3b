"""Inputs and outputs of a stage, and DVC's remote, through which hosts exchange them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.config_schema import RelPath
from dvc.exceptions import OutputNotFoundError
from dvc.utils.serialize import dump_yaml, load_yaml, loads_yaml

from flows.pipeline.dvc_graph import open_repo
from flows.pipeline.retry import failed
from semigen.artifacts import atomic_path
from semigen.errors import UserError


@dataclass(frozen=True)
class Files:
    """Files and folders of a stage, relative to the project's root.

    Attributes:
        cached: Files in DVC's cache, transferred by DVC's remote.
        in_git: Files that DVC does not cache, transferred by git.
        sources: Files of which DVC knows only the hashes, transferred by git if it tracks them.
    """

    cached: tuple[str, ...] = ()
    in_git: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Store:
    """DVC's default remote.

    Attributes:
        fs: DVC's file system of the remote.
        path: Folder of the remote in that file system.
    """

    fs: Any
    path: str


def dependencies(root: Path, name: str) -> Files:
    """Return the inputs of a stage, except for URLs, which are the same on all hosts.

    Raises:
        UserError: If a file is outside the project.
    """
    with open_repo(root) as repo:
        origins = _origins(repo, name)
        outs = [out for found in origins.values() for out in found]
        params = [dep for dep in origins if dep.hash_name == "params"]
        sources = [dep for dep, found in origins.items() if not found and dep not in params]
        return Files(
            cached=_paths(repo, [out for out in outs if out.use_cache]),
            in_git=_paths(repo, [*params, *(out for out in outs if not out.use_cache)]),
            sources=_paths(repo, sources),
        )


def check_dependencies(root: Path, name: str) -> None:
    """Check that the inputs of a stage are those that DVC recorded, which other hosts would get.

    Raises:
        UserError: If an input has changed since, or is not in DVC's cache.
    """
    with open_repo(root) as repo:
        for out in {out for found in _origins(repo, name).values() for out in found}:
            producer = out.stage.addressing
            if out.workspace_status():
                raise UserError(f"{out}: changed since DVC recorded it; run `dvc repro {producer}`")
            if out.use_cache and out.changed_cache():
                raise UserError(f"{out}: not in DVC's cache; run `dvc commit {producer}`")


def outputs(root: Path, name: str) -> Files:
    """Return the outputs of a stage."""
    with open_repo(root) as repo:
        outs = _stage(repo, name).outs
        return Files(
            cached=_paths(repo, [out for out in outs if out.use_cache]),
            in_git=_paths(repo, [out for out in outs if not out.use_cache]),
        )


def lock_file(root: Path, name: str) -> str:
    """Return the path of the ``dvc.lock`` with a stage's entry, relative to the root."""
    with open_repo(root) as repo:
        path = Path(_stage(repo, name).path).with_suffix(".lock")
        return str(path.relative_to(repo.root_dir))


def merge_lock_entry(root: Path, name: str, text: str) -> None:
    """Copy the entry of one stage from another ``dvc.lock``.

    Args:
        root: The project's root.
        name: Name of the stage.
        text: Content of the other ``dvc.lock``.
    """
    path = root / lock_file(root, name)
    with open_repo(root) as repo, repo.lock:
        key = _stage(repo, name).name
        content: Any = load_yaml(str(path)) if path.exists() else {"schema": "2.0"}
        content.setdefault("stages", {})[key] = loads_yaml(text)["stages"][key]
        with atomic_path(path) as temporary:
            dump_yaml(str(temporary), content)


def check_store(root: Path) -> None:
    """Check that the project has a default remote that other hosts can use too.

    Raises:
        UserError: If there is none, or only this host has its configuration.
    """
    with open_repo(root) as repo:
        config = repo.config.load_config_to_level("local")  # without .dvc/config.local
        name = repo.config["core"].get("remote")
        if not name:
            raise UserError(
                "no default DVC remote, through which hosts exchange data: "
                "dvc remote add --default NAME URL"
            )
        url = config.get("remote", {}).get(name, {}).get("url")
        if url is None or config.get("core", {}).get("remote") != name:
            raise UserError(
                f"DVC remote {name!r} is set in .dvc/config.local, which other hosts do not get; "
                f"set it in .dvc/config: dvc remote add --default {name} URL"
            )
        if isinstance(url, RelPath):
            raise UserError(
                f"DVC remote {name!r}: a relative path, here {url}; all hosts need the same path: "
                f"dvc remote modify {name} url /PATH"
            )
        repo.cloud.get_remote_odb(command="run on another host")  # refuses versioned buckets


def store(root: Path) -> Store:
    """Return the default remote of a project that ``check_store`` accepts."""
    with open_repo(root) as repo:
        remote = repo.cloud.get_remote()
        return Store(remote.fs, remote.path)


def push(root: Path, paths: Sequence[str]) -> None:
    """Upload outputs from DVC's cache to its remote.

    Raises:
        Unreachable: If the remote did not answer.
    """
    _transfer(root, "push", paths)


def pull(root: Path, paths: Sequence[str]) -> None:
    """Download outputs from DVC's remote; existing files are overwritten.

    Raises:
        Unreachable: If the remote did not answer.
    """
    _transfer(root, "pull", paths, "--force")


def _transfer(root: Path, command: str, paths: Sequence[str], *options: str) -> None:
    if not paths:  # DVC would transfer everything
        return
    _forget_lists(root)
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "--wait-for-lock", command, *options, "--", *paths],
        cwd=root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode:
        raise failed(f"dvc {command}: {_error_in(done.stderr)}")


def _forget_lists(root: Path) -> None:
    """Remove DVC's stored lists of the files to transfer.

    A transfer that is killed leaves a list that is not complete, and later transfers of the same
    outputs use it: they succeed and leave files out. DVC holds the lock while it uses a list.
    """
    with open_repo(root) as repo, repo.lock:
        repo.drop_data_index()


def _error_in(text: str) -> str:
    """Return DVC's error message in one line."""
    _, mark, rest = text.partition("ERROR: ")
    return " ".join((rest if mark else text).split("Having any troubles?")[0].split())


def _stage(repo: Any, name: str) -> Any:
    for stage in repo.index.stages:
        if stage.addressing == name:
            return stage
    raise UserError(f"dvc.yaml: no stage {name!r}")


def _origins(repo: Any, name: str) -> dict[Any, list[Any]]:
    """Return, for every input of a stage, the outputs that contain it or that it contains."""
    origins = {}
    for dep in _stage(repo, name).deps:
        if dep.protocol != "local":
            continue
        if not dep.is_in_repo:
            raise UserError(f"{dep}: outside the project, so other hosts do not have it; move it")
        try:
            origins[dep] = repo.find_outs_by_path(dep.fs_path, recursive=True, strict=False)
        except OutputNotFoundError:
            origins[dep] = []
    return origins


def _paths(repo: Any, files: Iterable[Any]) -> tuple[str, ...]:
    paths = (str(Path(file.fs_path).relative_to(repo.root_dir)) for file in files)
    return tuple(dict.fromkeys(paths))
