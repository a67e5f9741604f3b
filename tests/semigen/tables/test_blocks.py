from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semigen.errors import UserError
from semigen.tables.blocks import TableBlocks
from semigen.tables.sources import read_table

CELLS = ["1", "007", "2.5", "-3", "", "1e40", "", "true", "NA", "FALSE", " x ", "1,5", "inf"]


def joined(blocks: TableBlocks, columns=None) -> pd.DataFrame:
    return pd.concat(blocks.read(columns), ignore_index=True)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(*(st.sampled_from(CELLS[:n]) for n in (3, 6, 9, 13))), min_size=1, max_size=9
    ),
    st.integers(1, 10),
)
def test_cells_do_not_depend_on_the_size_of_the_blocks(tmp_path_factory, rows, n_rows):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    pd.DataFrame(rows, columns=list("abcd")).assign(last="x").to_csv(path, index=False)
    blocks = TableBlocks(path, n_rows=n_rows)
    assert blocks.n_rows == len(rows)
    pd.testing.assert_frame_equal(joined(blocks), read_table(path), check_exact=True)


COLUMNS = {
    "gaps": ["1", "", "3"],
    "code in a column of text": ["007", "8", "x"],
    "number": ["1", "2.50", "3"],
    "boolean": ["true", "", "FALSE"],
    "only late text": ["1", "2", " three "],
    "empty until late": ["", "", "7"],
    "large": ["18446744073709551616", "1", "2"],
}


@pytest.mark.parametrize("cells", COLUMNS.values(), ids=COLUMNS)
def test_type_of_a_column_is_that_of_the_whole_table(tmp_path, cells):
    path = tmp_path / "t.csv"
    pd.DataFrame({" a ": cells, "b": "x"}).to_csv(path, index=False)
    expected = read_table(path)
    actual = joined(TableBlocks(path, n_rows=1))
    assert actual.astype(str).equals(expected.astype(str))


def test_parquet_has_the_types_of_the_whole_table(tmp_path):
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame(
        {
            "n": [1, 2, None],
            "whole": [1, 2, 3],
            "yes": [True, None, False],
            "kind": pd.Categorical(["a", None, "b"]),
            "text": ["a ", None, "b"],
            "nothing": [None, None, None],
            "nullable": pd.array([1, None, 3], "Int64"),
        },
        index=[5, 6, 7],
    )
    frame.to_parquet(path)
    pd.testing.assert_frame_equal(joined(TableBlocks(path, n_rows=1)), read_table(path))


def test_reads_only_the_columns_that_are_asked_for(tmp_path):
    for path in (tmp_path / "t.csv", tmp_path / "t.parquet"):
        frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [0.5, np.nan]})
        frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
        blocks = TableBlocks(path, n_rows=1)
        assert blocks.columns == ["a", "b", "c"]
        pd.testing.assert_frame_equal(
            joined(blocks, ["c", "a"])[["a", "c"]], read_table(path)[["a", "c"]]
        )


@pytest.mark.parametrize("line", ["1,2,3", "1", '1,"2'], ids=["long", "short", "open quote"])
def test_finds_a_damaged_line_in_any_block(tmp_path, line):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "1,2\n" * 10 + line + "\n1,2\n")
    with pytest.raises(UserError, match=r"line|readable") as error:
        TableBlocks(path, n_rows=4)
    with pytest.raises(UserError) as expected:
        read_table(path)
    assert str(error.value) == str(expected.value)


def test_table_without_rows_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n")
    pd.DataFrame({"a": []}).to_parquet(tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        with pytest.raises(UserError, match="no rows"):
            TableBlocks(tmp_path / name)


@pytest.mark.parametrize("change", ["1\n2\n", "1\n2\n3\n4\n", "1\n2\nx\n"])
def test_file_that_changes_between_the_passes_is_an_error(tmp_path, change):
    path = tmp_path / "t.csv"
    path.write_text("a\n1\n2\n3\n")
    blocks = TableBlocks(path)
    path.write_text("a\n" + change)
    with pytest.raises(UserError, match="changed while it was read"):
        list(blocks.read())
