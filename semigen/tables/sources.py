"""Tables in files as data frames."""

from __future__ import annotations

import contextlib
import csv
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from semigen.artifacts import atomic_path
from semigen.errors import UserError
from semigen.params.explain import PARQUET_SUFFIXES
from semigen.params.reading import ReadParams
from semigen.tables.compression import uncompressed
from semigen.tables.formats import format_of, is_text, parquet_files, read_format
from semigen.tables.formulas import guard_formulas
from semigen.tables.text_files import read_text_columns, read_text_parts


def read_table(
    path: str | Path, name: str | None = None, read: ReadParams | None = None
) -> pd.DataFrame:
    """Read a table, whose format the suffix tells; files of an unknown suffix are CSV.

    The formats are CSV, Parquet (also a folder of files), Arrow and Feather, JSON lines, and
    spreadsheets (with the extra ``excel``). Files may be compressed: gzip, bzip2, xz, Zstandard, or
    zip with one file.

    Cells of a text file stay text, without white space around them; empty cells are missing. A
    ``TableSchema`` types them. What a user should know about the dialect of the file, such as an
    encoding other than UTF-8, is in ``frame.attrs["notes"]``.

    Args:
        path: The file.
        name: Name of the table in errors; the path by default.
        read: How text files are read; detected if None.

    Returns:
        The table, with an index from 0. A named index becomes a column.

    Raises:
        UserError: If the file does not exist, is empty, cannot be read, has no rows, repeats a
            column name, or has lines of different lengths.
    """
    path = Path(path)
    return next(read_parts(path, name or str(path), read=read))


def read_parts(
    path: Path,
    name: str,
    n_rows: int | None = None,
    *,
    columns: Collection[str] | None = None,
    read: ReadParams | None = None,
) -> Iterator[pd.DataFrame]:
    """Read a table in parts; ``read_table`` describes the cells.

    Args:
        path: The file or folder.
        name: Name of the table in errors.
        n_rows: Number of rows of a part; None reads the table as one part. Only CSV and Parquet
            files are read part by part, without the whole table in memory.
        columns: Columns to read. Then lines of different lengths are not found.
        read: How text files are read; detected if None.

    Yields:
        At least one part, each with an index from 0. A column of a Parquet file may have another
        type in each part, where a part has missing cells; a ``TableSchema`` types both alike.

    Raises:
        UserError: As ``read_table``.
    """
    is_empty = True
    with _errors_of(path, name), uncompressed(path, name) as file:
        if is_text(file):
            parts = read_text_parts(file, name, read or ReadParams(), n_rows, columns)
        elif format_of(file) == "Parquet" and file.is_file():
            parts = _parquet_parts(file, name, n_rows, columns)
        else:
            parts = _slices(_plain(read_format(file, name), name, columns), n_rows)
        for part in parts:
            if len(part):
                is_empty = False
                yield part.reset_index(drop=True)
    if is_empty:
        raise UserError(f"{name}: the table has no rows; add rows below the header")


def read_columns(path: Path, name: str, read: ReadParams | None = None) -> list[str]:
    """Return the column names of a table, without its rows.

    Args:
        path: The file or folder.
        name: Name of the table in errors.
        read: How text files are read; detected if None.

    Raises:
        UserError: If the file does not exist, or its header cannot be read.
    """
    with _errors_of(path, name), uncompressed(path, name) as file:
        if is_text(file):
            return read_text_columns(file, name, read or ReadParams())
        if format_of(file) == "Parquet" and file.is_file():
            return [str(column).strip() for column in parquet.read_schema(file).names]
        return [str(column) for column in _plain(read_format(file, name), name).columns]


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV; equal content gives equal bytes."""
    frame.to_csv(path, index=False, lineterminator="\n")


def write_table(frame: pd.DataFrame, path: Path, *, guard: bool = True) -> None:
    """Write a table atomically: Parquet if the file ends in ``.parquet`` or ``.pq``, else CSV.

    Args:
        frame: The table.
        path: The file.
        guard: Whether text that a spreadsheet would take for a formula is guarded in a CSV file;
            see ``semigen.tables.formulas``.
    """
    with atomic_path(path) as temporary:
        if is_parquet(path):
            frame.to_parquet(temporary, index=False)
        else:
            write_csv(guard_formulas(frame) if guard else frame, temporary)


def is_parquet(path: Path) -> bool:
    """Return whether a table is written as Parquet, by the name of its file."""
    return path.suffix.lower() in PARQUET_SUFFIXES


@contextlib.contextmanager
def _errors_of(path: Path, name: str) -> Iterator[None]:
    """Check that a file can hold a table, and turn the errors of reading it into ``UserError``."""
    if not path.exists():
        raise UserError(f"{name}: no such file")
    if path.is_dir():
        parquet_files(path, name)
    elif not path.is_file():  # reading a pipe or a device may not end
        raise UserError(f"{name}: is not a regular file; give the path of a table")
    try:
        if path.stat().st_size == 0:
            raise UserError(f"{name}: the file is empty; it needs a header line and rows")
        yield
    except UserError:
        raise
    except UnicodeError as error:
        reason = _one_line(error)
        raise UserError(
            f"{name}: cannot be decoded ({reason}); set data.read.encoding, or save the table as "
            "UTF-8 CSV or as Parquet"
        ) from error
    except pd.errors.EmptyDataError as error:
        raise UserError(f"{name}: the file is blank; it needs a header line and rows") from error
    except (pd.errors.ParserError, csv.Error) as error:
        if "out of memory" in str(error):
            raise MemoryError(f"{name}: out of memory") from error
        raise UserError(
            f"{name}: not a readable CSV file: {_one_line(error)}; each line needs as many cells "
            "as the header, and quotes must be closed"
        ) from error
    except (OSError, ValueError) as error:  # pyarrow's errors are subclasses of these
        reason = _one_line(error).replace(str(path), name)
        kind = "cannot be read" if is_text(path) else f"not a readable {format_of(path)} file"
        raise UserError(f"{name}: {kind}: {reason}") from error


def _parquet_parts(
    path: Path, name: str, n_rows: int | None, columns: Collection[str] | None
) -> Iterator[pd.DataFrame]:
    schema = parquet.read_schema(path)
    _reject_repeated(schema.names, name)
    selected = [c for c in schema.names if columns is None or c.strip() in columns]
    for table in _arrow_tables(path, n_rows, selected):
        frame = table.to_pandas()
        frame = frame.astype({c: "category" for c in _categorical(schema) if c in frame})
        yield _plain(frame, name)


def _plain(frame: pd.DataFrame, name: str, columns: Collection[str] | None = None) -> pd.DataFrame:
    """Return a frame whose named index is a column, with names that are text without blanks."""
    named = [level for level in frame.index.names if level is not None]
    frame = frame.reset_index(level=named) if named else frame
    _reject_repeated(frame.columns, name)
    frame = frame.set_axis([str(column).strip() for column in frame.columns], axis=1)
    return frame if columns is None else frame[[c for c in frame.columns if c in set(columns)]]


def _reject_repeated(names: Iterable[object], name: str) -> None:
    times = Counter(str(column).strip() for column in names)
    repeated = [column for column, n in times.items() if n > 1]
    if repeated:
        raise UserError(f"{name}: column {repeated[0]!r} occurs twice; rename one")


def _slices(frame: pd.DataFrame, n_rows: int | None) -> Iterator[pd.DataFrame]:
    for start in range(0, len(frame), n_rows or max(len(frame), 1)):
        yield frame.iloc[start : start + (n_rows or len(frame))]


def _categorical(schema: pa.Schema) -> list[str]:
    """Return the columns that pandas wrote as categories; Arrow reads codes back as numbers."""
    columns = (schema.pandas_metadata or {}).get("columns", [])
    return [c["field_name"] for c in columns if c["pandas_type"] == "categorical"]


def _arrow_tables(path: Path, n_rows: int | None, columns: list[str]) -> Iterator[pa.Table]:
    if n_rows is None:
        yield parquet.read_table(path, columns=columns)
        return
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(n_rows, columns=columns):
            yield pa.Table.from_batches([batch])


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
