"""Compressed files: gzip, bzip2, xz, Zstandard, and zip with one file."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import IO, Any

import pyarrow as pa

from semigen.errors import UserError
from semigen.params.explain import COMPRESSED_SUFFIXES

ZIP = b"PK\3\4"
CHUNK = 1 << 20
MAX_RATIO = 1000
MIN_BOMB_SIZE = 1 << 30
"""A file that expands to more bytes than this and to more than ``MAX_RATIO`` times its size is
refused: no table does, and it would fill the disk."""


def _open_zstd(path: Path) -> Any:
    return pa.input_stream(str(path), compression="zstd")


OPENERS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
    b"\x28\xb5\x2f\xfd": _open_zstd,
}
"""How files that start with these bytes are decompressed."""
DAMAGED = (EOFError, OSError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, RuntimeError)


@contextlib.contextmanager
def uncompressed(path: Path, name: str) -> Iterator[Path]:
    """Yield a file without compression: the file itself, or a temporary one.

    The content decides whether a file is compressed, not its name. The temporary file has the
    suffix of the table, such as ``.csv`` for ``rows.csv.gz``, and only its owner can read it.

    Args:
        path: A file, or a folder, which is yielded as it is.
        name: Name of the table in errors.

    Raises:
        UserError: If the file is damaged, encrypted, has several files, or expands without bound.
    """
    start = b"" if path.is_dir() else _first_bytes(path)
    opener = next((opener for mark, opener in OPENERS.items() if start.startswith(mark)), None)
    if start.startswith(ZIP) and not _is_workbook(path):
        opener = _open_zip
    if opener is None:
        if path.is_dir() or path.suffix.lower() not in COMPRESSED_SUFFIXES:
            yield path
            return
        opener = _open_plain  # a copy with another name, by which pandas does not decompress
    with tempfile.TemporaryDirectory(prefix="semigen-") as folder:
        plain = Path(folder) / f"table{PurePath(inner_name(path)).suffix}"
        try:
            with opener(path) as source, plain.open("wb") as target:
                _copy(source, target, name, max_size=MAX_RATIO * path.stat().st_size)
        except DAMAGED as error:
            reason = " ".join(str(error).split()).replace(str(path), name)
            raise UserError(
                f"{name}: cannot be decompressed: {reason}; compress it again"
            ) from error
        yield plain


def inner_name(path: Path) -> str:
    """Return the name of a file without compression.

    Raises:
        UserError: If a zip file has not exactly one file.

    Examples:
        >>> inner_name(Path("rows.csv.gz")), inner_name(Path("rows.parquet"))
        ('rows.csv', 'rows.parquet')
    """
    if path.suffix.lower() == ".zip" and path.is_file():
        with contextlib.suppress(zipfile.BadZipFile):
            return _member(path).filename
    return path.stem if path.suffix.lower() in COMPRESSED_SUFFIXES else path.name


def _open_plain(path: Path) -> Any:
    return path.open("rb")


def _open_zip(path: Path) -> Any:
    archive, member = zipfile.ZipFile(path), _member(path)
    return archive.open(member)


def _member(path: Path) -> zipfile.ZipInfo:
    with zipfile.ZipFile(path) as archive:
        files = [
            info
            for info in archive.infolist()
            if not info.is_dir() and not info.filename.startswith("__MACOSX/")
        ]
    if len(files) != 1:
        names = ", ".join(repr(info.filename) for info in files[:5])
        raise UserError(
            f"{path.name}: the zip file has {len(files)} files ({names or 'none'}); it must have "
            "one table"
        )
    return files[0]


def _is_workbook(path: Path) -> bool:
    """Return whether a zip file is a spreadsheet, which is one too."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return not {"[Content_Types].xml", "mimetype"}.isdisjoint(archive.namelist())


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(max(map(len, OPENERS)))


def _copy(source: IO[bytes], target: IO[bytes], name: str, max_size: int) -> None:
    size = 0
    while chunk := source.read(CHUNK):
        size += len(chunk)
        if size > max(max_size, MIN_BOMB_SIZE):
            raise UserError(
                f"{name}: expands to more than {MAX_RATIO} times its size; such a file is no table"
            )
        target.write(chunk)
