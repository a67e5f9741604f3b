"""How the tables of a user write numbers and missing cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from semigen.params.reading import ReadParams
from semigen.tables.columns import is_number
from semigen.tables.number_formats import Decimal, decimal_evidence

NESTED = (list, tuple, dict, set, np.ndarray, bytes)


@dataclass(frozen=True)
class Conventions:
    """How the tables write numbers and missing cells, for columns that allow several readings.

    Attributes:
        decimal: Decimal mark; None if unknown.
        thousands: Thousands separator; None if unknown.
        na_values: Marks of missing cells besides empty ones; None for the default ones.

    Examples:
        >>> table = pd.DataFrame({"price": ["1,5", "2,25"], "income": ["1,500", "2,000"]})
        >>> Conventions.of([table], ReadParams()).decimal
        ','
    """

    decimal: Decimal | None = None
    thousands: str | None = None
    na_values: tuple[str, ...] | None = None

    @classmethod
    def of(cls, tables: Sequence[pd.DataFrame], read: ReadParams) -> Conventions:
        """Return what the user has set, and the decimal mark that the columns prove."""
        return cls(read.decimal or _proven_decimal(tables), read.thousands, read.na_values)


def _proven_decimal(tables: Sequence[pd.DataFrame]) -> Decimal | None:
    """Return the decimal mark of the columns that prove one, if all prove the same."""
    proven = set()
    for name in tables[0].columns if tables else ():
        cells = [table[name] for table in tables if name in table and not is_number(table[name])]
        if cells and not any(map(is_nested, cells)):
            proven.add(decimal_evidence(pd.concat(cells).dropna().drop_duplicates().astype(str)))
    proven.discard(None)
    return proven.pop() if len(proven) == 1 else None


def is_nested(values: pd.Series) -> bool:
    """Return whether a column contains lists or other nested values."""
    return values.dtype == object and any(isinstance(value, NESTED) for value in values)
