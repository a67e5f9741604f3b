"""Tables from several files, from URLs and from databases."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

from semigen.artifacts import Layout
from semigen.errors import UserError
from semigen.params.config import DataParams, Params, SourcesParams, gathered
from semigen.params.reading import ReadParams
from semigen.tables.gather import DATABASE, gather_tables
from semigen.tables.sources import read_table

FIRST = pd.DataFrame({"age": [31, 42], "zip": ["01001", "x1"], "y": ["a", "b"]})
SECOND = pd.DataFrame({"y": ["b", None], "zip": ["x2", "x3"], "age": [5, 6]})


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    root = tmp_path / "project"
    (root / "raw").mkdir(parents=True)
    FIRST.to_csv(root / "raw" / "l-1.csv", index=False)
    SECOND.to_csv(root / "raw" / "l-2.csv", index=False)
    return Layout(root)


def gather(layout: Layout, *labeled: str, database: str | None = None) -> pd.DataFrame:
    table = gathered("labeled")
    data = DataParams(labeled=table, unlabeled=table, target="y")
    params = Params(data=data, sources=SourcesParams(labeled=labeled, database=database))
    (line,) = gather_tables(params, layout)
    assert line.startswith(f"{table}: ")
    return read_table(layout.source(table))


def is_whole(table: pd.DataFrame) -> bool:
    """Return whether a table has the rows of both tables, and the columns of the first."""
    expected = pd.concat([FIRST, SECOND], ignore_index=True)
    pd.testing.assert_frame_equal(table.astype(str), expected.astype(str))
    return True


def test_text_files_are_read_as_the_parameters_say(layout: Layout) -> None:
    for path in (layout.root / "raw").glob("l-*.csv"):
        path.write_text("a,b,c\n" + path.read_text() + "! checked\n")
    table = gathered("labeled")
    read = ReadParams(header=2, comment="!")
    data = DataParams(labeled=table, unlabeled=table, target="y", read=read)
    gather_tables(Params(data=data, sources=SourcesParams(labeled=("raw/l-*.csv",))), layout)
    assert is_whole(read_table(layout.source(table)))


def test_pattern_and_list_give_all_rows_in_the_columns_of_the_first(layout: Layout) -> None:
    assert is_whole(gather(layout, "raw/l-*.csv"))
    before = layout.source(gathered("labeled")).read_bytes()
    assert is_whole(gather(layout, "raw/l-1.csv", "raw/l-2.csv"))
    assert layout.source(gathered("labeled")).read_bytes() == before
    assert is_whole(gather(layout, str(layout.root / "raw" / "*.csv")))


def test_file_whose_name_looks_like_a_pattern_is_that_file(layout: Layout) -> None:
    FIRST.to_csv(layout.root / "raw" / "l-[12].csv", index=False)
    assert len(gather(layout, "raw/l-[12].csv")) == 2


@pytest.fixture
def server(layout: Layout) -> Iterator[str]:
    """A server of the folder ``raw``."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    folder = str(layout.root / "raw")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()
        thread.join()


def test_urls_are_read(layout: Layout, server: str) -> None:
    SECOND.to_parquet(layout.root / "raw" / "l.parquet")
    urls = (f"http://{server}/l-1.csv?token=secret", f"http://me:secret@{server}/l.parquet")
    assert is_whole(gather(layout, *urls))


def test_error_of_a_url_is_one_line_without_secrets(layout: Layout, server: str) -> None:
    with pytest.raises(UserError) as refusal:
        gather(layout, f"http://me:secret@{server}/none.csv?token=secret")
    message = str(refusal.value)
    assert message.startswith(f"http://***@{server}/none.csv: cannot be read: ")
    assert "secret" not in message
    assert "\n" not in message
    assert not layout.source(gathered("labeled")).exists()


def test_s3_is_read(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    from moto.server import ThreadedMotoServer
    from s3fs import S3FileSystem

    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        S3FileSystem.clear_instance_cache()
        store = S3FileSystem()
        store.mkdir("shop")
        for name in ("l-1.csv", "l-2.csv"):
            store.put(str(layout.root / "raw" / name), f"shop/{name}")
        assert is_whole(gather(layout, "s3://shop/l-1.csv", "s3://shop/l-2.csv"))
        with pytest.raises(UserError, match=r"^s3://shop/none\.csv: cannot be read: "):
            gather(layout, "s3://shop/none.csv")
    finally:
        server.stop()
        S3FileSystem.clear_instance_cache()


@pytest.fixture
def database(layout: Layout) -> str:
    with sqlite3.connect(layout.root / "my shop.db") as connection:
        pd.concat([FIRST, SECOND]).to_sql("rows", connection, index=False)
    connection.close()
    return "sqlite:///my shop.db"


def query(layout: Layout, text: str) -> str:
    (layout.root / "rows.sql").write_text(text)
    return "rows.sql"


def test_query_is_read(layout: Layout, database: str) -> None:
    assert is_whole(gather(layout, query(layout, "SELECT * FROM rows"), database=database))
    name = query(layout, "SELECT age, y, '12:30 :x' AS at FROM rows WHERE age > 30")
    table = gather(layout, name, database=database)
    assert (len(table), set(table["at"])) == (2, {"12:30 :x"})


def test_column_of_several_types_becomes_text(layout: Layout, database: str) -> None:
    name = query(layout, "SELECT 1 AS x, y FROM rows UNION ALL SELECT 'two', 'b'")
    assert set(gather(layout, name, database=database)["x"]) == {"1", "two"}


def test_environment_names_the_database(layout: Layout, database: str, monkeypatch) -> None:
    monkeypatch.setenv(DATABASE, database)
    assert len(gather(layout, query(layout, "SELECT * FROM rows"), database="sqlite:///no.db")) == 4


@pytest.mark.parametrize(
    ("text", "address", "words"),
    [
        ("SELECT * FROM row", "sqlite:///my shop.db", "rows.sql at sqlite:///my shop.db: no such"),
        ("SELECT 1 AS y WHERE 0", "sqlite:///my shop.db", "rows.sql: the query returns no rows"),
        ("SELECT 1 AS y, 2 AS y", "sqlite:///my shop.db", "rows.sql: column 'y' occurs twice"),
        ("DROP TABLE rows", "sqlite:///my shop.db", "attempt to write a readonly database"),
        ("SELECT 1 AS y", "sqlite:///none.db", "none.db: no such database"),
        ("SELECT 1 AS y", None, "rows.sql: no database; set sources.database"),
        ("SELECT 1 AS y", "oracle://me:secret@host/x", "rows.sql at oracle://***@host/x: "),
        ("SELECT 1 AS y", "no url", "rows.sql at no url: Could not parse"),
    ],
)
def test_error_of_a_query_is_one_line(
    layout: Layout, database: str, text: str, address: str | None, words: str
) -> None:
    with pytest.raises(UserError) as refusal:
        gather(layout, query(layout, text), database=address)
    assert words in str(refusal.value)
    assert "secret" not in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not (layout.root / "none.db").exists()


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        (("raw/m-*.csv",), "raw/m-*.csv: no such file; did you mean 'l-2.csv'?"),
        (("raw/l-1.csv", "raw/other.csv"), "raw/other.csv: its columns differ from those of raw"),
        (("raw/other.csv",), "raw/other.csv: no column 'y' (data.target); did you mean 'yy'?"),
        (("none.sql",), "none.sql: no such file; it must hold a SQL query"),
    ],
)
def test_wrong_sources_write_nothing(layout: Layout, sources: tuple[str, ...], words: str) -> None:
    FIRST.rename(columns={"y": "yy"}).to_csv(layout.root / "raw" / "other.csv", index=False)
    with pytest.raises(UserError) as refusal:
        gather(layout, *sources)
    assert words in str(refusal.value)
    assert not layout.source(gathered("labeled")).exists()


def test_sources_of_another_table_are_refused(layout: Layout) -> None:
    data = DataParams(labeled="raw/l-1.csv", unlabeled="raw/l-2.csv")
    params = Params(data=data, sources=SourcesParams(labeled=("raw/l-2.csv",)))
    with pytest.raises(UserError, match=r"sources\.labeled is set, but data\.labeled is raw/l-1"):
        gather_tables(params, layout)
