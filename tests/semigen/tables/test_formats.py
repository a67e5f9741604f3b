"""Tables in every format, read from real files."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from semigen.errors import UserError
from semigen.tables import compression, formats
from semigen.tables.blocks import TableBlocks
from semigen.tables.cells import as_cells
from semigen.tables.sources import read_columns, read_table

FRAME = pd.DataFrame(
    {"age": [31, 42, 5], "zip": ["01001", "02139", "x"], "score": [0.5, None, -2.0]}
)
CSV = FRAME.to_csv(index=False).encode()


def write_zip(path: Path, content: bytes, *names: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names or ("rows/table.csv", "__MACOSX/._table.csv"):
            archive.writestr(name, content)


def write_zstd(path: Path, content: bytes) -> None:
    with pa.output_stream(str(path), compression="zstd") as file:
        file.write(content)


def write_stream(path: Path) -> None:
    table = pa.Table.from_pandas(FRAME)
    with pa.ipc.new_stream(str(path), table.schema) as stream:
        stream.write_table(table)


def write_partitions(path: Path) -> None:
    for age, rows in FRAME.groupby("age"):
        (path / f"age={age}").mkdir(parents=True)
        rows.drop(columns="age").to_parquet(path / f"age={age}" / "rows.parquet")
    (path / "_SUCCESS").touch()
    (path / "_metadata.parquet").touch()


COMPRESSED: dict[str, Callable[[Path], object]] = {
    "rows.csv.gz": lambda path: path.write_bytes(gzip.compress(CSV)),
    "rows.csv.bz2": lambda path: path.write_bytes(bz2.compress(CSV)),
    "rows.csv.xz": lambda path: path.write_bytes(lzma.compress(CSV)),
    "rows.csv.zst": lambda path: write_zstd(path, CSV),
    "rows.zip": lambda path: write_zip(path, CSV),
    "named-without-gz.csv": lambda path: path.write_bytes(gzip.compress(CSV)),
    "not-compressed.csv.gz": lambda path: path.write_bytes(CSV),
}
TYPED: dict[str, Callable[[Path], object]] = {
    "rows.jsonl": lambda path: FRAME.to_json(path, orient="records", lines=True),
    "rows.ndjson.gz": lambda path: FRAME.to_json(path, orient="records", lines=True),
    "rows.feather": FRAME.to_feather,
    "rows.arrow": FRAME.to_feather,
    "rows.arrows": write_stream,
    "rows.xlsx": lambda path: FRAME.to_excel(path, index=False),
    "rows.parquet.zip": lambda path: write_zip(path, FRAME.to_parquet(), "rows.parquet"),
    "partitions": write_partitions,
}


@pytest.mark.parametrize("name", [*COMPRESSED, *TYPED])
def test_every_format_gives_the_same_table(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    {**COMPRESSED, **TYPED}[name](path)
    read = read_table(path)
    read = read[list(FRAME)].sort_values("zip", ignore_index=True)
    expected = FRAME.sort_values("zip", ignore_index=True)
    read["score"] = pd.to_numeric(read["score"])
    pd.testing.assert_frame_equal(read.apply(as_cells), expected.apply(as_cells))
    assert name in COMPRESSED or read["age"].dtype.kind == "i"
    assert sorted(read_columns(path, name)) == sorted(FRAME)
    blocks = TableBlocks(path, name, n_rows=2)
    assert blocks.n_rows == len(FRAME)
    parts = pd.concat(blocks.read(["zip"]), ignore_index=True)
    assert sorted(parts["zip"]) == sorted(FRAME["zip"])


def test_columns_of_partitions_keep_leading_zeros(tmp_path: Path) -> None:
    for zip_code in ("01001", "02139"):
        (tmp_path / f"zip={zip_code}").mkdir()
        FRAME[["age"]].to_parquet(tmp_path / f"zip={zip_code}" / "rows.parquet")
    assert read_table(tmp_path)["zip"].tolist() == ["01001"] * 3 + ["02139"] * 3


def test_folder_of_parquet_files_joins_integers_and_floats(tmp_path: Path) -> None:
    pd.DataFrame({"x": [1, 2]}).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame({"x": [0.5]}).to_parquet(tmp_path / "b.parquet")
    assert read_table(tmp_path)["x"].tolist() == [1.0, 2.0, 0.5]


def test_spreadsheet_keeps_text_and_skips_empty_rows(tmp_path: Path) -> None:
    rows = [[None, None, None], [None, "id", "when"], [None, "007", pd.Timestamp("2024-05-01")]]
    path = tmp_path / "rows.xlsx"
    pd.DataFrame(rows, dtype=object).to_excel(path, header=False, index=False)
    read = read_table(path)
    assert read.loc[0].tolist() == ["007", pd.Timestamp("2024-05-01")]


def bad_folder(path: Path) -> None:
    path.mkdir()
    FRAME.to_parquet(path / "a.parquet")
    FRAME.rename(columns={"age": "Age"}).to_parquet(path / "b.parquet")


def bad_types(path: Path) -> None:
    path.mkdir()
    FRAME.to_parquet(path / "a.parquet")
    FRAME.assign(age="old").to_parquet(path / "b.parquet")


def damaged_part(path: Path) -> None:
    path.mkdir()
    FRAME.to_parquet(path / "a.parquet")
    (path / "b.parquet").write_bytes((path / "a.parquet").read_bytes()[:-30])


BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "truncated gzip": (
        "t.csv.gz",
        lambda path: path.write_bytes(gzip.compress(CSV * 99)[:-20]),
        "cannot be decompressed: Compressed file ended",
    ),
    "damaged xz": (
        "t.csv.xz",
        lambda path: path.write_bytes(lzma.compress(CSV * 99)[:-40] + b"x" * 40),
        "cannot be decompressed: Corrupt",
    ),
    "truncated Zstandard": (
        "t.csv.zst",
        lambda path: (write_zstd(path, CSV * 99), path.write_bytes(path.read_bytes()[:-9])),
        "cannot be decompressed",
    ),
    "truncated zip": (
        "t.zip",
        lambda path: (write_zip(path, CSV * 99), path.write_bytes(path.read_bytes()[:-40])),
        "cannot be decompressed: File is not a zip file",
    ),
    "two files": (
        "t.zip",
        lambda path: write_zip(path, CSV, "a.csv", "b.csv"),
        "the zip file has 2 files ('a.csv', 'b.csv')",
    ),
    "compressed and short": (
        "t.csv.gz",
        lambda path: path.write_bytes(gzip.compress(b"a,b,c\n1,2,3\n1,2\n")),
        "line 3 has 2 cells, the header 3",
    ),
    "compressed and empty": (
        "t.csv.gz",
        lambda path: path.write_bytes(gzip.compress(b"")),
        "the file is blank",
    ),
    "not JSON": (
        "t.jsonl",
        lambda path: path.write_text('{"a": 1}\n{"a": \n'),
        "line 2 is not JSON",
    ),
    "nested JSON": (
        "t.jsonl",
        lambda path: path.write_text("[" * 100_000 + "\n"),
        "line 1 is not JSON",
    ),
    "repeated key": (
        "t.jsonl",
        lambda path: path.write_text('{"a": 1}\n\n{"a": 1, "a": 2}\n'),
        "line 3 has the key 'a' twice",
    ),
    "JSON list": (
        "t.jsonl",
        lambda path: path.write_text("[1, 2]\n"),
        "line 1 is not an object",
    ),
    "no spreadsheet": (
        "t.xlsx",
        lambda path: path.write_bytes(b"junk" * 99),
        "not a readable spreadsheet",
    ),
    "unnamed column": (
        "t.xlsx",
        lambda path: pd.DataFrame([["a", None], [1, 2]]).to_excel(path, header=False, index=False),
        "sheet 'Sheet1': column 2 has no name",
    ),
    "repeated column": (
        "t.xlsx",
        lambda path: pd.DataFrame([["a", "a"], [1, 2]]).to_excel(path, header=False, index=False),
        "sheet 'Sheet1': column 'a' occurs twice",
    ),
    "no Arrow file": (
        "t.feather",
        lambda path: path.write_bytes(b"junk" * 99),
        "not a readable Arrow file",
    ),
    "other columns": ("t", bad_folder, "lacks age"),
    "other types": ("t", bad_types, "b.parquet: its types differ from those of a.parquet"),
    "damaged part": ("t", damaged_part, "b.parquet: not a readable Parquet file"),
    "no Parquet files": ("t", Path.mkdir, "is a folder without Parquet files"),
    "no rows": ("t.jsonl", lambda path: path.write_text("\n"), "the table has no rows"),
}


@pytest.mark.parametrize("name", BAD)
def test_invalid_files_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    file_name, write, words = BAD[name]
    write(tmp_path / file_name)
    with pytest.raises(UserError) as refusal:
        read_table(tmp_path / file_name, f"data/{file_name}")
    message = str(refusal.value)
    assert words in message
    assert message.startswith((f"data/{file_name}", f"{file_name}: the zip"))
    assert "\n" not in message
    assert "/tmp" not in message
    assert "semigen-" not in message


def test_file_that_expands_without_bound_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(compression, "MIN_BOMB_SIZE", 1 << 18)
    path = tmp_path / "rows.csv.bz2"
    path.write_bytes(bz2.compress(b"a,b\n" + b"1,2\n" * (1 << 17)))
    with pytest.raises(UserError, match="expands to more than 1000 times its size"):
        read_table(path)


def test_decompressed_copy_is_private_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(CSV))
    with compression.uncompressed(path, "rows") as plain:
        assert plain.read_bytes() == CSV
        assert plain.parent.stat().st_mode & 0o077 == 0
    assert not plain.parent.exists()


def test_spreadsheet_without_the_extra_names_it(tmp_path: Path, monkeypatch) -> None:
    FRAME.to_excel(tmp_path / "rows.xlsx")
    monkeypatch.setattr(formats, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'semigen\[excel\]'"):
        read_table(tmp_path / "rows.xlsx")


def test_json_lines_keep_lists_and_text(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"id": "007", "tags": ["a", "b"]}, {"id": "8", "when": "2024-05-01", "tags": None}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = read_table(path)
    assert read["id"].tolist() == ["007", "8"]
    assert read["tags"][0] == ["a", "b"]
    assert read["when"].isna().tolist() == [True, False]
