"""Tables on the command line of ``semigen run``."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from flows.pipeline.overrides import apply_overrides
from semigen.cli.commands import command_parser
from semigen.cli.tables import CALLED_FROM, table_overrides


def parsed(root: Path, *arguments: str) -> dict[str, str]:
    """Return section ``data`` of a parameter file to which the arguments were applied."""
    path = root / "params.yaml"
    path.write_text("seed: 1\n")
    apply_overrides(table_overrides(command_parser("run").parse_args(arguments), root), path)
    return yaml.safe_load(path.read_text()).get("data", {})


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    (root / "raw").mkdir(parents=True)
    for path in ("project/raw/l.csv", "project/raw/u.csv", "project/raw/t.csv", "elsewhere.csv"):
        (tmp_path / path).touch()
    monkeypatch.chdir(root)
    monkeypatch.delenv(CALLED_FROM, raising=False)
    return root


def test_names_tables_and_target(root: Path) -> None:
    given = ("raw/l.csv", "raw/u.csv", "--test", "raw/t.csv", "--target", "Churn")
    expected = {"labeled": "raw/l.csv", "unlabeled": "raw/u.csv", "test": "raw/t.csv"}
    assert parsed(root, *given) == {**expected, "target": "Churn"}
    assert parsed(root, "--target", "y", "raw/l.csv", "raw/u.csv")["unlabeled"] == "raw/u.csv"


def test_one_table_is_the_unlabeled_table_too(root: Path) -> None:
    found = parsed(root, "raw/l.csv", "--target", "y")
    assert found == {"labeled": "raw/l.csv", "unlabeled": "raw/l.csv", "target": "y"}


def test_patterns_urls_and_queries_are_gathered(root: Path) -> None:
    given = ("raw/*.csv", "s3://shop/u.parquet", "--test", "raw/t.sql")
    found = parsed(root, *given)
    tables = {part: f"data/gathered/{part}.parquet" for part in ("labeled", "unlabeled", "test")}
    assert found == tables
    sources = yaml.safe_load((root / "params.yaml").read_text())["sources"]
    assert sources == {
        "labeled": ["raw/*.csv"],
        "unlabeled": ["s3://shop/u.parquet"],
        "test": ["raw/t.sql"],
    }
    assert parsed(root, "raw/*.csv")["unlabeled"] == tables["labeled"]


def test_nothing_named_changes_nothing(root: Path) -> None:
    assert parsed(root, "--force") == {}


def test_paths_start_where_the_command_was_called(root: Path, monkeypatch) -> None:
    monkeypatch.setenv(CALLED_FROM, str(root / "raw"))
    outside = str(root.parent / "elsewhere.csv")
    assert parsed(root, "l.csv", "../../elsewhere.csv") == {
        "labeled": "raw/l.csv",
        "unlabeled": outside,
    }


@pytest.mark.parametrize(
    "name",
    [
        "a b.csv",
        "a,b=[c].csv",
        "a'b.csv",
        'a"b.csv',
        "a\\b.csv",
        'a\\"b\\',
        "-a.csv",
        "${seed}.csv",
    ],
)
def test_names_with_special_characters_stay_as_they_are(root: Path, name: str) -> None:
    (root / name).touch()
    found = parsed(root, "--target", name.lstrip("-"), "--", name)
    assert found == {"labeled": name, "unlabeled": name, "target": name.lstrip("-")}
