"""The files of registered classifiers: names, digests, complete copies."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semigen.errors import UserError
from semigen.storage.manifest import check_manifest
from semigen.storage.saved_files import list_files, read_saved_json, reading

RECORD = "record.json"
"""File of a version with the facts about it."""


@dataclass(frozen=True)
class Version:
    """A registered classifier.

    Attributes:
        name: ``v0001`` and so on; a number is never used twice.
        created: Time of registration, ISO 8601 in UTC.
        digest: SHA-256 of the classifier's files, see ``digest_of``.
        facts: Other content of ``record.json``.
        folder: Folder of the version; complete, and never changed.

    Examples:
        >>> version = Version("v0001", "2026-01-01T00:00:00+00:00", "0" * 64, {}, Path("v0001"))
        >>> version.classifier.as_posix()
        'v0001/classifier'
    """

    name: str
    created: str
    digest: str
    facts: Mapping[str, Any]
    folder: Path

    @property
    def classifier(self) -> Path:
        """Folder of the classifier."""
        return self.folder / "classifier"


@dataclass(frozen=True)
class Staged:
    """A copy of a classifier that may become a version.

    Attributes:
        folder: Folder that becomes the version's folder; files written beside ``classifier`` become
            part of the version.
        digest: SHA-256 of the classifier's files.
    """

    folder: Path
    digest: str

    @property
    def classifier(self) -> Path:
        """Folder of the classifier."""
        return self.folder / "classifier"


def version_name(number: int) -> str:
    """Return the name of a version.

    Examples:
        >>> version_name(7)
        'v0007'
    """
    return f"v{number:04}"


def is_version_name(text: str) -> bool:
    """Return whether a text has the form of a version's name.

    Examples:
        >>> is_version_name("v0007"), is_version_name("models/classifier")
        (True, False)
    """
    return re.fullmatch(r"v\d{4,9}", text) is not None


def version_number(name: str) -> int:
    """Return the number of a version's name."""
    return int(name.removeprefix("v"))


def digest_of(folder: Path) -> str:
    """Return the SHA-256 of the names and contents of all files in a folder; follows links."""
    total = hashlib.sha256()
    for path in sorted(folder / name for name in list_files(folder)):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{content} {path.relative_to(folder).as_posix()}\n".encode())
    return total.hexdigest()


def verify_version(classifier: Path) -> bool:
    """Check a classifier in the registry against the digest of its registration.

    Args:
        classifier: Folder of a classifier.

    Returns:
        Whether the folder belongs to a registered version.

    Raises:
        UserError: If its files differ from the registered ones.
    """
    record = classifier.resolve().parent / RECORD
    if not record.is_file():
        return False
    with reading(record):
        recorded = read_saved_json(record)["digest"]
    with reading(classifier):
        digest = digest_of(classifier)
    if digest != recorded:
        raise UserError(
            f"{classifier}: the files are not those that were registered (SHA-256 {digest[:12]}, "
            f"registered {str(recorded)[:12]}); restore the folder from a copy, or make another "
            "version the champion with `semigen rollback`"
        )
    return True


def find_changed(versions: Iterable[Version]) -> dict[str, str]:
    """Check the files of versions against the digests of their registration.

    Returns:
        The problem of each version that differs, by name.
    """
    problems = {}
    for version in versions:
        try:
            verify_version(version.classifier)
        except UserError as error:
            problems[version.name] = str(error)
    return problems


def copy_classifier(classifier: Path, folder: Path) -> str:
    """Copy a classifier's folder and return the digest of the copy.

    Raises:
        UserError: If the classifier was written while it was copied or differs from its manifest,
            or a file cannot be copied, e.g. because the disk is full.
    """
    try:
        before = digest_of(classifier)
        check_manifest(classifier)
        shutil.copytree(classifier, folder, copy_function=_copy_file)
        is_same = digest_of(folder) == digest_of(classifier) == before
    except (FileNotFoundError, shutil.Error):
        is_same = False
    except OSError as error:
        raise _not_copied(folder, error) from error
    if not is_same:
        raise UserError(
            f"{classifier}: another run wrote these files while they were copied; try again after "
            "that run"
        )
    return before


def _copy_file(source: str, destination: str) -> None:
    """Copy a file. Errors other than an absent source must not look like a concurrent write."""
    try:
        shutil.copyfile(source, destination)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _not_copied(Path(destination), error) from error


def _not_copied(path: Path, error: OSError) -> UserError:
    return UserError(f"{path}: cannot copy the classifier: {error.strerror or error}")
