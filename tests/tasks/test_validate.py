from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tasks.command_line
from semigen.artifacts import Layout
from semigen.report.markdown import escape
from semigen.tables.schema import TableSchema

PARAMS = "data: {labeled: data/l.csv, unlabeled: data/u.csv, test: data/t.csv, target: y}\n"
SPLIT_PARAMS = "data: {labeled: data/l.csv, unlabeled: data/u.csv, target: y}\n"
HEADER = "age,income,city,member,y\n"


def rows(n_rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 90, n_rows),
            "income": rng.normal(50, 10, n_rows).round(3),
            "city": rng.choice(["Bonn", "Cork", "Lyon"], n_rows),
            "member": rng.choice(["no", "yes"], n_rows),
            "y": np.where(np.arange(n_rows) % 2, "p", "q"),
        }
    )


@pytest.fixture
def layout(tmp_path, monkeypatch) -> Layout:
    """A project with clean tables and the files of an earlier, successful validation."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    rows(40, 0).to_csv("data/l.csv", index=False)
    rows(300, 1).drop(columns="y").to_csv("data/u.csv", index=False)
    rows(60, 2).to_csv("data/t.csv", index=False)
    Path("params.yaml").write_text(PARAMS)
    Path("data/schema.json").write_text("stale")
    return Layout(tmp_path)


def edit(path: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    change(pd.read_csv(path, dtype=object)).to_csv(path, index=False)


def validate() -> int:
    return tasks.command_line.main(["validate"])


def test_clean_tables(layout, capsys):
    assert validate() == 0
    assert TableSchema.load(layout.schema).classes == ("p", "q")
    report = json.loads(layout.validation_json.read_text())
    assert report["success"] is True
    assert report["n_rows"] == {"labeled": 40, "unlabeled": 300, "test": 60}
    cost, *printed = capsys.readouterr().out.splitlines()
    assert cost.startswith("validate: about ")
    assert printed[0].split() == ["part", "file", "rows", "errors", "warnings"]
    assert printed[2].split() == ["unlabeled", "data/u.csv", "300", "0", "0"]


def test_equal_tables_give_equal_bytes(layout):
    written = []
    for _ in range(2):
        assert validate() == 0
        files = (layout.schema, layout.validation_json, layout.validation_markdown)
        written.append([file.read_bytes() for file in files])
    assert written[0] == written[1]
    assert not any(str(layout.root).encode() in content for content in written[0])


def test_test_rows_are_split_off(layout):
    Path("params.yaml").write_text(SPLIT_PARAMS)
    assert validate() == 0
    report = json.loads(layout.validation_json.read_text())
    assert report["n_rows"] == {"labeled": 32, "unlabeled": 300, "test": 8}
    assert report["files"]["test"] == "data/l.csv"


ERRORS: dict[str, tuple[Callable[[], object], str]] = {
    "unknown file": (lambda: Path("data/l.csv").unlink(), "data/l.csv: no such file"),
    "empty": (lambda: Path("data/u.csv").write_bytes(b""), "data/u.csv: the file is empty"),
    "header only": (lambda: Path("data/t.csv").write_text(HEADER), "data/t.csv: the table has no"),
    "binary": (
        lambda: Path("data/l.csv").write_bytes(b"\x89PNG\r\n" + bytes(range(256))),
        "data/l.csv: contains NUL bytes",
    ),
    "no known encoding": (
        lambda: Path("data/l.csv").write_bytes(HEADER.encode() + b"1,2,K\x81ln,no,p\n"),
        "data/l.csv: cannot be decoded",
    ),
    "ragged": (
        lambda: Path("data/u.csv").write_text(HEADER + "1,2,a,no,p\n1,2,a,no,p,3,4\n"),
        "data/u.csv: not a readable CSV file",
    ),
    "duplicate header": (
        lambda: Path("data/l.csv").write_text(HEADER.replace("income", "age") + "1,2,a,no,p\n"),
        "data/l.csv: column 'age' occurs twice",
    ),
    "no label column": (
        lambda: edit("data/l.csv", lambda f: f.drop(columns="y")),
        "data/l.csv: no column 'y' (data.target)",
    ),
    "one class": (
        lambda: edit("data/l.csv", lambda f: f.assign(y="p")),
        "data/l.csv: column 'y' (data.target) holds only class 'p'",
    ),
    "class of one row": (
        lambda: edit("data/l.csv", lambda f: f.assign(y=["z", *f["y"][1:]])),
        "data/l.csv: column 'y' (data.target): 1 of 3 classes have fewer than 2 labeled rows: "
        "'z' has 1",
    ),
    "no label": (
        lambda: edit("data/l.csv", lambda f: f.assign(y=None)),
        "data/l.csv: column 'y' (data.target): no row has a label",
    ),
    "missing labels in test": (
        lambda: edit("data/t.csv", lambda f: f.assign(y=[None, *f["y"][1:]])),
        "data/t.csv: column 'y' (data.target): 1 of 60 rows have no label (row 1)",
    ),
    "column missing in test": (
        lambda: edit("data/t.csv", lambda f: f.drop(columns="age")),
        "data/t.csv: missing feature column(s) 'age'",
    ),
    "no column in common": (
        lambda: edit("data/u.csv", lambda f: f.add_prefix("x_")),
        "data/l.csv, data/u.csv: the labeled and the unlabeled table share no usable feature",
    ),
    "infinity among numbers": (
        lambda: edit("data/u.csv", lambda f: f.assign(age=["1", "-inf", *f["age"][2:]])),
        "data/u.csv: column 'age', row 2: -inf is infinite",
    ),
    "junk for numbers": (
        lambda: edit("data/l.csv", lambda f: f.assign(age="abc")),
        "data/l.csv: column 'age': 40 of 40 cells (100%) are not numbers "
        "('abc', first in row 1), more than 20%",
    ),
    "measurement for a label": (
        lambda: edit("data/l.csv", lambda f: f.assign(y=f["income"])),
        "data/l.csv: column 'y' (data.target): 40 of 40 classes have fewer than 2 labeled rows",
    ),
    "kind of an unknown column": (
        lambda: Path("params.yaml").write_text(PARAMS.replace("}", ", kinds: {Age: numeric}}")),
        "data/l.csv, data/u.csv: data.kinds: 'Age'",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_error_is_one_line_and_writes_a_report_but_no_schema(layout, capsys, name: str):
    change, words = ERRORS[name]
    change()
    assert validate() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {words}")
    assert not layout.schema.exists()
    report = json.loads(layout.validation_json.read_text())
    assert report["success"] is False
    errors = [r for r in report["results"] if r["severity"] == "error" and not r["success"]]
    assert all(part in line for part in errors[0]["message"].split("…"))  # without values
    assert "abc" not in layout.validation_json.read_text()
    assert escape(errors[0]["message"]) in layout.validation_markdown.read_text()
    left = {p.relative_to(layout.root).as_posix() for p in layout.root.rglob("*") if p.is_file()}
    left -= {".semigen/locks/validate.lock"}
    tables = {"data/l.csv", "data/u.csv", "data/t.csv"}
    assert left - tables == {"params.yaml", "reports/validation.json", "reports/validation.md"}


def test_errors_are_counted_and_the_report_is_named(layout, capsys):
    edit("data/t.csv", lambda f: f.drop(columns="age").assign(income="abc", y="z"))
    assert validate() == 1
    line = capsys.readouterr().err
    assert line.rstrip().endswith("(2 more errors); report: reports/validation.md")


def test_what_was_decided_in_reading_the_files_is_printed(layout, capsys):
    edit("data/l.csv", lambda f: f.assign(y=["", "unlabeled", "Q", *f["y"][3:]]))
    edit("data/u.csv", lambda f: f.assign(age=["?", "old", *f["age"][2:]]))
    Path("data/u.csv").write_bytes(
        b"Export;;;\n" + Path("data/u.csv").read_bytes().replace(b"Bonn", b"K\xf6ln")
    )
    edit("data/l.csv", lambda f: f.replace("Bonn", "K\xf6ln"))
    edit("data/t.csv", lambda f: f.replace("Bonn", "K\xf6ln"))
    assert validate() == 1
    message = capsys.readouterr().err
    assert "'Q' has 1" in message
    page = layout.validation_markdown.read_text()
    for words in (
        "data/u.csv: read as cp1252 (data.read.encoding)",
        "data/u.csv: skips 1 line(s) above the header",
        "data/l.csv: column 'y': 1 row with 'unlabeled': taken as unlabeled",
        "data/l.csv: column 'y' (data.target): 2 rows without a label; used as unlabeled",
        "the labels 'Q', 'q' differ only in case",
        "data/u.csv: column 'age': 1 of 301 cells (0%) are not numbers (…, first in row 2)",
    ):
        assert words in page


def test_table_with_gaps_in_the_labels_is_both_tables(layout):
    table = pd.concat([pd.read_csv("data/l.csv"), pd.read_csv("data/u.csv")])
    table.to_csv("data/l.csv", index=False)
    Path("params.yaml").write_text(PARAMS.replace("data/u.csv", "data/l.csv"))
    assert validate() == 0
    report = json.loads(layout.validation_json.read_text())
    assert report["n_rows"] == {"labeled": 40, "unlabeled": 300, "test": 60}
    assert TableSchema.load(layout.schema).classes == ("p", "q")


def test_warnings_are_printed_and_do_not_stop_the_run(layout, capsys):
    leaked = pd.concat([pd.read_csv("data/l.csv"), pd.read_csv("data/t.csv")[:3]])
    leaked.to_csv("data/l.csv", index=False)
    assert validate() == 0
    assert "warning: data/t.csv: 3 of 60 rows are also in data/l.csv" in capsys.readouterr().out


def test_command_shows_no_traceback(layout):
    Path("data/l.csv").write_bytes(b"")
    root = Path(tasks.command_line.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "tasks", "validate"],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: data/l.csv: the file is empty")
    assert len(done.stderr.splitlines()) == 1


def test_debug_shows_the_traceback(layout, capsys):
    Path("data/l.csv").write_bytes(b"")
    assert tasks.command_line.main(["validate", "--debug"]) == 1
    output = capsys.readouterr().err
    assert "Traceback" in output and "in read_table" in output
    assert output.splitlines()[-1].startswith("error: data/l.csv: the file is empty")
