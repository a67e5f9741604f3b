"""Positions of class indices among the classes that a model has learned."""

from __future__ import annotations

import numpy as np

from semigen.errors import UserError


def find_classes(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the position of every label in ``classes``, -1 where it is not among them.

    Args:
        y: Class indices, -1 where unlabeled, shape ``(n,)``.
        classes: Class indices in ascending order, shape ``(n_classes,)``, at least one.

    Returns:
        Shape ``(n,)``, int64.

    Examples:
        >>> find_classes(np.array([7, -1, 3, 5]), np.array([3, 7]))
        array([ 1, -1,  0, -1])
    """
    y = np.asarray(y)
    positions = np.searchsorted(classes, y).clip(max=len(classes) - 1)
    return np.where(classes[positions] == y, positions, -1).astype(np.int64)


def class_positions(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the position of every class of ``y`` in ``classes``, shape ``(n,)``, int64.

    Args:
        y: Class indices, shape ``(n,)``.
        classes: Class indices in ascending order, shape ``(n_classes,)``, at least one.

    Raises:
        UserError: If ``y`` holds a class that is not in ``classes``.
    """
    positions = find_classes(y, classes)
    unknown = np.asarray(y)[positions < 0]
    if len(unknown):
        known = ", ".join(map(str, classes))
        raise UserError(f"no labeled row had class {unknown[0]}; known classes: {known}")
    return positions
