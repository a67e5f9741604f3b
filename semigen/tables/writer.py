"""Tables that are written in parts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TextIO

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from semigen.artifacts import atomic_path
from semigen.tables.formulas import guard_formulas
from semigen.tables.sources import is_parquet

Write = Callable[[pd.DataFrame], None]


@contextlib.contextmanager
def table_writer(
    path: Path, types: Mapping[str, pa.DataType], *, guard: bool = True
) -> Iterator[Write]:
    r"""Write a table in parts: Parquet if the file ends in ``.parquet`` or ``.pq``, else CSV.

    The file appears when the block succeeds; otherwise the path stays as it was.

    Args:
        path: The file.
        types: Type of each column in a Parquet file. Integers may have gaps.
        guard: Whether text that a spreadsheet would take for a formula is guarded in CSV files; see
            ``semigen.tables.formulas``.

    Yields:
        Function that writes the next rows; their columns are those of ``types``.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "t.csv"
        >>> with table_writer(path, {"a": pa.int64(), "b": pa.string()}) as write:
        ...     write(pd.DataFrame({"a": [1], "b": ["x"]}))
        ...     write(pd.DataFrame({"a": [2], "b": ["=1+1"]}))
        >>> path.read_text()
        "a,b\n1,x\n2,'=1+1\n"
    """
    with atomic_path(path) as temporary:
        if is_parquet(path):
            schema = pa.schema(list(types.items()))
            with parquet.ParquetWriter(temporary, schema) as file:
                yield lambda rows: file.write_table(_arrow_table(rows, schema))
        else:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                write_rows = partial(_write_csv_rows, file, guard=guard)
                write_rows(pd.DataFrame(columns=list(types)), header=True)
                yield write_rows


def _write_csv_rows(file: TextIO, rows: pd.DataFrame, *, guard: bool, header: bool = False) -> None:
    guarded = guard_formulas(rows) if guard else rows
    guarded.to_csv(file, index=False, lineterminator="\n", header=header)


def _arrow_table(rows: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    arrays = [pa.Array.from_pandas(rows[field.name], type=field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)
