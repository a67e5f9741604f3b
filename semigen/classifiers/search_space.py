"""Settings that the search may choose for a learner, described without Optuna."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LogFloat:
    """A float between two bounds, sampled on a logarithmic scale.

    Attributes:
        low: Lower bound, above 0.
        high: Upper bound.

    Examples:
        >>> LogFloat(0.01, 100.0)
        LogFloat(low=0.01, high=100.0)
    """

    low: float
    high: float


@dataclass(frozen=True)
class LogInt:
    """An integer between two bounds, both included, sampled on a logarithmic scale.

    Attributes:
        low: Lower bound, at least 1.
        high: Upper bound.

    Examples:
        >>> LogInt(1, 5)
        LogInt(low=1, high=5)
    """

    low: int
    high: int


@dataclass(frozen=True)
class Choice:
    """One of several values.

    Attributes:
        options: The values.

    Examples:
        >>> Choice(("encoded", "both"))
        Choice(options=('encoded', 'both'))
    """

    options: tuple[Any, ...]


@dataclass(frozen=True)
class SearchSpace:
    """The search space of a learner.

    Attributes:
        kind: Name in the table of trials; the learner of the best trial is ``tuned_<kind>``.
        settings: Ranges, or fixed values, of keyword arguments of the learner's factory, in the
            order in which they are sampled. ``space``, if present, is the learner's input space.

    Examples:
        >>> ranges = {"space": Choice(("encoded", "both")), "C": LogFloat(0.01, 100.0)}
        >>> SearchSpace("logistic_regression", ranges).settings["C"].high
        100.0
    """

    kind: str
    settings: Mapping[str, Any]
