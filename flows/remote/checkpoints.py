"""Checkpoints on DVC's remote, so that a stage goes on where another host was lost.

They lie in ``semigen-checkpoints/<key>/`` beside DVC's own ``files/``, which is all that DVC looks
at. Each is one archive, named by a number and its own hash: one that is cut short does not pass for
whole, whatever the storage promises.
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
"""Least time from the end of one upload to the start of the next."""

Signature = frozenset[tuple[str, int, int, int]]


@contextlib.contextmanager
def carried(
    store: Store,
    key: str,
    folder: Path,
    *,
    log: Log,
    seconds: float = SECONDS_BETWEEN,
    timeout: float = TIMEOUT_SECONDS,
) -> Iterator[None]:
    """Bring the newest checkpoint of a key, and upload newer ones while the block runs.

    An upload that fails is tried again ``seconds`` later; it never fails the block. One that the
    block leaves behind, because it failed or was interrupted, is uploaded at the end.

    Args:
        store: DVC's remote.
        key: Names the work; equal for all attempts at it.
        folder: Where the stage keeps its checkpoint.
        log: Is told what was brought and what could not be uploaded.
        seconds: Least time between uploads.
        timeout: How long an unreachable remote is waited for at the start.
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
    """Put the newest whole checkpoint of a key into a folder, if there is one.

    Raises:
        Unreachable: If the remote did not answer.
    """
    with _answering(store), tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "archive"
        for path in reversed(_archives(store, key)):
            store.fs.get_file(path, str(archive))
            if _digest(archive) == _hash_in(path):
                _unpack(archive, folder)
                return True
    return False


def upload(store: Store, key: str, folder: Path) -> None:
    """Store a folder as the newest checkpoint of a key, and remove earlier ones.

    Raises:
        Unreachable: If the remote did not answer.
        OSError: If the folder was replaced meanwhile.
    """
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "archive"
        _pack(folder, archive)
        with _answering(store):
            earlier = _archives(store, key)
            number = 1 + max((_number_in(path) for path in earlier), default=0)
            name = f"{number:08d}-{_digest(archive)}.tar"
            store.fs.makedirs(_home(store, key), exist_ok=True)
            store.fs.put_file(str(archive), store.fs.join(_home(store, key), name))
            for path in earlier:
                store.fs.rm_file(path)


def forget(store: Store, key: str) -> None:
    """Remove all checkpoints of a key.

    Raises:
        Unreachable: If the remote did not answer.
    """
    with _answering(store):
        if _archives(store, key):
            store.fs.rm(_home(store, key), recursive=True)


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
    """Return what differs as soon as a file of a folder does; nothing if there is none."""
    found = set()
    with contextlib.suppress(FileNotFoundError):  # replaced while we look
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
        raise OSError(f"{folder} was replaced while it was read")


def _unpack(archive: Path, folder: Path) -> None:
    with atomic_path(folder) as temporary, tarfile.open(archive) as tar:
        temporary.mkdir()
        tar.extractall(temporary, filter="data")


def _home(store: Store, key: str) -> str:
    return str(store.fs.join(store.path, FOLDER, key))


def _archives(store: Store, key: str) -> list[str]:
    """Return the paths of a key's checkpoints, oldest first."""
    store.fs.fs.invalidate_cache()  # another host may have written since
    home = _home(store, key)
    found = store.fs.find(home) if store.fs.exists(home) else []
    return sorted(path for path in found if path.endswith(".tar"))


def _number_in(path: str) -> int:
    return int(path.rpartition("/")[2].partition("-")[0])


def _hash_in(path: str) -> str:
    return path.removesuffix(".tar").rpartition("-")[2]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _answering(store: Store) -> Iterator[None]:
    """Turn whatever a storage's client raises into ``Unreachable``."""
    try:
        yield
    except Exception as error:  # each client has exceptions of its own
        raise Unreachable(f"{store.path}: {error}") from error
