"""Checkpoints on DVC's remote, so that a stage resumes on another host when its host is lost.

They are stored in ``semigen-checkpoints/<key>/``, next to ``files/``, the only folder that DVC
reads. Each checkpoint is one archive whose name contains a number and its hash, so that a truncated
archive is recognized on any storage.
"""

from __future__ import annotations

import contextlib
import hashlib
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from flows.pipeline.dvc_remote import Store
from flows.pipeline.retry import TIMEOUT_SECONDS, Log, Unreachable, retry
from semigen.artifacts import atomic_path

FOLDER = "semigen-checkpoints"
SECONDS_BETWEEN = 30.0
"""Minimum time from the end of one upload to the start of the next."""

Signature = frozenset[tuple[str, int, int, int]]


@contextlib.contextmanager
def synchronized(
    store: Store,
    key: str,
    folder: Path,
    *,
    log: Log,
    seconds: float = SECONDS_BETWEEN,
    timeout: float = TIMEOUT_SECONDS,
) -> Iterator[None]:
    """Download the latest checkpoint of a key, and upload newer ones while the block runs.

    A failed upload is repeated after ``seconds``; it does not raise an error. The last checkpoint
    of a block that failed or was interrupted is uploaded at the end.

    Args:
        store: DVC's remote.
        key: Identifies one stage of one flow run; equal for all attempts to run it.
        folder: Folder of the stage's checkpoint.
        log: Called with a message after a download and after a failed upload.
        seconds: Minimum time between uploads.
        timeout: Seconds after which an unreachable remote is given up, for the download.
    """
    if retry(lambda: download(store, key, folder), log, timeout=timeout):
        log("downloaded the checkpoint of an earlier attempt")
    stop = threading.Event()
    arguments = (store, key, folder, log, seconds, stop)
    uploader = threading.Thread(target=_keep_uploading, args=arguments, daemon=True)
    uploader.start()
    try:
        yield
    finally:
        stop.set()
        uploader.join()


def download(store: Store, key: str, folder: Path) -> bool:
    """Download the latest complete checkpoint of a key; return whether there is one.

    Raises:
        Unreachable: If the remote did not answer.
    """
    with _reachable(store), tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "archive"
        for path in reversed(_archives(store, key)):
            store.fs.get_file(path, str(archive))
            if _digest(archive) == _hash_in(path):
                _unpack(archive, folder)
                return True
    return False


def upload(store: Store, key: str, folder: Path) -> None:
    """Upload a folder as the latest checkpoint of a key, and remove earlier ones.

    Raises:
        Unreachable: If the remote did not answer.
        OSError: If the folder was replaced during the upload.
    """
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "archive"
        _pack(folder, archive)
        with _reachable(store):
            earlier = _archives(store, key)
            number = 1 + max((_number_in(path) for path in earlier), default=0)
            name = f"{number:08d}-{_digest(archive)}.tar"
            store.fs.makedirs(_folder_of(store, key), exist_ok=True)
            store.fs.put_file(str(archive), store.fs.join(_folder_of(store, key), name))
            for path in earlier:
                store.fs.rm_file(path)


def forget(store: Store, key: str) -> None:
    """Remove all checkpoints of a key.

    Raises:
        Unreachable: If the remote did not answer.
    """
    with _reachable(store):
        if _archives(store, key):
            store.fs.rm(_folder_of(store, key), recursive=True)


def _keep_uploading(
    store: Store, key: str, folder: Path, log: Log, seconds: float, stop: threading.Event
) -> None:
    done = _signature(folder)
    while not stop.is_set():
        stop.wait(seconds)
        found = _signature(folder)
        if not found or found == done:
            continue
        try:
            upload(store, key, folder)
            done = found
        except (Unreachable, OSError) as error:
            if folder.exists():
                log(f"checkpoint not uploaded, retrying in {seconds:.0f} s: {error}")


def _signature(folder: Path) -> Signature:
    """Return name, size, time and inode of the files of a folder; empty if there is none."""
    found = set()
    with contextlib.suppress(FileNotFoundError):  # replaced in the meantime
        for path in folder.rglob("*"):
            stat = path.stat()
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                found.add((name, stat.st_size, stat.st_mtime_ns, stat.st_ino))
    return frozenset(found)


def _pack(folder: Path, archive: Path) -> None:
    before = _signature(folder)
    with tarfile.open(archive, "w") as tar:
        tar.add(folder, arcname=".")
    if _signature(folder) != before:
        raise OSError(f"{folder} was replaced while it was being read")


def _unpack(archive: Path, folder: Path) -> None:
    with atomic_path(folder) as temporary, tarfile.open(archive) as tar:
        temporary.mkdir()
        tar.extractall(temporary, filter="data")


def _folder_of(store: Store, key: str) -> str:
    return str(store.fs.join(store.path, FOLDER, key))


def _archives(store: Store, key: str) -> list[str]:
    """Return the paths of a key's checkpoints, oldest first."""
    store.fs.fs.invalidate_cache()  # another host may have written
    folder = _folder_of(store, key)
    found = store.fs.find(folder) if store.fs.exists(folder) else []
    return sorted(path for path in found if path.endswith(".tar"))


def _number_in(path: str) -> int:
    return int(path.rpartition("/")[2].partition("-")[0])


def _hash_in(path: str) -> str:
    return path.removesuffix(".tar").rpartition("-")[2]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _reachable(store: Store) -> Iterator[None]:
    """Convert every error of a storage client to ``Unreachable``."""
    try:
        yield
    except Exception as error:  # each client has its own exceptions
        raise Unreachable(f"{store.path}: {error}") from error
