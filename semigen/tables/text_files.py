"""Text tables (CSV and its relatives) as data frames of text cells."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from semigen.errors import UserError
from semigen.params.explain import is_table_name
from semigen.params.reading import ReadParams
from semigen.tables.dialect import BLANKS, Dialect, detect_dialect, split_records


def read_text_parts(
    path: Path,
    name: str,
    read: ReadParams,
    n_rows: int | None = None,
    columns: Collection[str] | None = None,
) -> Iterator[pd.DataFrame]:
    """Read a text table in parts; every cell is text, and empty cells are missing.

    Args:
        path: The file.
        name: Name of the table in errors.
        read: Parameters set by the user.
        n_rows: Number of rows of a part; None reads the table as one part.
        columns: Columns to read. Then lines of different lengths are not found.

    Yields:
        Parts; their ``attrs["notes"]`` say what a user should know about the dialect.

    Raises:
        UserError: If the file is not text, repeats a column name or has lines of different lengths.
        pandas.errors.ParserError: If pandas cannot parse it.
    """
    dialect = detect_dialect(path, read, name)
    names = _read_header(path, name, dialect, read)
    is_checked = columns is not None

    def is_wanted(column: str) -> bool:
        return columns is None or column.strip() in columns

    usecols = None if columns is None else is_wanted
    with pd.read_csv(path, **_options(dialect, read), usecols=usecols, iterator=True) as reader:
        while (frame := _next_frame(reader, name, n_rows, len(names))) is not None:
            part = _stripped(frame)
            if not is_checked and len(part) and part.iloc[:, -1].isna().any():
                _reject_short_line(path, name, dialect, read, n_columns=len(names))
                is_checked = True
            part.attrs["notes"] = [f"{name}: {note}" for note in dialect.notes]
            yield part


def _next_frame(reader: Any, name: str, n_rows: int | None, n_columns: int) -> pd.DataFrame | None:
    """Return the next rows of a text file, or None at its end."""
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


def _stripped(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.set_axis([str(column).strip() for column in frame.columns], axis=1)
    stripped = {name: cells.str.strip() for name, cells in frame.items()}
    return pd.DataFrame({n: text.where(text != "") for n, text in stripped.items()}, frame.index)


def read_text_columns(path: Path, name: str, read: ReadParams) -> list[str]:
    """Return the column names of a text table; arguments and errors as in ``read_text_parts``."""
    dialect = detect_dialect(path, read, name)
    _read_header(path, name, dialect, read)
    frame = pd.read_csv(path, **_options(dialect, read), nrows=0)
    return [str(column).strip() for column in frame.columns]


def _options(dialect: Dialect, read: ReadParams) -> dict[str, Any]:
    return {
        "sep": r"\s+" if dialect.delimiter == BLANKS else dialect.delimiter,
        "encoding": dialect.encoding,
        "skiprows": dialect.n_skipped,
        "comment": read.comment,
        "dtype": str,
        "keep_default_na": False,
        "na_values": [],
        "index_col": False,
        "low_memory": False,
    }


def _read_header(path: Path, name: str, dialect: Dialect, read: ReadParams) -> list[str]:
    """Return the names in the header.

    Raises:
        UserError: If a name is repeated.
    """
    with path.open(encoding=dialect.encoding, newline="") as file:
        lines = itertools.islice(file, dialect.n_skipped, None)
        used = (line for line in lines if not (read.comment and line.startswith(read.comment)))
        _, cells = next(split_records(used, dialect.delimiter), (0, []))
    names = [cell.strip() for cell in cells]
    repeated = sorted({cell for cell in names if cell and names.count(cell) > 1})
    if repeated:
        column = repr(repeated[0]) if is_table_name(name) else names.index(repeated[0]) + 1
        raise UserError(f"{name}: column {column} occurs twice in the header; rename one")
    return names


def _reject_short_line(
    path: Path, name: str, dialect: Dialect, read: ReadParams, n_columns: int
) -> None:
    """Raise if a line has fewer cells than the header; pandas would fill it with missing cells."""
    with path.open(encoding=dialect.encoding, newline="") as file:
        lines = itertools.islice(file, dialect.n_skipped, None)
        for line, cells in split_records(lines, dialect.delimiter):
            is_comment = bool(read.comment) and cells[0].startswith(str(read.comment))
            if len(cells) < n_columns and not is_comment:
                raise UserError(
                    f"{name}: line {line + dialect.n_skipped} has {len(cells)} cells, the header "
                    f"{n_columns}; correct the line"
                )
