"""Checks of a generator's files before its network is built from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch.overrides import TorchFunctionMode

from semigen.tables.encoding import Span

FACTORIES = (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.eye)
SLACK_ELEMENTS = 2**24
"""Elements that a network may create besides multiples of its weights, e.g. a pool of noise."""
MAX_MULTIPLE = 8
"""Initial values, copies and masks together are at most this multiple of the weights."""


class SizeLimit(TorchFunctionMode):
    """Raises an error before tensors are created that are larger than a file can fill.

    The sizes of a network come from a configuration, which may be damaged or crafted.

    Args:
        n_elements: Maximum number of elements of all tensors that are created in the context.

    Examples:
        >>> with SizeLimit(1000):
        ...     _ = torch.nn.Linear(10_000, 10_000)
        Traceback (most recent call last):
        ValueError: the network would be larger than the file of its weights
    """

    def __init__(self, n_elements: int) -> None:
        super().__init__()
        self.n_left = n_elements

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Count the elements of new tensors, then call the function."""
        if func in FACTORIES:
            sizes = args[0] if args and isinstance(args[0], (tuple, list)) else args
            self.n_left -= math.prod(int(size) for size in sizes)
            if self.n_left < 0:
                raise ValueError("the network would be larger than the file of its weights")
        return func(*args, **(kwargs or {}))


def size_limit(weights: Path, arrays: Mapping[str, np.ndarray]) -> SizeLimit:
    """Return the limit for a network with weights in a file.

    Args:
        weights: File of the weights.
        arrays: Other arrays of the model.
    """
    return SizeLimit(SLACK_ELEMENTS + MAX_MULTIPLE * _count(weights, arrays))


def check_layout(spans: Sequence[Span], weights: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Check the layout of an encoded row.

    Args:
        spans: Places of the columns.
        weights: File of the weights, which has at least one for each feature.
        arrays: Other arrays of the model.

    Raises:
        ValueError: If spans do not follow one another, or have more features than the network.
    """
    stop = 0
    for span in spans:
        is_valid = span.start == stop < span.stop
        if not is_valid or (span.kind != "category" and span.stop != span.start + 1):
            raise ValueError(f"the features of column {span.column!r} are not where they must be")
        stop = span.stop
    if not 0 < stop <= _count(weights, arrays):
        raise ValueError(f"a row of {stop} features does not fit the network's weights")


def check_arrays(arrays: Mapping[str, np.ndarray], held_out_scores: Sequence[float] | None) -> None:
    """Check the classes, bins and scores that a model has learned.

    Raises:
        ValueError: If an index is out of bounds, or scores are not in ascending order.
    """
    classes = arrays.get("classes", np.zeros(0, np.int64))
    if classes.dtype != np.int64 or (np.diff(classes, prepend=-1) <= 0).any():
        raise ValueError("the classes of the model are not ascending class indices")
    for name, array in arrays.items():
        if name.startswith("bins.") and name.endswith(".bin_of"):
            steps = np.diff(array, prepend=-1 if array[0] == 0 else -2)
            if not np.isin(steps, (0, 1)).all():
                raise ValueError(f"{name}: bins are not numbered 0, 1, ...")
    scores = np.array([0.0] if held_out_scores is None else held_out_scores, dtype=float)
    if not np.isfinite(scores).all() or (np.diff(scores) < 0).any():
        raise ValueError("held_out_scores: not finite numbers in ascending order")


def _count(weights: Path, arrays: Mapping[str, np.ndarray]) -> int:
    """Return the number of elements of all weights and arrays."""
    with safe_open(weights, framework="numpy") as tensors:
        names = tensors.keys()
        sizes = [math.prod(tensors.get_slice(name).get_shape()) for name in names]
    return sum(sizes) + sum(array.size for array in arrays.values())
