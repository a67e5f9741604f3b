"""Text in CSV files does not run as a formula when a spreadsheet opens them."""

from __future__ import annotations

import pandas as pd
import pytest

from semigen.cli.synthesize import synthesize_table
from semigen.tables.formulas import guard_formulas, guard_text, remove_guards
from semigen.tables.sources import write_table

FORMULAS = (
    "=1+1",
    "=cmd|' /C calc'!A0",
    "+HYPERLINK(A1)",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "=\n1",
    "＝1+1",  # noqa: RUF001 - a full-width sign
    "--1",
    "-1-1",
    "+x",
)
PLAIN = ("-1", "+1", "-1.5e-3", "+", "-", "=", "@", "a=b", "'=x", "7.0", "", "-12%", " =x")


@pytest.mark.parametrize("text", FORMULAS)
def test_formula_becomes_text(text):
    assert guard_text(text) == f"'{text}"
    frame = pd.DataFrame({text: [text, "x"], "object": pd.Series([text, 1], dtype=object)})
    guarded = guard_formulas(frame)
    assert guarded.columns[0] == f"'{text}"
    assert guarded.iloc[0].tolist() == [f"'{text}"] * 2
    assert guarded.iloc[1].tolist() == ["x", 1]
    assert frame.columns[0] == text and frame.iloc[0, 0] == text
    pd.testing.assert_frame_equal(remove_guards(guarded), frame, check_dtype=False)


@pytest.mark.parametrize("text", PLAIN)
def test_numbers_signs_and_other_text_stay(text):
    frame = pd.DataFrame({"text": [text], "number": [-1], "list": [[text]]})
    pd.testing.assert_frame_equal(guard_formulas(frame), frame)
    if text != "'=x":  # as a guarded formula
        pd.testing.assert_frame_equal(remove_guards(frame), frame)


def test_missing_cells_stay():
    frame = pd.DataFrame({"text": ["=1", None], "number": [None, -1.0]})
    assert guard_formulas(frame).isna().equals(frame.isna())


def test_parquet_is_not_guarded(tmp_path):
    frame = pd.DataFrame({"=a": ["=1+1"]})
    write_table(frame, tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), frame)


@pytest.mark.slow
def test_synthetic_rows_are_guarded(tmp_path):
    cells = ["=1+1", "-1", "@x"] * 20
    table = pd.DataFrame({"=f": cells, "n": range(60), "class": ["=yes", "no"] * 30})
    table.to_csv(tmp_path / "t.csv", index=False)
    synthesize_table(tmp_path / "t.csv", tmp_path / "s.csv", "class", generator="vae")
    guarded = pd.read_csv(tmp_path / "s.csv", dtype=str)
    assert set(guarded["class"]) == {"'=yes", "no"}
    assert set(guarded["'=f"]) <= {"'=1+1", "-1", "'@x"}


def test_guard_can_be_turned_off(tmp_path):
    table = pd.DataFrame({"=f": ["=1+1", "-1", "@x"]})
    write_table(table, tmp_path / "raw.csv", guard=False)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "raw.csv"), table)
