"""Figures with confidence intervals: how they are stored, printed and written as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, Self

DECIMALS = 6
"""Decimal places of numbers in JSON files."""
DASH = "\u2013"
"""Text of a figure that cannot be estimated."""


@dataclass(frozen=True)
class Estimate:
    """A figure and its confidence interval.

    The format specification applies to all three numbers, and three decimals are the default. Two
    presentation types scale them: ``%`` multiplies by 100 and adds a percent sign, and ``p`` does
    the same for a difference of proportions, whose unit is percentage points. Limits that cannot be
    estimated are NaN, null in JSON and a dash in text.

    Attributes:
        value: Point estimate.
        low: Lower limit of the interval; NaN if it cannot be estimated.
        high: Upper limit of the interval; NaN if it cannot be estimated.

    Examples:
        >>> accuracy = Estimate(0.9312, 0.9, 0.96)
        >>> f"{accuracy}"
        '0.931 [0.900, 0.960]'
        >>> f"{accuracy:.1%}"
        '93.1% [90.0, 96.0]'
        >>> f"{Estimate(0.072, 0.044, 0.1):+.1p}"
        '+7.2 points [+4.4, +10.0]'
        >>> f"{Estimate(0.5, math.nan, math.nan)}" == f"0.500 [{DASH}]"
        True
    """

    value: float
    low: float
    high: float

    @classmethod
    def from_json(cls, figure: Mapping[str, float | None]) -> Self:
        """Return the estimate that ``to_json`` wrote."""
        return cls(**{name: math.nan if x is None else x for name, x in figure.items()})

    @property
    def has_interval(self) -> bool:
        """Whether the interval could be estimated."""
        return not math.isnan(self.low)

    def __format__(self, spec: str) -> str:
        spec, kind = spec or ".3f", spec[-1:]
        scale, unit = {"%": (100, "%"), "p": (100, " points")}.get(kind, (1, ""))
        spec = spec[:-1] + "f" if unit else spec
        value, low, high = (format(scale * x, spec) for x in (self.value, self.low, self.high))
        return f"{value}{unit} [{low}, {high}]" if self.has_interval else f"{value}{unit} [{DASH}]"


@dataclass(frozen=True)
class Gain(Estimate):
    """A paired difference of two classifiers on the same rows.

    Attributes:
        p_value: Two-sided p-value of the hypothesis that there is no difference; NaN if it cannot
            be estimated.

    Examples:
        >>> f"{Gain(0.05, -0.01, 0.11, p_value=0.08):+.2f}"
        '+0.05 [-0.01, +0.11]'
    """

    p_value: float


def to_json(figures: Any) -> Any:
    """Return a dataclass of figures as nested dictionaries.

    Numbers are rounded to six digits; NaN becomes None.
    """
    if is_dataclass(figures) and not isinstance(figures, type):
        figures = asdict(figures)
    if isinstance(figures, Mapping):
        return {name: to_json(value) for name, value in figures.items()}
    if isinstance(figures, float) and math.isnan(figures):
        return None
    # Adding 0.0 turns a rounded -0.0 into 0.0.
    return round(figures, DECIMALS) + 0.0 if isinstance(figures, float) else figures
