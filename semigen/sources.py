"""Tables in: CSV and Parquet files as data frames."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from semigen.errors import UserError

DELIMITERS = ",;\t|"
PARQUET_SUFFIXES = (".parquet", ".pq")


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table by its file's ending: ``.parquet``/``.pq``, anything else is CSV.

    The delimiter of a CSV file is the most frequent of ``, ; tab |`` in its header. Text cells are
    stripped of blanks, and an empty cell is missing.

    Returns:
        One row a record, with a fresh index that counts from 0.

    Raises:
        UserError: If the file is absent, empty, unreadable, without rows, or repeats a column name.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such file; check the path in params.yaml under data")
    if path.is_dir():
        raise UserError(f"{path}: is a folder, not a table; name a CSV or Parquet file")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty; it needs a header line and rows")
    frame = _read_parquet(path) if path.suffix in PARQUET_SUFFIXES else _read_csv(path)
    if frame.empty:
        raise UserError(f"{path}: the table has no rows; add rows below the header")
    return _strip_blanks(frame.reset_index(drop=True))


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, the same bytes for the same content."""
    frame.to_csv(path, index=False, lineterminator="\n")


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's own errors derive from these
        raise UserError(f"{path}: not a readable Parquet file: {_one_line(error)}") from error
    return frame.rename(columns=str)


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        delimiter = _delimiter(path)
        return pd.read_csv(path, sep=delimiter, encoding="utf-8-sig", low_memory=False)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not UTF-8 text (byte {error.object[error.start]:#04x} at position "
            f"{error.start}); save the file as UTF-8"
        ) from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error) as error:
        raise UserError(f"{path}: not a readable CSV file: {_one_line(error)}") from error


def _delimiter(path: Path) -> str:
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline()
    delimiter = max(DELIMITERS, key=header.count)
    names = next(csv.reader([header], delimiter=delimiter), [])
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UserError(f"{path}: column {repeated[0]!r} occurs twice in the header; rename one")
    return delimiter


def _strip_blanks(frame: pd.DataFrame) -> pd.DataFrame:
    text = {
        name: frame[name].str.strip().replace("", pd.NA)
        for name in frame.columns
        if pd.api.types.is_string_dtype(frame[name])
    }
    return frame.assign(**text)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
