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
from semigen.params.reading import ReadParams
from semigen.tables.formats import is_text
from semigen.tables.sources import read_parts

BLOCK_ROWS = 65_536
"""Number of rows of a block: a few tens of MB of a table with 50 columns."""


class TableBlocks:
    r"""The rows of a table in blocks, with the cells and types that ``read_table`` gives.

    A first pass over the file checks it and, if it is Parquet, finds the type of each column, which
    depends on whether any block has missing cells.

    Args:
        path: The file or folder.
        name: Name of the table in errors; the path by default.
        n_rows: Number of rows of a block. The cells do not depend on it.
        read: How text files are read; detected if None.

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

    def __init__(
        self,
        path: Path,
        name: str | None = None,
        n_rows: int = BLOCK_ROWS,
        read: ReadParams | None = None,
    ) -> None:
        self.path, self.name, self.block_rows = path, name or str(path), n_rows
        self._read = read
        self._state, self.n_rows = self._stat(), 0
        types: dict[str, set[Any]] = {}
        for part in read_parts(path, self.name, n_rows, read=read):
            self.n_rows += len(part)
            for column, values in part.items():
                types.setdefault(str(column), set()).add(values.dtype)
        self.columns = list(types)
        self._types = {column: _common_type(found) for column, found in types.items()}

    def read(self, columns: Collection[str] | None = None) -> Iterator[pd.DataFrame]:
        """Read the blocks, each with an index from 0.

        Args:
            columns: Columns to read; all if None.

        Raises:
            UserError: If the file was changed since the first pass.
        """
        types = {n: t for n, t in self._types.items() if columns is None or n in columns}
        n_read = 0
        try:
            for part in read_parts(
                self.path, self.name, self.block_rows, columns=columns, read=self._read
            ):
                n_read += len(part)
                yield part.astype(types)
        except (KeyError, UserError) as error:
            raise self._changed() from error
        if n_read != self.n_rows or self._stat() != self._state:
            raise self._changed()

    def arrow_types(self) -> dict[str, pa.DataType]:
        """Return the type of each column in a Parquet file, as ``read_table`` would write it."""
        if is_text(self.path):
            return dict.fromkeys(self.columns, pa.string())
        schemas = (pa.Schema.from_pandas(block, preserve_index=False) for block in self.read())
        common = reduce(
            lambda a, b: pa.unify_schemas([a, b], promote_options="permissive"), schemas
        )
        return dict(zip(common.names, common.types, strict=True))

    def _stat(self) -> tuple[int, int] | None:
        """Return the time of the last change and the size of the file; None if it is absent."""
        if not self.path.exists():
            return None
        found = self.path.stat()
        return found.st_mtime_ns, found.st_size

    def _changed(self) -> UserError:
        return UserError(f"{self.name}: the file changed while it was read; start again")


def _common_type(types: set[Any]) -> Any:
    """Return the common type; parts without missing cells have integers and booleans."""
    if len(types) == 1:
        return next(iter(types))
    numbers = all(pd.api.types.is_numeric_dtype(t) and t.kind != "b" for t in types)
    return np.result_type(*types) if numbers else object
