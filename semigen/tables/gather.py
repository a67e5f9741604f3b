"""Tables that are gathered from several files, URLs or database queries before a run."""

from __future__ import annotations

import glob
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import pandas as pd
import pyarrow as pa

from semigen.artifacts import Layout
from semigen.errors import UserError
from semigen.params.config import PARTS, Params, gathered
from semigen.params.explain import nearest_name, require_target
from semigen.params.reading import ReadParams
from semigen.tables.cells import as_text
from semigen.tables.formats import require_same_columns
from semigen.tables.sources import read_table, write_table

URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
QUERY_SUFFIX = ".sql"
DATABASE = "SEMIGEN_DATABASE"
"""Environment variable with the URL of the database, which may hold a password."""


def is_gathered(source: str) -> bool:
    """Return whether a table must be gathered: a pattern, a URL or a query.

    Examples:
        >>> [is_gathered(name) for name in ("a.csv", "2024-*.csv", "s3://b/a.csv", "rows.sql")]
        [False, True, True, True]
    """
    is_pattern = glob.has_magic(source) and not Path(source).exists()
    return is_pattern or bool(URL.match(source)) or source.endswith(QUERY_SUFFIX)


def gather_tables(params: Params, layout: Layout) -> list[str]:
    """Write the tables whose sources are set in section ``sources``; equal rows give equal bytes.

    Args:
        params: All parameters.
        layout: The project's files.

    Returns:
        A line about each table.

    Raises:
        UserError: If a source cannot be read, the sources of a table differ in their columns, or
            labeled or test rows lack the target. Then no table is written.
    """
    tables = {}
    for part in PARTS:
        sources = getattr(params.sources, part)
        if sources:
            if getattr(params.data, part) != gathered(part):
                raise UserError(
                    f"sources.{part} is set, but data.{part} is {getattr(params.data, part)}; set "
                    f"data.{part} to {gathered(part)}, or remove the sources"
                )
            tables[part] = _read_all(sources, params, layout)
            if part != "unlabeled":
                name, columns = params_of(params, part)[0], list(map(str, tables[part].columns))
                require_target(name, params.data.target, columns)
    lines = []
    for part, table in tables.items():
        write_table(table, layout.source(gathered(part)))
        lines.append(f"{gathered(part)}: {len(table)} rows of {', '.join(params_of(params, part))}")
    return lines


def params_of(params: Params, part: str) -> list[str]:
    """Return the sources of a table as messages may show them, without passwords."""
    return [_without_password(source) for source in getattr(params.sources, part)]


def _read_all(sources: tuple[str, ...], params: Params, layout: Layout) -> pd.DataFrame:
    tables: dict[str, pd.DataFrame] = {}
    for source in sources:
        tables.update(_read_source(source, params, layout))
    first, *others = tables
    for name in others:
        require_same_columns(tables[first].columns, tables[name].columns, name, first)
    joined = pd.concat(tables.values(), ignore_index=True)
    return joined.assign(**{str(name): _storable(values) for name, values in joined.items()})


def _storable(values: pd.Series) -> pd.Series:
    """Return a column as text if it has values of several types, which Parquet cannot store."""
    if values.dtype == object:
        try:
            pa.array(values, from_pandas=True)
        except (pa.ArrowException, OverflowError):
            return as_text(values)
    return values


def _read_source(source: str, params: Params, layout: Layout) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the name and the rows of each table that a source stands for."""
    if source.endswith(QUERY_SUFFIX) and not URL.match(source):
        yield source, _read_query(source, params.sources.database, layout)
    elif URL.match(source):
        yield _without_password(source), _read_url(source, params.data.read)
    else:
        for path in _matches(source, layout):
            yield str(path), read_table(layout.source(str(path)), str(path), params.data.read)


def _matches(pattern: str, layout: Layout) -> list[Path]:
    """Return the paths that a pattern matches, sorted; the path itself if it is none."""
    if layout.source(pattern).exists():
        return [Path(pattern)]
    root = layout.root
    found = sorted(glob.glob(pattern, root_dir=root, recursive=True))  # noqa: PTH207 - may be absolute
    if not found:
        folder = layout.source(pattern).parent
        names = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
        nearest = nearest_name(Path(pattern).name, names)
        question = f"; did you mean {nearest!r}?" if nearest else ""
        raise UserError(f"{pattern}: no such file{question}")
    return [Path(path) for path in found]


def _read_url(url: str, read: ReadParams) -> pd.DataFrame:
    """Read the table at a URL, through a temporary copy."""
    import fsspec

    shown = _without_password(url)
    suffixes = "".join(PurePosixPath(url.split("?")[0]).suffixes[-2:])
    with tempfile.TemporaryDirectory(prefix="semigen-") as folder:
        path = Path(folder) / f"table{suffixes}"
        try:
            with fsspec.open(url, "rb") as source, path.open("wb") as target:
                shutil.copyfileobj(source, target)
        except Exception as error:  # each kind of storage has errors of its own
            reason = " ".join(str(error).split()).replace(url, shown) or type(error).__name__
            raise UserError(f"{shown}: cannot be read: {reason}") from error
        return read_table(path, shown, read)


def _read_query(name: str, database: str | None, layout: Layout) -> pd.DataFrame:
    """Return the rows of a query in a file."""
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    path = layout.source(name)
    if not path.is_file():
        raise UserError(f"{name}: no such file; it must hold a SQL query")
    address = os.environ.get(DATABASE) or database
    if not address:
        raise UserError(
            f"{name}: no database; set sources.database, or {DATABASE} if it has a password, e.g. "
            "to sqlite:///shop.db"
        )
    try:
        engine = sqlalchemy.create_engine(
            _from_root(address, layout), poolclass=sqlalchemy.pool.NullPool
        )
        with engine.connect() as connection:
            # A colon would start the name of a parameter.
            query = re.sub(r"(?<!:):(?=\w)", r"\:", path.read_text(encoding="utf-8"))
            statement = sqlalchemy.text(query)
            found = connection.execution_options(stream_results=True).execute(statement)
            columns, rows = list(found.keys()), found.fetchall()
    except (SQLAlchemyError, ImportError, UnicodeDecodeError) as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split("\n")[0].split())
        raise UserError(f"{name} at {_without_password(address)}: {reason}") from error
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    if repeated:
        raise UserError(f"{name}: column {repeated[0]!r} occurs twice; name it with AS")
    if not rows:
        raise UserError(f"{name}: the query returns no rows")
    records = [tuple(row) for row in rows]
    return pd.DataFrame.from_records(records, columns=columns, coerce_float=True)


def _from_root(address: str, layout: Layout) -> str:
    """Return the URL of a database; the path of an SQLite file starts in the project's folder."""
    import sqlalchemy

    url = sqlalchemy.make_url(address)
    is_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
    if not is_file:
        return address
    path = layout.root / str(url.database)
    if not path.is_file():  # SQLite would create it
        raise UserError(f"{url.database}: no such database; check sources.database")
    read_only = {"mode": "ro", "uri": "true"}
    return url.set(database=f"file:{quote(str(path))}", query=read_only).render_as_string()


def _without_password(url: str) -> str:
    """Return a URL without the user and the query, which may be secrets."""
    return re.sub(r"//[^/@]*@", "//***@", url.split("?")[0]) if URL.match(url) else url
