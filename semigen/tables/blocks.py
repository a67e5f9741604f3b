"""Tables of any length, read in blocks of rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from semigen.errors import UserError
from semigen.tables.formats import is_text
from semigen.tables.sources import read_parts

BLOCK_ROWS = 65_536
"""Number of rows of a block: a few tens of MB of a table with 50 columns."""
BOOLEAN = "boolean"
MISSING = "missing"
TEXT = "str"
ARROW_TYPES = {
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    BOOLEAN: pa.bool_(),
    TEXT: pa.string(),
}


class TableBlocks:
    r"""The rows of a table in blocks, with the cells and types that ``read_table`` gives.

    A first pass over the file finds the type of each column, which depends on all its rows ("007"
    is a number in a column of numbers, and text in a column of text), and checks the file.

    Args:
        path: The file or folder.
        name: Name of the table in errors; the path by default.
        n_rows: Number of rows of a block. The cells do not depend on it.

    Attributes:
        columns: Names of the columns.
        n_rows: Number of rows of the table.

    Raises:
        UserError: As ``read_table``.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "wards.csv"
        >>> _ = path.write_text("ward\n007\n8\neast\n")
        >>> blocks = TableBlocks(path, n_rows=2)
        >>> blocks.n_rows, [block["ward"].tolist() for block in blocks.read()]
        (3, [['007', '8'], ['east']])
    """

    def __init__(self, path: Path, name: str | None = None, n_rows: int = BLOCK_ROWS) -> None:
        self.path, self.name, self.block_rows = path, name or str(path), n_rows
        kinds: dict[str, set[Any]] = {}
        self.n_rows = 0
        for part in read_parts(path, self.name, n_rows):
            self.n_rows += len(part)
            for column, values in part.items():
                kinds.setdefault(str(column), set()).add(self._kind(values))
        self.columns = list(kinds)
        combine = _csv_type if is_text(path) else _stated_type
        self._types = {column: combine(found) for column, found in kinds.items()}

    def read(self, columns: Collection[str] | None = None) -> Iterator[pd.DataFrame]:
        """Read the blocks, each with an index from 0.

        Args:
            columns: Columns to read; all if None.

        Raises:
            UserError: If the file was changed since the first pass.
        """
        wanted = self._types if columns is None else columns
        types = {name: dtype for name, dtype in self._types.items() if name in wanted}
        n_read = 0
        try:
            for part in read_parts(
                self.path, self.name, self.block_rows, dtypes=types, columns=columns
            ):
                n_read += len(part)
                yield _without_nullable(part)
        except UserError as error:
            raise self._changed() from error
        if n_read != self.n_rows:
            raise self._changed()

    def arrow_types(self) -> dict[str, pa.DataType]:
        """Return the type of each column in a Parquet file, as ``read_table`` would write it."""
        if is_text(self.path):
            return {name: ARROW_TYPES[str(dtype)] for name, dtype in self._types.items()}
        schemas = (pa.Schema.from_pandas(block, preserve_index=False) for block in self.read())
        common = reduce(
            lambda a, b: pa.unify_schemas([a, b], promote_options="permissive"), schemas
        )
        return dict(zip(common.names, common.types, strict=True))

    def _kind(self, values: pd.Series) -> Any:
        """Return the type of a column of a part; of CSV files one of those of ``_csv_type``."""
        if not is_text(self.path):
            return values.dtype
        if values.dtype == np.float64 and values.isna().all():
            return MISSING
        if values.dtype in (np.int64, np.float64, np.bool_):
            return values.dtype
        # pandas reads booleans with gaps, and integers above 64 bits, as objects.
        return BOOLEAN if pd.api.types.infer_dtype(values, skipna=True) == "boolean" else TEXT

    def _changed(self) -> UserError:
        return UserError(f"{self.name}: the file changed while it was read; start again")


def _csv_type(kinds: set[Any]) -> Any:
    """Return the type that pandas infers for a column whose parts have these types."""
    if len(kinds) == 1 and kinds != {MISSING}:
        return next(iter(kinds))
    if kinds <= {MISSING, np.dtype(np.int64), np.dtype(np.float64)}:
        return np.dtype(np.float64)
    return BOOLEAN if kinds <= {MISSING, BOOLEAN, np.dtype(np.bool_)} else TEXT


def _stated_type(types: set[Any]) -> Any:
    """Return the common type; parts without missing cells have integers and booleans."""
    if len(types) == 1:
        return next(iter(types))
    numbers = all(pd.api.types.is_numeric_dtype(t) and t.kind != "b" for t in types)
    return np.result_type(*types) if numbers else object


def _without_nullable(part: pd.DataFrame) -> pd.DataFrame:
    """Return a part with booleans as ``read_table`` gives them."""
    nullable = {str(name): values for name, values in part.items() if values.dtype == BOOLEAN}
    return part.assign(**{n: v.astype(object).where(v.notna()) for n, v in nullable.items()})
