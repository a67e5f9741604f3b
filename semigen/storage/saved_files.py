"""Reading of saved files that may be damaged, or come from elsewhere."""

from __future__ import annotations

import contextlib
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from pydantic import ValidationError
from safetensors.numpy import load_file

from semigen.errors import UserError

MAX_FILE_BYTES = 4 * 2**30
MAX_JSON_BYTES = 2**28
MAX_FILES = 1000
MAX_DEPTH = 3
"""Levels of folders below a saved folder."""
REMEDY = "restore the folder from a copy, or train it again"


def list_files(folder: Path) -> list[str]:
    """Return the names of all files in a folder and its subfolders, sorted, with ``/``.

    Links are followed, because DVC may link files to its cache.

    Raises:
        UserError: If there is anything else than files and folders, or there are too many.
    """
    return sorted(_walk(folder, "", MAX_DEPTH))


def _walk(folder: Path, prefix: str, depth: int) -> Iterator[str]:
    for count, path in enumerate(folder.iterdir()):
        if count >= MAX_FILES or depth < 0:
            raise UserError(f"{folder}: holds more files or folders than any model of semigen")
        if path.is_dir():
            yield from _walk(path, f"{prefix}{path.name}/", depth - 1)
        else:
            check_file(path)
            yield prefix + path.name


def check_file(path: Path, max_bytes: int = MAX_FILE_BYTES) -> int:
    """Check that a path is a regular file, or a link to one, and return its size in bytes.

    A named pipe would block the reader, and a device has no end.

    Raises:
        FileNotFoundError: If there is nothing.
        UserError: If it is not a regular file or too large.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f"{path}: not a regular file, so it is not read")
    if found.st_size > max_bytes:
        raise UserError(f"{path}: {found.st_size} bytes, more than the limit of {max_bytes}")
    return found.st_size


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise every error of the block as a ``UserError`` that names a file.

    Libraries raise many kinds of errors for damaged files, from ``KeyError`` to ``MemoryError``.

    Examples:
        >>> with reading(Path("weights.safetensors")):
        ...     {}["bias"]
        Traceback (most recent call last):
        semigen.errors.UserError: weights.safetensors: damaged, or not written by semigen \
(KeyError: 'bias'); restore the folder from a copy, or train it again
    """
    try:
        yield
    except UserError as error:
        if str(path.parent) in str(error):  # it names a file already
            raise
        raise UserError(f"{path}: {error}; {REMEDY}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror or error}") from error
    except Exception as error:
        raise UserError(
            f"{path}: damaged, or not written by semigen ({_describe(error)}); {REMEDY}"
        ) from error


def _describe(error: Exception) -> str:
    """Return an error as one short line."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def require(condition: Any, path: Path, problem: str) -> None:
    """Raise a ``UserError`` that names a file unless a condition holds.

    Args:
        condition: Truth value.
        path: The file.
        problem: What is wrong if the condition does not hold.
    """
    if not condition:
        raise UserError(f"{path}: {problem}; {REMEDY}")


def read_saved_json(path: Path) -> dict[str, Any]:
    """Read a JSON object without infinite numbers and NaN.

    Raises:
        UserError: If the file cannot be read or holds anything else.
    """
    with reading(path):
        check_file(path, MAX_JSON_BYTES)
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_reject)
    require(isinstance(content, dict), path, "not a JSON object")
    return dict(content)


def _reject(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number")


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a safetensors file.

    Raises:
        UserError: If the file is damaged or a number is infinite or NaN.
    """
    with reading(path):
        check_file(path)
        arrays: dict[str, np.ndarray] = load_file(path)
        for name, array in arrays.items():
            require(np.isfinite(array).all(), path, f"{name!r} has infinite or missing numbers")
    return arrays
