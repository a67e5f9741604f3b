"""Errors in parameters, as one line for the user."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from semigen.errors import UserError
from semigen.wording import first_few

PARQUET_SUFFIXES = (".parquet", ".pq")
ARROW_SUFFIXES = (".arrow", ".arrows", ".feather", ".ipc")
JSON_LINES_SUFFIXES = (".jsonl", ".ndjson")
SPREADSHEET_SUFFIXES = (".xlsx", ".xlsm", ".xls", ".xlsb", ".ods")
COMPRESSED_SUFFIXES = (".gz", ".zip", ".bz2", ".xz", ".zst")
TABLE_SUFFIXES = (
    *(".csv", ".tsv"),
    *PARQUET_SUFFIXES,
    *ARROW_SUFFIXES,
    *JSON_LINES_SUFFIXES,
    *SPREADSHEET_SUFFIXES,
)
"""Endings of file names by which a file is taken for a table, compressed or not."""
MAX_LISTED = 30
"""Number of columns that a message lists."""


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Return one line that names each invalid parameter, its value and what is allowed.

    Args:
        error: Error that pydantic raised.
        model: Class whose validation failed.

    Examples:
        >>> from semigen.params.config import TrainParams
        >>> try:
        ...     TrainParams(epoch=3)
        ... except ValidationError as error:
        ...     print(explain(error, TrainParams)[:59])
        unknown parameter 'epoch'; did you mean 'epochs'? (allowed:
    """
    lines = []
    for item in error.errors():
        name = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"unknown parameter {name!r}; {_suggest(item['loc'], model)}")
        else:
            is_section = isinstance(item["input"], BaseModel | dict)
            given = "" if is_section else f", not {item['input']!r}"
            message = item["msg"].removeprefix("Value error, ").replace("Input should", "must")
            lines.append(f"{name}: {message}{given}" if name else message)
    return "; ".join(lines)


def describe_yaml_error(error: yaml.YAMLError) -> str:
    """Return the problem and its line, without the text of the file."""
    mark = getattr(error, "problem_mark", None)
    line = f"line {mark.line + 1}: " if mark else ""
    return line + " ".join(str(getattr(error, "problem", None) or "cannot be parsed").split())


def require_target(table: str, target: str, columns: Sequence[str]) -> None:
    """Check that a table has the label column.

    Args:
        table: Path of the table, as the user named it.
        target: Name of the label column, ``data.target``.
        columns: Names of the table's columns.

    Raises:
        UserError: If the table has no such column. The message names the nearest column, and lists
            the columns if the name of the file is that of a table.
    """
    if target in columns:
        return
    nearest = nearest_name(target, columns)
    hint = f"did you mean {nearest!r}?" if nearest else "name the label column with --target"
    listed = f" (columns: {first_few(columns, MAX_LISTED)})" if is_table_name(table) else ""
    raise UserError(f"{table}: no column {target!r} (data.target); {hint}{listed}")


def is_table_name(path: str) -> bool:
    """Return whether a file is a table by its name, so that messages may show its column names.

    The "header" of any other file may be a secret.

    Examples:
        >>> is_table_name("data/raw/labeled.csv"), is_table_name("/etc/shadow")
        (True, False)
    """
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    if suffixes and suffixes[-1] in COMPRESSED_SUFFIXES:
        suffixes.pop()
    return bool(suffixes) and suffixes[-1] in TABLE_SUFFIXES


def nearest_name(name: str, names: Sequence[str]) -> str | None:
    """Return the name that is most similar to a misspelled one, or None; case is ignored.

    Examples:
        >>> nearest_name("churn", ["Churn", "tenure"])
        'Churn'
    """
    by_lower = {known.lower(): known for known in reversed(names)}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def _suggest(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    for part in location[:-1]:
        model = _section_at(model, str(part))
    names = [field.alias or name for name, field in model.model_fields.items()]
    nearest = difflib.get_close_matches(str(location[-1]), names, n=1, cutoff=0.6)
    allowed = f"allowed: {', '.join(names)}"
    return f"did you mean {nearest[0]!r}? ({allowed})" if nearest else allowed


def _section_at(model: type[BaseModel], name: str) -> type[BaseModel]:
    field = next(f for n, f in model.model_fields.items() if name in (n, f.alias))
    annotation: Any = field.annotation
    if get_origin(annotation) in (Union, UnionType):
        annotation = next(a for a in get_args(annotation) if isinstance(a, type))
    assert issubclass(annotation, BaseModel)
    return annotation
