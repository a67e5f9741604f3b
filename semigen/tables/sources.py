"""CSV and Parquet files as data frames."""

from __future__ import annotations

import contextlib
import csv
import warnings
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from pyarrow import parquet

from semigen.artifacts import atomic_path
from semigen.errors import UserError
from semigen.params.explain import is_table_name

DELIMITERS = ",;\t|"
PARQUET_SUFFIXES = (".parquet", ".pq")


def read_table(path: str | Path, name: str | None = None) -> pd.DataFrame:
    """Read a table: Parquet if the file ends in ``.parquet`` or ``.pq``, else CSV.

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
    name = name or str(path)
    with _errors_of(path, name):
        frame = _read_parquet(path) if _is_parquet(path) else _read_csv(path, name)
    if frame.empty:
        raise UserError(f"{name}: the table has no rows; add rows below the header")
    return _strip_blanks(frame.reset_index(drop=True))


def read_columns(path: Path, name: str) -> list[str]:
    """Return the column names of a table, without its rows.

    Args:
        path: CSV or Parquet file.
        name: Name of the table in errors.

    Raises:
        UserError: If the file does not exist, or its header cannot be read.
    """
    with _errors_of(path, name):
        if _is_parquet(path):
            return [str(column) for column in parquet.read_schema(path).names]
        delimiter, _ = _header(path, name)
        encoding = "utf-8-sig"
        frame = pd.read_csv(path, sep=delimiter, encoding=encoding, index_col=False, nrows=0)
    return [str(column).strip() for column in frame.columns]


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV; equal content gives equal bytes."""
    frame.to_csv(path, index=False, lineterminator="\n")


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table atomically: Parquet if the file ends in ``.parquet`` or ``.pq``, else CSV."""
    with atomic_path(path) as temporary:
        if _is_parquet(path):
            frame.to_parquet(temporary, index=False)
        else:
            write_csv(frame, temporary)


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in PARQUET_SUFFIXES


@contextlib.contextmanager
def _errors_of(path: Path, name: str) -> Iterator[None]:
    """Check that a file can hold a table, and turn the errors of reading it into ``UserError``."""
    if not path.exists():
        raise UserError(f"{name}: no such file; check the path in params.yaml, section data")
    if path.is_dir():
        raise UserError(f"{name}: is a folder; give the path of a CSV or Parquet file")
    if not path.is_file():  # reading a pipe or a device may not end
        raise UserError(f"{name}: is not a regular file; give the path of a CSV or Parquet file")
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
        kind = "not a readable Parquet file" if _is_parquet(path) else "cannot be read"
        raise UserError(f"{name}: {kind}: {reason}") from error


def _read_parquet(path: Path) -> pd.DataFrame:
    frame = pd.read_parquet(path)
    categorical = frame.select_dtypes("category").columns
    return frame.astype(dict.fromkeys(categorical, object)).rename(columns=str)


def _read_csv(path: Path, name: str) -> pd.DataFrame:
    delimiter, names = _header(path, name)
    try:
        with warnings.catch_warnings():
            # By default pandas truncates lines longer than the header, or takes their first cell as
            # the index.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path, sep=delimiter, encoding="utf-8-sig", low_memory=False, index_col=False
            )
    except pd.errors.ParserWarning as error:
        raise UserError(
            f"{name}: lines have more cells than the header's {len(names)}; name all "
            "columns, and quote cells that contain the delimiter"
        ) from error
    if not frame.empty and frame.iloc[:, -1].isna().any():
        _reject_short_line(path, name, delimiter, n_columns=len(names))
    return frame.rename(columns=str.strip)


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
