"""Fitted scikit-learn estimators as files: skops, and the same bytes for the same estimator."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import skops.io

from semigen.artifacts import atomic_path
from semigen.errors import UserError

TRUSTED_TYPES = (
    "numpy.dtype",
    "semigen.classifiers.consistency.ConsistencyNetwork",
    "semigen.classifiers.graph.GraphClassifier",
    "semigen.classifiers.latent_mixture.LatentMixtureClassifier",
    "semigen.classifiers.naive_bayes.SemiSupervisedNaiveBayes",
    "semigen.classifiers.posterior.PosteriorClassifier",
    "semigen.classifiers.self_training.BalancedSelfTraining",
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
        return skops.io.load(path, trusted=list(TRUSTED_TYPES))
    except OSError as error:
        raise UserError(f"{path}: cannot read the model: {error.strerror}") from error
    except skops.io.exceptions.UntrustedTypesFoundException as error:
        raise UserError(
            f"{path}: refused, since it holds types that no semigen model has: "
            f"{', '.join(skops.io.get_untrusted_types(file=path))}"
        ) from error


def _canonicalize(path: Path) -> None:
    """Rewrite a skops archive without what differs between equal estimators.

    skops numbers objects by their address in memory, names array files by it, and stamps members
    with the time; here both become running numbers and a fixed date.
    """
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    numbers: dict[int, int] = {}
    files: dict[str, str] = {}
    schema = _renumber(json.loads(members.pop("schema.json")), numbers, files)
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
