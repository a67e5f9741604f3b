from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semigen.errors import UserError
from semigen.tables.sources import read_table, write_csv

FRAME = pd.DataFrame({"age": [31, 42], "city": ["Bonn", "Cork"], "score": [0.5, np.nan]})


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters(tmp_path, delimiter: str):
    FRAME.to_csv(tmp_path / "t.csv", sep=delimiter, index=False)
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.csv"), FRAME)


def test_reads_byte_order_mark_white_space_and_empty_cells(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("\ufeffage , city\n31, Bonn \n42,  \n".encode())
    frame = read_table(path)
    assert list(frame) == ["age", "city"]
    assert frame["city"][0] == "Bonn"
    assert frame["city"].isna().tolist() == [False, True]


def test_parquet_keeps_types_and_drops_the_index(tmp_path):
    frame = FRAME.assign(kind=pd.Categorical(["a", "b"]), n=pd.array([1, None], "Int64"))
    frame.index = pd.Index([7, 8])
    frame.to_parquet(tmp_path / "t.parquet")
    read = read_table(tmp_path / "t.parquet")
    assert list(read.index) == [0, 1]
    assert read["kind"].tolist() == ["a", "b"]
    assert not isinstance(read["kind"].dtype, pd.CategoricalDtype)
    assert read["n"].isna().tolist() == [False, True]


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
    pd.testing.assert_frame_equal(read_table(path), frame, check_exact=True, check_dtype=False)


BAD_FILES = {
    "empty": (b"", "the file is empty"),
    "blank": (b"\n\n\n", "the file is blank"),
    "header only": (b"a,b\n", "no rows"),
    "latin-1": ("a,b\nä,1\n".encode("latin-1"), r"not UTF-8 text \(byte 0xe4"),
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
