"""Numbers that are too far outside the range of the training rows to be encoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from semigen.wording import mark_cells

if TYPE_CHECKING:
    from semigen.tables.encoding import Span

MAX_ENCODED = 1e12
"""Maximum size of an encoded number, in ranges or standard deviations of the training rows.
Networks square it, and float32 ends at 3.4e38."""


def far_numbers(x: np.ndarray, frame: pd.DataFrame, spans: Sequence[Span]) -> dict[int, str]:
    """Return the rows with a number that networks cannot process, with column and marked number.

    Args:
        x: Encoded rows, shape ``(n_rows, n_features)``.
        frame: The same rows before they were encoded.
        spans: Positions of the columns in an encoded row.

    Examples:
        >>> from semigen.tables.encoding import Span
        >>> frame = pd.DataFrame({"age": [31.0, 1e40]})
        >>> far_numbers(np.array([[0.1], [np.inf]]), frame, [Span("age", 0, 1, "numeric")])
        {1: "column 'age': ⟦1e+40⟧ is too far outside the range of the training rows"}
    """
    if not len(x) or -MAX_ENCODED <= x.min() <= x.max() <= MAX_ENCODED:
        return {}
    is_far = ~(np.abs(x) <= MAX_ENCODED)  # NaN too
    reasons = {}
    for row in np.flatnonzero(is_far.any(axis=1)).tolist():
        name = next(span.column for span in spans if span.stop > is_far[row].argmax())
        number = mark_cells(str(frame[name].iloc[row]))
        reasons[row] = (
            f"column {name!r}: {number} is too far outside the range of the training rows"
        )
    return reasons
