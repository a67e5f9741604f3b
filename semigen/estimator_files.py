"""Fitted scikit-learn estimators as files: skops, and the same bytes for the same estimator."""

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
"""Modules of our estimators, and the names that files record for them. The recorded names belong to
the file format: they stay when a class moves, so that models of earlier versions still load and
equal models still give equal bytes."""
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
"""Types beyond skops' own list that our models hold. A tampered tree can crash the process, though
not run code: load models from sources that you trust."""
EPOCH = (1980, 1, 1, 0, 0, 0)


def save_estimator(estimator: Any, path: Path) -> None:
    """Write a fitted estimator; equal estimators give equal bytes."""
    with atomic_path(path) as temporary:
        skops.io.dump(estimator, temporary)
        _canonicalize(temporary)


def load_estimator(path: Path) -> Any:
    """Read what ``save_estimator`` wrote; no code in the file is run.

    Raises:
        UserError: If the file is absent or holds a type that our models do not use.
    """
    try:
        content = _with_current_modules(path)
        return skops.io.loads(content, trusted=list(TRUSTED_TYPES))
    except OSError as error:
        raise UserError(f"{path}: cannot read the model: {error.strerror}") from error
    except skops.io.exceptions.UntrustedTypesFoundException as error:
        raise UserError(
            f"{path}: refused, since it holds types that no semigen model has: "
            f"{', '.join(skops.io.get_untrusted_types(data=content))}"
        ) from error


def _with_current_modules(path: Path) -> bytes:
    """Return a skops archive whose recorded modules are those that our estimators live in now."""
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
    """Rewrite a skops archive without what differs between equal estimators.

    skops numbers objects by their address in memory, names array files by it, and stamps members
    with the time; here both become running numbers and a fixed date. Modules get the names that the
    file format has for them.
    """
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    numbers: dict[int, int] = {}
    files: dict[str, str] = {}
    schema = _renumber(json.loads(members.pop("schema.json")), numbers, files)
    schema = _renamed(schema, RECORDED_MODULES)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for old, new in files.items():
            archive.writestr(_dated(new), members[old])
        archive.writestr(_dated("schema.json"), json.dumps(schema))


def _dated(name: str) -> zipfile.ZipInfo:
    """Return an entry of a fixed date, compressed: trees shrink to a fraction."""
    info = zipfile.ZipInfo(name, EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _renumber(node: Any, numbers: dict[int, int], files: dict[str, str]) -> Any:
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
