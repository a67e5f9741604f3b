"""Tables in files as data frames."""

from __future__ import annotations

import contextlib
import csv
import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from semigen.artifacts import atomic_path
from semigen.errors import UserError
from semigen.params.explain import PARQUET_SUFFIXES, is_table_name
from semigen.tables.compression import uncompressed
from semigen.tables.formats import format_of, is_text, parquet_files, read_format
from semigen.tables.formulas import guard_formulas

DELIMITERS = ",;\t|"


def read_table(path: str | Path, name: str | None = None) -> pd.DataFrame:
    """Read a table, whose format the suffix tells; files of an unknown suffix are CSV.

    The formats are CSV, Parquet (also a folder of files), Arrow and Feather, JSON lines, and
    spreadsheets (with the extra ``excel``). Files may be compressed: gzip, bzip2, xz, Zstandard, or
    zip with one file.

    The delimiter of a CSV file is the most frequent of ``, ; tab |`` in its header. White space
    around text cells and column names is removed, and empty cells are missing.

    Args:
        path: The file.
        name: Name of the table in errors; the path by default.

    Returns:
        The table, with an index from 0.

    Raises:
        UserError: If the file does not exist, is empty, cannot be read, has no rows, repeats a
            column name, or has lines of different lengths.
    """
    path = Path(path)
    return next(read_parts(path, name or str(path)))


def read_parts(
    path: Path,
    name: str,
    n_rows: int | None = None,
    *,
    dtypes: Mapping[str, Any] | None = None,
    columns: Collection[str] | None = None,
) -> Iterator[pd.DataFrame]:
    """Read a table in parts; ``read_table`` describes the cells.

    The types of a part's columns depend on the rows of that part alone, unless they are given. Use
    ``semigen.tables.blocks.TableBlocks`` for parts with the types of the whole table.

    Args:
        path: The file or folder.
        name: Name of the table in errors.
        n_rows: Number of rows of a part; None reads the table as one part. Only CSV and Parquet
            files are read part by part, without the whole table in memory.
        dtypes: Type of each column by name; inferred from each part if None.
        columns: Columns to read. Then lines of different lengths are not found.

    Yields:
        At least one part, each with an index from 0.

    Raises:
        UserError: As ``read_table``.
    """
    is_empty = True
    with _errors_of(path, name), uncompressed(path, name) as file:
        if is_text(file):
            parts = _csv_parts(file, name, n_rows, dtypes, columns)
        elif format_of(file) == "Parquet" and file.is_file():
            parts = _parquet_parts(file, n_rows, dtypes, columns)
        else:
            parts = _slices(read_format(file, name, columns), n_rows, dtypes)
        for part in parts:
            if len(part):
                is_empty = False
                yield _strip_blanks(part.reset_index(drop=True))
    if is_empty:
        raise UserError(f"{name}: the table has no rows; add rows below the header")


def read_columns(path: Path, name: str) -> list[str]:
    """Return the column names of a table, without its rows.

    Args:
        path: The file or folder.
        name: Name of the table in errors.

    Raises:
        UserError: If the file does not exist, or its header cannot be read.
    """
    with _errors_of(path, name), uncompressed(path, name) as file:
        if is_text(file):
            delimiter, _ = _header(file, name)
            return [column.strip() for column in _names_in_file(file, delimiter)]
        if format_of(file) == "Parquet" and file.is_file():
            return [str(column) for column in parquet.read_schema(file).names]
        return [str(column) for column in read_format(file, name).columns]


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
    except UnicodeDecodeError as error:
        raise UserError(
            f"{name}: not UTF-8 text (byte {error.object[error.start]:#04x} at position "
            f"{error.start}); save the table as UTF-8 CSV, or as Parquet"
        ) from error
    except pd.errors.EmptyDataError as error:
        raise UserError(f"{name}: the file is blank; it needs a header line and rows") from error
    except (pd.errors.ParserError, csv.Error) as error:
        raise UserError(
            f"{name}: not a readable CSV file: {_one_line(error)}; each line needs as many cells "
            "as the header, and quotes must be closed"
        ) from error
    except (OSError, ValueError) as error:  # pyarrow's errors are subclasses of these
        reason = _one_line(error).replace(str(path), name)
        kind = "cannot be read" if is_text(path) else f"not a readable {format_of(path)} file"
        raise UserError(f"{name}: {kind}: {reason}") from error


def _parquet_parts(
    path: Path,
    n_rows: int | None,
    dtypes: Mapping[str, Any] | None,
    columns: Collection[str] | None,
) -> Iterator[pd.DataFrame]:
    for table in _arrow_tables(path, n_rows, columns):
        yield from _slices(table.to_pandas(), None, dtypes)


def _slices(
    frame: pd.DataFrame, n_rows: int | None, dtypes: Mapping[str, Any] | None
) -> Iterator[pd.DataFrame]:
    """Yield the rows of a frame in parts, categories as plain values."""
    categorical = frame.select_dtypes("category").columns
    frame = frame.astype(dict.fromkeys(categorical, object)).rename(columns=str)
    for start in range(0, len(frame), n_rows or max(len(frame), 1)):
        yield frame.iloc[start : start + (n_rows or len(frame))].astype(dtypes or {})


def _arrow_tables(
    path: Path, n_rows: int | None, columns: Collection[str] | None
) -> Iterator[pa.Table]:
    selected = None if columns is None else list(columns)
    if n_rows is None:
        yield parquet.read_table(path, columns=selected)
        return
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(n_rows, columns=selected):
            yield pa.Table.from_batches([batch])


def _csv_parts(
    path: Path,
    name: str,
    n_rows: int | None,
    dtypes: Mapping[str, Any] | None,
    columns: Collection[str] | None,
) -> Iterator[pd.DataFrame]:
    delimiter, names = _header(path, name)
    has_gaps = False

    def is_wanted(column: str) -> bool:
        return columns is None or column.strip() in columns

    with pd.read_csv(
        path,
        sep=delimiter,
        encoding="utf-8-sig",
        low_memory=False,
        index_col=False,
        usecols=is_wanted if columns is not None else None,
        dtype=None if dtypes is None else _types_of_names(path, delimiter, dtypes),
        iterator=True,
    ) as reader:
        while (frame := _next_frame(reader, name, n_rows, len(names))) is not None:
            if columns is None and not has_gaps and len(frame) and frame.iloc[:, -1].isna().any():
                has_gaps = True
                _reject_short_line(path, name, delimiter, n_columns=len(names))
            yield frame.rename(columns=str.strip)


def _next_frame(reader: Any, name: str, n_rows: int | None, n_columns: int) -> pd.DataFrame | None:
    """Return the next rows of a CSV file, or None at its end."""
    try:
        with warnings.catch_warnings():
            # By default pandas truncates lines longer than the header, or takes their first cell as
            # the index.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return reader.read(n_rows)
    except StopIteration:
        return None
    except pd.errors.ParserWarning as error:
        raise UserError(
            f"{name}: lines have more cells than the header's {n_columns}; name all "
            "columns, and quote cells that contain the delimiter"
        ) from error


def _types_of_names(path: Path, delimiter: str, dtypes: Mapping[str, Any]) -> dict[str, Any]:
    """Return column types by the names in the file, white space included."""
    names = _names_in_file(path, delimiter)
    return {name: dtypes[name.strip()] for name in names if name.strip() in dtypes}


def _names_in_file(path: Path, delimiter: str) -> list[str]:
    header = pd.read_csv(path, sep=delimiter, encoding="utf-8-sig", index_col=False, nrows=0)
    return [str(name) for name in header.columns]


def _header(path: Path, name: str) -> tuple[str, list[str]]:
    """Return the delimiter and the column names."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline()
    if "\0" in header:
        raise UserError(
            f"{name}: contains NUL bytes, so it is not text; save the table as UTF-8 CSV"
        )
    delimiter = max(DELIMITERS, key=header.count)
    names = [cell.strip() for cell in next(csv.reader([header], delimiter=delimiter), [])]
    repeated = sorted({cell for cell in names if cell and names.count(cell) > 1})
    if repeated:
        column = repr(repeated[0]) if is_table_name(name) else names.index(repeated[0]) + 1
        raise UserError(f"{name}: column {column} occurs twice in the header; rename one")
    return delimiter, names


def _reject_short_line(path: Path, name: str, delimiter: str, n_columns: int) -> None:
    """Raise if a line has fewer cells than the header; pandas would fill it with missing cells."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter)
        for cells in reader:
            if cells and len(cells) < n_columns:
                raise UserError(
                    f"{name}: line {reader.line_num} has {len(cells)} cells, the header "
                    f"{n_columns}; correct the line"
                )


def _strip_blanks(frame: pd.DataFrame) -> pd.DataFrame:
    names = [name for name in frame.columns if pd.api.types.is_string_dtype(frame[name])]
    stripped = {name: frame[name].str.strip() for name in names}
    return frame.assign(**{name: text.where(text != "") for name, text in stripped.items()})


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
