from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from semigen.errors import UserError
from semigen.params.reading import ReadParams
from semigen.tables.number_formats import PLAIN
from semigen.tables.sources import read_columns, read_table, write_csv

FRAME = pd.DataFrame({"age": [31, 42], "city": ["Bonn", "Cork"], "score": [0.5, np.nan]})
TEXT = pd.DataFrame({"age": ["31", "42"], "city": ["Bonn", "Cork"], "score": ["0.5", np.nan]})
"""The cells of ``FRAME`` in a text file."""


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters(tmp_path, delimiter: str):
    FRAME.to_csv(tmp_path / "t.csv", sep=delimiter, index=False)
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.csv"), TEXT)


def written(tmp_path, content: str | bytes) -> Path:
    path = tmp_path / "t.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


BODY = "Bonn;1,5\nCork;2,5\n"
DIALECTS = {
    "comma in the quoted header": ('"city, name";x\n' + BODY, ["city, name", "x"]),
    "line break in the quoted header": ('"city\n(name)";x\n' + BODY, ["city\n(name)", "x"]),
    "stated delimiter": ("sep=;\ncity;x\n" + BODY, ["city", "x"]),
    "title": ("Export, May\n\ncity;x\n" + BODY, ["city", "x"]),
    "title with empty cells": ("Export;;\ncity;x;y\nBonn;1,5;0\nCork;2,5;0\n", ["city", "x", "y"]),
    "blanks": ("city  x\nBonn  1,5\n Cork 2,5\n", ["city", "x"]),
    "UTF-16": (("city;x\n" + BODY).encode("utf-16"), ["city", "x"]),
    "unnamed index": (";x\nBonn;1,5\nCork;2,5\n", ["Unnamed: 0", "x"]),
}


@pytest.mark.parametrize("content", DIALECTS.values(), ids=DIALECTS)
def test_dialect_is_detected(tmp_path, content):
    cells, names = content
    table = read_table(written(tmp_path, cells))
    assert list(table) == names == read_columns(tmp_path / "t.csv", "t.csv")
    assert table.iloc[:, 0].tolist() == ["Bonn", "Cork"]
    assert table.iloc[:, 1].tolist() == ["1,5", "2,5"]


def test_encoding_is_detected_and_told(tmp_path):
    table = read_table(written(tmp_path, "city,x\nK\xf6ln,1\n".encode("cp1252")), "mine.csv")
    assert table["city"].tolist() == ["K\xf6ln"]
    assert table.attrs["notes"] == ["mine.csv: read as cp1252 (data.read.encoding)"]
    assert read_table(written(tmp_path, "city,x\nK\xf6ln,1\n")).attrs["notes"] == []


def test_parameters_win_over_detection(tmp_path):
    path = written(tmp_path, "# made in May\nfree,text\na;b\n1,5;2\n# end\n".encode("utf-16-le"))
    read = ReadParams(encoding="utf-16-le", delimiter=";", header=3, comment="#")
    table = read_table(path, read=read)
    assert table.to_dict("list") == {"a": ["1,5"], "b": ["2"]}


def test_cells_of_text_files_stay_text(tmp_path):
    path = written(tmp_path, "zip,flag,mark\n01001,TRUE,NA\n10002,1.0,None\n")
    assert read_table(path).to_dict("list") == {
        "zip": ["01001", "10002"],
        "flag": ["TRUE", "1.0"],
        "mark": ["NA", "None"],
    }


def test_reads_byte_order_mark_white_space_and_empty_cells(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("\ufeffage , city\n31, Bonn \n42,  \n".encode())
    frame = read_table(path)
    assert list(frame) == ["age", "city"]
    assert frame["city"][0] == "Bonn"
    assert frame["city"].isna().tolist() == [False, True]


def test_parquet_keeps_types_and_a_named_index(tmp_path):
    frame = FRAME.assign(kind=pd.Categorical([1, 2]), n=pd.array([1, None], "Int64"))
    frame.index = pd.Index([7, 8])
    frame.to_parquet(tmp_path / "t.parquet")
    read = read_table(tmp_path / "t.parquet")
    assert list(read.index) == [0, 1]
    assert list(read) == [*FRAME, "kind", "n"]
    assert isinstance(read["kind"].dtype, pd.CategoricalDtype)
    assert read["n"].isna().tolist() == [False, True]
    frame.index.name = "patient"
    frame.to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet")["patient"].tolist() == [7, 8]


def test_repeated_name_in_parquet_is_named(tmp_path):
    table = pa.table([[1], [2]], names=["age", " age"])
    parquet.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(UserError, match="column 'age' occurs twice"):
        read_table(tmp_path / "t.parquet")


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(allow_nan=False, allow_infinity=False),
            st.text("abc ,;\"'|\n", min_size=1).map(lambda s: "x" + s + "x"),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_csv_round_trip(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    frame = pd.DataFrame(rows, columns=["number", "text"])
    write_csv(frame, path)
    read = read_table(path)
    assert read["text"].tolist() == frame["text"].tolist()
    assert PLAIN.parse(read["number"]).tolist() == frame["number"].tolist()


BAD_FILES = {
    "empty": (b"", "the file is empty"),
    "blank": (b"\n\n\n", "the file is blank"),
    "header only": (b"a,b\n", "no rows"),
    "no known encoding": (b"a,b\n\x81,1\n", r"cannot be decoded .*; set data.read.encoding"),
    "binary": (bytes(range(256)) * 9, "NUL bytes|not UTF-8"),
    "long line": (b"a,b\n1,2\n1,2,3\n", "line 3, saw 3"),
    "every line long": (b"a,b\n1,2,3\n1,2,3\n", "more cells than the header's 2"),
    "short line": (b"a,b,c\n1,2,3\n1,2\n", "line 3 has 2 cells, the header 3"),
    "open quote": (b'a,b\n1,"2\n', "EOF inside string"),
    "repeated column": (b"a,b, a\n1,2,3\n", "column 'a' occurs twice"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_rejects_invalid_files_with_the_given_name(tmp_path, name: str):
    content, words = BAD_FILES[name]
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UserError, match=rf"(?s)^data/mine\.csv: .*({words})") as refusal:
        read_table(tmp_path / "t.csv", "data/mine.csv")
    assert "\n" not in str(refusal.value)
    assert str(tmp_path) not in str(refusal.value)


def test_rejects_missing_paths_folders_and_invalid_parquet(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_table(tmp_path / "nothing.csv")
    with pytest.raises(UserError, match="is a folder"):
        read_table(tmp_path)
    (tmp_path / "t.parquet").write_bytes(b"junk" * 50)
    with pytest.raises(UserError, match=r"^mine: not a readable Parquet file") as refusal:
        read_table(tmp_path / "t.parquet", "mine")
    assert str(tmp_path) not in str(refusal.value)


def test_missing_last_cell_is_not_a_short_line(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,\n2,3\n")
    assert read_table(tmp_path / "t.csv")["b"].isna().tolist() == [True, False]


def test_equal_tables_give_equal_bytes(tmp_path):
    write_csv(FRAME, tmp_path / "a.csv")
    write_csv(FRAME.copy(), tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
