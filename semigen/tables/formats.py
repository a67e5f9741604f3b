"""Formats of tables other than text: Parquet folders, Arrow, JSON lines, spreadsheets."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import dataset, feather, parquet

from semigen.errors import UserError
from semigen.params.explain import (
    ARROW_SUFFIXES,
    JSON_LINES_SUFFIXES,
    PARQUET_SUFFIXES,
    SPREADSHEET_SUFFIXES,
)
from semigen.tables.compression import inner_name
from semigen.wording import first_few

STREAM_SUFFIX = ".arrows"
UNNAMED_INDEX = re.compile(r"__index_level_\d+__")
"""Name under which pandas writes an index that has none."""


def format_of(path: Path) -> str:
    """Return the format of a table by the name of its file, without compression.

    Examples:
        >>> [format_of(Path(name)) for name in ("a.csv.gz", "a.feather", "a.jsonl", "a.txt")]
        ['CSV', 'Arrow', 'JSON lines', 'CSV']
    """
    suffix = PurePath(inner_name(path)).suffix.lower()
    if suffix in PARQUET_SUFFIXES or path.is_dir():
        return "Parquet"
    if suffix in ARROW_SUFFIXES:
        return "Arrow"
    if suffix in JSON_LINES_SUFFIXES:
        return "JSON lines"
    return "Excel" if suffix in SPREADSHEET_SUFFIXES else "CSV"


def is_text(path: Path) -> bool:
    """Return whether the cells of a table are text, whose types must be found."""
    return format_of(path) == "CSV"


def read_format(path: Path, name: str, columns: Collection[str] | None = None) -> pd.DataFrame:
    """Read a table of a format other than text, with the types that it states.

    Args:
        path: Uncompressed file, or folder of Parquet files.
        name: Name of the table in errors.
        columns: Columns to read; all if None.

    Raises:
        UserError: If the table cannot be read; the message names the file, line or column.
    """
    frame = READERS[format_of(path)](path, name)
    return frame if columns is None else frame[[c for c in frame.columns if c in set(columns)]]


def parquet_files(folder: Path, name: str) -> list[Path]:
    """Return the Parquet files below a folder, sorted by path; hidden ones and ``_*`` left out.

    Raises:
        UserError: If there is none.
    """
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in PARQUET_SUFFIXES
        and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    ]
    if not files:
        raise UserError(f"{name}: is a folder without Parquet files; give the path of a table")
    return files


def _read_parquet(path: Path, name: str) -> pd.DataFrame:
    if path.is_file():
        return parquet.read_table(path).to_pandas()
    files = parquet_files(path, name)
    parts = dataset.dataset(
        [str(file) for file in files],
        schema=_common_schema(path, files, name),
        format="parquet",
        partitioning=dataset.partitioning(_partitions(path, files), flavor="hive"),
        partition_base_dir=str(path),
    )
    frame = parts.to_table().replace_schema_metadata().to_pandas()
    return frame.drop(columns=[column for column in frame if UNNAMED_INDEX.fullmatch(column)])


def _common_schema(folder: Path, files: list[Path], name: str) -> pa.Schema:
    """Return a schema that fits all files; columns may have different types of numbers."""
    common: Any = None
    for file in files:
        where = f"{name}/{file.relative_to(folder)}"
        try:
            schema = parquet.read_schema(file)
            if common is not None:
                require_same_columns(common.names, schema.names, where, files[0].name)
                schema = pa.unify_schemas([common, schema], promote_options="permissive")
        except pa.ArrowTypeError as error:
            reason = f"its types differ from those of {files[0].name}: {_one_line(error)}"
            raise UserError(f"{where}: {reason}") from error
        except (OSError, ValueError) as error:
            reason = _one_line(error).replace(str(file), where)
            raise UserError(f"{where}: not a readable Parquet file: {reason}") from error
        common = schema
    return pa.schema([*common, *(f for f in _partitions(folder, files) if f not in common)])


def _partitions(folder: Path, files: list[Path]) -> pa.Schema:
    """Return the columns that the names of subfolders hold, as in ``year=2024``."""
    values: dict[str, list[str]] = {}
    for file in files:
        for part in file.relative_to(folder).parent.parts:
            key, is_partition, value = part.partition("=")
            if is_partition:
                values.setdefault(key, []).append(value)
    # "01001" stays text, so that the zero is kept.
    are_numbers = {key: all(map(_is_integer, texts)) for key, texts in values.items()}
    return pa.schema(
        [(k, pa.int64() if is_int else pa.string()) for k, is_int in are_numbers.items()]
    )


def _is_integer(text: str) -> bool:
    return re.fullmatch(r"0|-?[1-9]\d{0,17}", text) is not None


def require_same_columns(
    expected: Collection[Any], columns: Collection[Any], name: str, other: str
) -> None:
    """Check that a part of a table has the columns of another part.

    Args:
        expected: Columns of the other part.
        columns: Columns of this part.
        name: Name of this part in errors.
        other: Name of the other part.

    Raises:
        UserError: If a column is missing or new; the message names it.
    """
    missing = [str(column) for column in expected if column not in columns]
    new = [str(column) for column in columns if column not in expected]
    if missing or new:
        what = f"lacks {first_few(missing, 5)}" if missing else f"also has {first_few(new, 5)}"
        raise UserError(f"{name}: its columns differ from those of {other}: it {what}")


def _read_arrow(path: Path, _: str) -> pd.DataFrame:
    if path.suffix.lower() == STREAM_SUFFIX:
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
            return stream.read_all().to_pandas()
    return feather.read_table(path).to_pandas()


def _read_json_lines(path: Path, name: str) -> pd.DataFrame:
    rows = []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                rows.append(_json_object(line, f"{name}: line {number}"))
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    return pd.DataFrame(rows, columns=list(names))


def _json_object(line: str, where: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        row = dict(pairs)
        if len(row) < len(pairs):
            keys = [key for key, _ in pairs]
            repeated = next(key for key in keys if keys.count(key) > 1)
            raise UserError(f"{where} has the key {repeated!r} twice; rename one")
        return row

    try:
        row = json.loads(line, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not JSON: {_one_line(error)}") from error
    if not isinstance(row, dict):
        raise UserError(f'{where} is not an object; write one row per line, as {{"age": 31}}')
    return row


def _read_excel(path: Path, name: str) -> pd.DataFrame:
    if find_spec("python_calamine") is None:
        raise UserError(f"{name}: spreadsheets need the extra excel: pip install 'semigen[excel]'")
    from python_calamine import CalamineError

    try:
        with pd.ExcelFile(path, engine="calamine") as book:
            sheets = [str(sheet) for sheet in book.sheet_names]
            # As objects, so that text such as "01001" does not become a number.
            frame = pd.read_excel(
                book, header=None, dtype=object, keep_default_na=False, na_values=[""]
            )
    except CalamineError as error:
        raise UserError(f"{name}: not a readable spreadsheet: {_one_line(error)}") from error
    if frame.empty:
        others = f"; the other sheets ({first_few(sheets[1:], 5)}) are not read" * (len(sheets) > 1)
        raise UserError(f"{name}: sheet {sheets[0]!r} has no cells{others}")
    return _with_header(frame, f"{name}: sheet {sheets[0]!r}")


def _with_header(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """Return the rows below the first one, whose cells are the column names."""
    frame = frame.dropna(how="all").dropna(axis=1, how="all")
    header, rows = frame.iloc[0], frame.iloc[1:]
    names = [str(cell).strip() for cell in header]
    for position, cell in enumerate(header):
        if pd.isna(cell):
            raise UserError(f"{where}: column {position + 1} has no name in the first row")
        if names.count(names[position]) > 1:
            raise UserError(f"{where}: column {names[position]!r} occurs twice; rename one")
    return rows.set_axis(names, axis=1).infer_objects()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


READERS: dict[str, Callable[[Path, str], pd.DataFrame]] = {
    "Parquet": _read_parquet,
    "Arrow": _read_arrow,
    "JSON lines": _read_json_lines,
    "Excel": _read_excel,
}
