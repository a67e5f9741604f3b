"""Files of fitted scikit-learn estimators, written by skops, byte for byte reproducible."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import skops.io

from semigen.artifacts import atomic_path
from semigen.storage.estimator_checks import check_estimator
from semigen.storage.estimator_types import SCHEMA, TRUSTED_TYPES, describe
from semigen.storage.saved_files import reading

RECORDED_MODULES = {
    "semigen.estimators.consistency": "semigen.classifiers.consistency",
    "semigen.estimators.graph": "semigen.classifiers.graph",
    "semigen.estimators.latent_mixture": "semigen.classifiers.latent_mixture",
    "semigen.estimators.naive_bayes": "semigen.classifiers.naive_bayes",
    "semigen.estimators.posterior": "semigen.classifiers.posterior",
    "semigen.estimators.self_training": "semigen.classifiers.self_training",
}
"""Modules of our estimators, and the module names that files record for them. The recorded names
are part of the file format. They do not change when a class moves, so that models of earlier
versions still load and equal models still give equal files."""
ZIP_DATE = (1980, 1, 1, 0, 0, 0)
"""Earliest date of a zip archive, used for all members."""


def save_estimator(estimator: Any, path: Path) -> None:
    """Write a fitted estimator; equal estimators give equal files.

    Args:
        estimator: Fitted estimator of scikit-learn or of ``semigen.estimators``.
        path: File to write, with the ending ``.skops``.

    Raises:
        UserError: If the estimator contains a type that ``load_estimator`` does not accept.

    Examples:
        >>> import tempfile
        >>> from sklearn.linear_model import LogisticRegression
        >>> path = Path(tempfile.mkdtemp()) / "model.skops"
        >>> save_estimator(LogisticRegression().fit([[0.0], [1.0]], [0, 1]), path)
        >>> load_estimator(path).predict([[0.9]])
        array([1])
    """
    with atomic_path(path) as temporary:
        skops.io.dump(estimator, temporary)
        describe(temporary, path, {})
        _canonicalize(temporary)


def load_estimator(path: Path) -> Any:
    """Read an estimator that ``save_estimator`` wrote; no code in the file is executed.

    Raises:
        UserError: If the file cannot be read, is damaged, or contains a type, an index or a number
            that our models do not have.
    """
    with reading(path):
        current = {recorded: module for module, recorded in RECORDED_MODULES.items()}
        description = describe(path, path, current)
        content = path.read_bytes()
        if description.is_renamed:
            content = _with_schema(content, description.schema)
        estimator = skops.io.loads(content, trusted=list(TRUSTED_TYPES))
        check_estimator(estimator)
    return estimator


def _with_schema(content: bytes, schema: dict[str, Any]) -> bytes:
    """Return a skops archive with another description of its objects.

    The description is appended under the name that it has already, and replaces the first one.
    """
    archive_file = io.BytesIO(content)
    with (
        warnings.catch_warnings(action="ignore", category=UserWarning),
        zipfile.ZipFile(archive_file, "a") as archive,
    ):
        archive.writestr(SCHEMA, json.dumps(schema))
    return archive_file.getvalue()


def _canonicalize(path: Path) -> None:
    """Rewrite a skops archive so that equal estimators give equal bytes.

    skops numbers objects and array files by memory address and gives archive members the current
    time. This function replaces the addresses by consecutive numbers and the time by a fixed date,
    and writes the recorded module names.
    """
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    numbers: dict[int, int] = {}
    files: dict[str, str] = {}
    schema = _renumber(json.loads(members.pop("schema.json")), numbers, files)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for old, new in files.items():
            archive.writestr(_entry(new), members[old])
        archive.writestr(_entry("schema.json"), json.dumps(schema))


def _entry(name: str) -> zipfile.ZipInfo:
    """Return an archive entry with a fixed date; compression makes trees much smaller."""
    info = zipfile.ZipInfo(name, ZIP_DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _renumber(node: Any, numbers: dict[int, int], files: dict[str, str]) -> Any:
    """Return a skops schema with consecutive numbers and file names, and recorded modules."""
    if isinstance(node, list):
        return [_renumber(item, numbers, files) for item in node]
    if not isinstance(node, dict):
        return node
    renumbered: dict[str, Any] = {}
    for key, value in node.items():
        if key == "__id__":
            renumbered[key] = numbers.setdefault(value, len(numbers))
        elif key == "file":
            suffix = Path(value).suffix
            renumbered[key] = files.setdefault(value, f"{len(files)}{suffix}")
        elif key == "__module__":
            renumbered[key] = RECORDED_MODULES.get(value, value)
        else:
            renumbered[key] = _renumber(value, numbers, files)
    return renumbered
