"""Types that files of scikit-learn estimators may hold, and limits on their sizes.

skops itself accepts all estimators of scikit-learn and all sparse matrices. Many of them keep
indices that compiled code follows without checking, so that a crafted file can crash the process.
This module accepts the types that semigen models consist of; ``semigen.storage.estimator_checks``
checks the indices of those.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semigen.errors import UserError
from semigen.storage.saved_files import MAX_JSON_BYTES, check_file, require

SCHEMA = "schema.json"
"""Member of a skops archive that describes all objects."""
MAX_EXPANDED_BYTES = 2**29
"""Total size of the members of an archive that is always accepted."""
MAX_EXPANSION = 100
"""Above that size, the total may be this multiple of the archive's own size."""

OWN_TYPES = (
    "semigen.estimators.consistency.ConsistencyNetwork",
    "semigen.estimators.graph.GraphClassifier",
    "semigen.estimators.latent_mixture.LatentMixtureClassifier",
    "semigen.estimators.naive_bayes.SemiSupervisedNaiveBayes",
    "semigen.estimators.posterior.PosteriorClassifier",
    "semigen.estimators.self_training.BalancedSelfTraining",
)
TYPES = {
    "DTypeNode": ("numpy.dtype",),
    "DictNode": ("builtins.dict",),
    "JsonNode": ("builtins.str",),
    "ListNode": ("builtins.list",),
    "LossNode": (
        "sklearn._loss._loss.CyHalfBinomialLoss",
        "sklearn._loss._loss.CyHalfMultinomialLoss",
    ),
    "NdArrayNode": (
        "numpy.bool",
        "numpy.bool_",
        "numpy.float32",
        "numpy.float64",
        "numpy.int32",
        "numpy.int64",
        "numpy.ndarray",
        "numpy.str_",
        "numpy.uint32",
        "numpy.uint64",
        "numpy.uint8",
    ),
    "ObjectNode": (
        *OWN_TYPES,
        "sklearn._loss.link.IdentityLink",
        "sklearn._loss.link.Interval",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.link.MultinomialLogit",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn._loss.loss.HalfMultinomialLoss",
        "sklearn.compose._column_transformer.ColumnTransformer",
        "sklearn.ensemble._forest.ExtraTreesClassifier",
        "sklearn.ensemble._forest.RandomForestClassifier",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.impute._base.MissingIndicator",
        "sklearn.impute._base.SimpleImputer",
        "sklearn.kernel_approximation.RBFSampler",
        "sklearn.linear_model._logistic.LogisticRegression",
        "sklearn.naive_bayes.GaussianNB",
        "sklearn.neural_network._multilayer_perceptron.MLPClassifier",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.pipeline.Pipeline",
        "sklearn.preprocessing._data.MinMaxScaler",
        "sklearn.preprocessing._data.QuantileTransformer",
        "sklearn.preprocessing._data.StandardScaler",
        "sklearn.preprocessing._encoders.OneHotEncoder",
        "sklearn.preprocessing._encoders.OrdinalEncoder",
        "sklearn.preprocessing._label.LabelBinarizer",
        "sklearn.preprocessing._label.LabelEncoder",
        "sklearn.tree._classes.DecisionTreeClassifier",
        "sklearn.tree._classes.ExtraTreeClassifier",
    ),
    "RandomGeneratorNode": ("numpy.random._generator.Generator",),
    "RandomStateNode": ("numpy.random.mtrand.RandomState",),
    "SliceNode": ("builtins.slice",),
    "TreeNode": ("sklearn.tree._tree.Tree",),
    "TupleNode": ("builtins.tuple",),
    "TypeNode": (
        "builtins.bool",
        "builtins.float",
        "builtins.int",
        "builtins.str",
        "numpy.float32",
        "numpy.float64",
        "numpy.int64",
    ),
}
"""Accepted types by the kind of node that skops records for them."""
TRUSTED_TYPES = (
    *OWN_TYPES,
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
)
"""Those of them that skops does not trust by default."""
ACCEPTED = {(node, name) for node, names in TYPES.items() for name in names}


@dataclass(frozen=True)
class Description:
    """Description of the objects in a skops archive.

    Attributes:
        schema: The description, as skops writes it.
        is_renamed: Whether modules of types were renamed in it.
    """

    schema: dict[str, Any]
    is_renamed: bool


def describe(archive_file: Path, path: Path, names: Mapping[str, str]) -> Description:
    """Read the description of an archive, and check sizes and types.

    Nothing is decompressed before the sizes are known to be within the limits.

    Args:
        archive_file: The archive.
        path: Path for messages.
        names: Current names of modules by their recorded ones.

    Raises:
        UserError: If the archive is larger than any model, or contains a type that is not accepted.
    """
    limit = max(MAX_EXPANDED_BYTES, MAX_EXPANSION * check_file(archive_file))
    with zipfile.ZipFile(archive_file) as archive:
        expanded = sum(info.file_size for info in archive.infolist())
        require(expanded <= limit, path, f"expands to {expanded} bytes, more than any model")
        size = archive.getinfo(SCHEMA).file_size
        require(size <= MAX_JSON_BYTES, path, f"{SCHEMA} has {size} bytes, more than any model")
        content = archive.read(SCHEMA)
    found: set[tuple[str, str]] = set()
    renamed: set[str] = set()

    def visit(node: dict[str, Any]) -> dict[str, Any]:
        if "__module__" in node:
            module = node["__module__"]
            if module in names:
                renamed.add(module)
                module = node["__module__"] = names[module]
            if "__loader__" in node:
                found.add((node["__loader__"], f"{module}.{node['__class__']}"))
        return node

    schema: dict[str, Any] = json.loads(content, object_hook=visit)
    if refused := sorted({name for _, name in found - ACCEPTED}):
        raise UserError(
            f"{path}: refused, because it contains types that no semigen model has: "
            f"{', '.join(refused)}"
        )
    return Description(schema, bool(renamed))
