"""Files of fitted scikit-learn estimators, written by skops, byte for byte reproducible."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import skops.io

from semigen.artifacts import atomic_path
from semigen.errors import UserError

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
TRUSTED_TYPES = (
    "numpy.dtype",
    "semigen.estimators.consistency.ConsistencyNetwork",
    "semigen.estimators.graph.GraphClassifier",
    "semigen.estimators.latent_mixture.LatentMixtureClassifier",
    "semigen.estimators.naive_bayes.SemiSupervisedNaiveBayes",
    "semigen.estimators.posterior.PosteriorClassifier",
    "semigen.estimators.self_training.BalancedSelfTraining",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
)
"""Types in our models that skops does not trust by default. A manipulated tree can crash the
process but cannot run code: load models only from sources that you trust."""
ZIP_DATE = (1980, 1, 1, 0, 0, 0)
"""Earliest date of a zip archive, used for all members."""


def save_estimator(estimator: Any, path: Path) -> None:
    """Write a fitted estimator; equal estimators give equal files.

    Args:
        estimator: Fitted estimator of scikit-learn or of ``semigen.estimators``.
        path: File to write, with the ending ``.skops``.

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
        _canonicalize(temporary)


def load_estimator(path: Path) -> Any:
    """Read an estimator that ``save_estimator`` wrote; no code in the file is executed.

    Raises:
        UserError: If the file cannot be read or contains a type that our models do not use.
    """
    try:
        content = _with_current_modules(path)
        return skops.io.loads(content, trusted=list(TRUSTED_TYPES))
    except OSError as error:
        raise UserError(f"{path}: cannot read the model: {error.strerror}") from error
    except skops.io.exceptions.UntrustedTypesFoundException as error:
        raise UserError(
            f"{path}: refused, because it contains types that no semigen model has: "
            f"{', '.join(skops.io.get_untrusted_types(data=content))}"
        ) from error


def _with_current_modules(path: Path) -> bytes:
    """Return a skops archive with the recorded module names replaced by the current ones."""
    content = path.read_bytes()
    current = {recorded: module for module, recorded in RECORDED_MODULES.items()}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        schema = archive.read("schema.json").decode()
        if not any(f'"{recorded}"' in schema for recorded in current):
            return content
        members = {name: archive.read(name) for name in archive.namelist()}
    members["schema.json"] = json.dumps(_renamed(json.loads(schema), current)).encode()
    rewritten = io.BytesIO()
    with zipfile.ZipFile(rewritten, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return rewritten.getvalue()


def _renamed(node: Any, modules: dict[str, str]) -> Any:
    """Return a skops schema with the modules of its types renamed."""
    if isinstance(node, list):
        return [_renamed(item, modules) for item in node]
    if not isinstance(node, dict):
        return node
    renamed = {key: _renamed(value, modules) for key, value in node.items()}
    if "__module__" in node:
        renamed["__module__"] = modules.get(node["__module__"], node["__module__"])
    return renamed


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
    schema = _renamed(schema, RECORDED_MODULES)
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
    """Return a skops schema with consecutive object numbers and file names."""
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
        else:
            renumbered[key] = _renumber(value, numbers, files)
    return renumbered
