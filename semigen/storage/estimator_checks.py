"""Checks of loaded estimators, so that compiled code follows no index out of bounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier
from sklearn.tree._tree import Tree

NO_CHILD = -1


def check_estimator(estimator: Any) -> None:
    """Check an estimator that was read from a file, and all estimators in it.

    Raises:
        ValueError: If a number is infinite or missing, or an index is out of bounds.
    """
    trees: list[Tree] = []
    for part in _parts(estimator):
        if getattr(part, "n_jobs", None) is not None:
            raise ValueError("n_jobs is set, which would start processes")
        if not _is_fitted(part):  # such as the template of a forest's trees
            continue
        if isinstance(part, DecisionTreeClassifier):
            trees.append(_tree_of(part))
        elif isinstance(part, (ExtraTreesClassifier, RandomForestClassifier)):
            _check_forest(part)
        elif isinstance(part, HistGradientBoostingClassifier):
            _check_boosting(part)
        elif isinstance(part, OneHotEncoder):
            _check_one_hot(part)
    check_trees(trees)


def check_trees(trees: list[Tree]) -> None:
    """Check the nodes of decision trees.

    scikit-learn numbers the children of a node higher than the node, so that numbers in ascending
    order prove that there is no cycle.

    Raises:
        ValueError: If a child or feature does not exist, or a number is infinite or NaN.
    """
    if not trees:
        return
    states = [tree.__getstate__() for tree in trees if 0 < tree.node_count <= tree.capacity]
    if len(states) < len(trees):
        raise ValueError("a tree has another number of nodes than it says")
    nodes = np.concatenate([state["nodes"] for state in states])
    counts = [len(state["nodes"]) for state in states]
    values = np.concatenate([state["values"].ravel() for state in states])
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise ValueError("a tree has class weights that are negative or not finite")
    _check_nodes(
        left=nodes["left_child"],
        right=nodes["right_child"],
        is_leaf=(nodes["left_child"] == NO_CHILD) & (nodes["right_child"] == NO_CHILD),
        feature=nodes["feature"],
        threshold=nodes["threshold"],
        counts=counts,
        n_features=np.repeat([tree.n_features for tree in trees], counts),
    )


def _check_nodes(
    *,
    left: np.ndarray,
    right: np.ndarray,
    is_leaf: np.ndarray,
    feature: np.ndarray,
    threshold: np.ndarray,
    counts: list[int],
    n_features: np.ndarray,
) -> None:
    """Check nodes of several trees, one tree after the other.

    Args:
        left: Number of the left child within the tree, shape ``(n_nodes,)``.
        right: Number of the right child, likewise.
        is_leaf: Whether a node has no children.
        feature: Feature of the split.
        threshold: Threshold of the split.
        counts: Number of nodes of each tree.
        n_features: Number of features of each node's tree, shape ``(n_nodes,)``.
    """
    number = np.concatenate([np.arange(count) for count in counts])
    total = np.repeat(counts, counts)
    inner = ~is_leaf
    for child in (left.astype(np.int64)[inner], right.astype(np.int64)[inner]):
        if not ((child > number[inner]) & (child < total[inner])).all():
            raise ValueError("a tree has a child that does not exist or comes before its parent")
    split = feature.astype(np.int64)[inner]
    if not ((split >= 0) & (split < n_features[inner])).all():
        raise ValueError("a tree splits by a feature that does not exist")
    if not np.isfinite(threshold[inner]).all():
        raise ValueError("a tree has a threshold that is not finite")


def _is_fitted(estimator: BaseEstimator) -> bool:
    """Return whether an estimator has learned attributes; scikit-learn ends their names in _."""
    return any(name.endswith("_") and not name.endswith("__") for name in vars(estimator))


def _tree_of(estimator: DecisionTreeClassifier) -> Tree:
    tree = estimator.tree_
    if not isinstance(tree, Tree) or tree.n_features != estimator.n_features_in_:
        raise ValueError("a tree has another number of features than its estimator")
    return tree


def _check_forest(forest: Any) -> None:
    for estimator in forest.estimators_:
        if not isinstance(estimator, DecisionTreeClassifier):
            raise ValueError("a forest holds something else than trees")
        if estimator.n_features_in_ != forest.n_features_in_:
            raise ValueError("the trees of a forest have different numbers of features")


def _check_boosting(model: HistGradientBoostingClassifier) -> None:
    """Check the trees of gradient boosting; no model of semigen has categorical splits."""
    predictors = [predictor for stage in model._predictors for predictor in stage]
    nodes = np.concatenate([predictor.nodes for predictor in predictors])
    mapper = model._bin_mapper
    has_categories = nodes["is_categorical"].any() or np.any(mapper.is_categorical_)
    if has_categories or model.is_categorical_ is not None:
        raise ValueError("gradient boosting has categorical splits")
    if not np.isfinite(nodes["value"]).all() or not all(len(p.nodes) for p in predictors):
        raise ValueError("gradient boosting has values that are not finite or trees without nodes")
    counts = [len(predictor.nodes) for predictor in predictors]
    _check_nodes(
        left=nodes["left"],
        right=nodes["right"],
        is_leaf=nodes["is_leaf"].astype(bool),
        feature=nodes["feature_idx"],
        threshold=nodes["num_threshold"],
        counts=counts,
        n_features=np.full(len(nodes), model.n_features_in_),
    )


def _check_one_hot(encoder: OneHotEncoder) -> None:
    """Check where a one-hot encoder writes its ones."""
    if encoder.drop_idx_ is not None or encoder.sparse_output:
        raise ValueError("a one-hot encoder drops categories or is sparse")
    parts = (
        encoder.categories_,
        encoder.infrequent_categories_,
        encoder._default_to_infrequent_mappings,
        encoder._n_features_outs,
    )
    for categories, rare, places, width in zip(*parts, strict=True):
        expected = len(categories) if rare is None else len(categories) - len(rare) + 1
        if places is not None:
            is_wrong = len(places) != len(categories) or places.min() < 0 or places.max() >= width
        else:
            is_wrong = rare is not None
        if is_wrong or width != expected:
            raise ValueError("a one-hot encoder has another number of columns than categories")


def _parts(root: Any) -> Iterator[Any]:
    """Yield all estimators in an object, and check the numbers that they have learned."""
    waiting, seen = [root], set()
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, (list, tuple)):
            waiting += part
        elif isinstance(part, np.ndarray):
            if part.dtype.kind == "f" and not np.isfinite(part).all():
                raise ValueError("an array has infinite or missing numbers")
        elif isinstance(part, BaseEstimator):
            yield part
            waiting += vars(part).values()
