"""Classifiers of several tables in one registry: each table has a champion of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from semigen.artifacts import Layout
from semigen.cli.main import main
from semigen.errors import UserError
from semigen.prediction import resolve_model
from semigen.registry.question import Question
from semigen.registry.registry import Registry
from semigen.report.promotion import registry_text
from tasks.promote import promote
from tests.semigen.example_tables import TARGET, mixed_table
from tests.tasks.promotion_project import DATA, params, retrain, train_constant, write_run

SAVED = Path(__file__).parents[1] / "semigen" / "data" / "models_fd3f79a" / "registry"


def other_table(n_rows: int, seed: int = 0) -> pd.DataFrame:
    """Return a table with the same label column and classes, but with other feature columns."""
    table = mixed_table(n_rows, seed=seed)
    return table.rename(columns={name: f"{name}_2" for name in table if name != TARGET})


def train_on_other_table(layout: Layout) -> None:
    write_run(layout, other_table(80), other_table(200, seed=1), other_table(200, seed=9))


def use(layout: Layout, table: pd.DataFrame, name: str = "new.csv") -> Path:
    path = layout.root / name
    table.drop(columns=TARGET).to_csv(path, index=False)
    return path


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A project whose second run was on another table than the first; both are its own."""
    monkeypatch.chdir(tmp_path)
    layout = Layout(tmp_path)
    content = {"data": DATA.model_dump(), "evaluate": {"n_bootstrap": 200}}
    layout.params.write_text(json.dumps(content))
    write_run(layout, mixed_table(80, seed=0), mixed_table(200, seed=1))
    promote(params(), layout)
    train_on_other_table(layout)
    return layout


def write_schema(layout: Layout) -> None:
    """Write the schema of the trained classifier, as the validate stage does."""
    shutil.copy(layout.classifier / "encoder" / "schema.json", layout.schema)


def test_another_table_gets_a_champion_of_its_own(layout: Layout) -> None:
    decision = promote(params(), layout)
    assert (decision.outcome, decision.champion) == ("promoted", "v0002")
    assert "v0001 predicts something else" in decision.reason
    registry = Registry(layout.registry)
    assert [line.champion.name for line in registry.lineages()] == ["v0001", "v0002"]
    assert [event.replaced for event in registry.history()] == [None, None]
    pointer = json.loads((layout.registry / "champion.json").read_text())
    assert [champion["version"] for champion in pointer["champions"]] == ["v0001", "v0002"]


def test_challenger_is_compared_with_the_champion_of_its_own_table(layout: Layout) -> None:
    promote(params(), layout)
    train_constant(layout)
    decision = promote(params(), layout)
    assert (decision.outcome, decision.champion) == ("kept", "v0001")
    assert decision.comparison is not None and decision.comparison.against == "v0001"


def test_rollback_stays_within_the_table_of_the_project(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    promote(params(), layout)
    write_schema(layout)
    assert main(["rollback"]) == 1
    message = capsys.readouterr().err
    assert "no champion before v0002 (other champions: v0001 'outcome'" in message
    assert [line.champion.name for line in Registry(layout.registry).lineages()] == [
        "v0001",
        "v0002",
    ]
    retrain(layout)
    promote(params(), layout)
    write_schema(layout)
    assert main(["rollback"]) == 0
    assert "v0001 is the champion of 'outcome'" in capsys.readouterr().out
    assert main(["rollback", "--to", "v0003"]) == 0
    assert "it replaces v0001" in capsys.readouterr().out


def test_rollback_names_the_questions_if_the_project_does_not_say_which(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    promote(params(), layout)
    assert not layout.schema.exists()
    assert main(["rollback"]) == 1
    assert "several questions fit" in capsys.readouterr().err
    layout.params.write_text("data: {target: label}")
    assert main(["rollback"]) == 1
    message = capsys.readouterr().err
    assert "no champion for the question 'label' of digits" in message
    assert "v0001 'outcome' of your own tables" in message and "v0002 'outcome'" in message


def test_predict_uses_the_champion_whose_columns_the_input_has(layout: Layout) -> None:
    promote(params(), layout)
    for table, version in ((mixed_table(9), "v0001"), (other_table(9), "v0002")):
        found = resolve_model(None, layout, use(layout, table))
        assert found.folder == layout.registry / "versions" / version / "classifier"
        assert (
            found.name == f"champion {version} 'outcome' of your own tables (2 classes, 4 columns)"
        )


def test_predict_refuses_input_that_fits_no_champion_or_several(layout: Layout) -> None:
    promote(params(), layout)
    both = pd.concat([mixed_table(9).drop(columns=TARGET), other_table(9)], axis=1)
    with pytest.raises(UserError, match=r"columns of several champions .*v0001.*v0002.*--model"):
        resolve_model(None, layout, use(layout, both))
    neither = mixed_table(9).drop(columns="ward")
    with pytest.raises(UserError, match=r"of any champion .*v0001.*lacks ward; v0002.*lacks "):
        resolve_model(None, layout, use(layout, neither))
    chosen = resolve_model("v0001", layout, use(layout, both))
    assert chosen.folder == layout.registry / "versions" / "v0001" / "classifier"
    with pytest.raises(UserError, match="no version 'v0009'"):
        resolve_model("v0009", layout)


def test_registry_is_listed_by_question(layout: Layout) -> None:
    promote(params(), layout)
    listed = registry_text(Registry(layout.registry))
    heads = [line.split()[:2] for line in listed.splitlines() if line and line[0] != " "]
    assert heads == [
        ["v0002", "'outcome'"],
        ["v0002", "CHAMPION"],
        ["v0001", "'outcome'"],
        ["v0001", "CHAMPION"],
    ]


def test_registry_of_an_earlier_release_is_read(layout: Layout) -> None:
    """Its history has one line of champions, and its records do not hold columns and classes."""
    promote(params(), layout)
    pointer = layout.registry / "champion.json"
    content = json.loads(pointer.read_text())
    del content["champions"]
    content["history"][1]["replaced"] = "v0001"
    pointer.write_text(json.dumps(content))
    for name in ("v0001", "v0002"):
        record = layout.registry / "versions" / name / "record.json"
        facts = json.loads(record.read_text())
        facts["question"] = {"target": TARGET, "embedded": None}
        record.write_text(json.dumps(facts))
    registry = Registry(layout.registry)
    assert [line.champion.name for line in registry.lineages()] == ["v0001", "v0002"]
    assert resolve_model(None, layout, use(layout, mixed_table(9))).name.startswith(
        "champion v0001"
    )


def test_saved_registry_has_one_question(tmp_path: Path) -> None:
    shutil.copytree(SAVED, tmp_path / "registry")
    (line,) = Registry(tmp_path / "registry").lineages()
    assert line.champion.name == "v0001"
    assert line.question.features and line.question.classes


def test_embedded_data_sets_are_other_questions_than_own_tables() -> None:
    columns = {"classes": ("0", "1"), "features": ("a", "b")}
    own, digits = Question("label", None, **columns), Question("label", "digits", **columns)
    assert not own.is_same(digits)
    assert own.is_same(Question("label", None))  # before the schema is known
    assert not own.is_same(Question("label", None, ("0", "1"), ("b", "c", "d", "e", "f")))
    assert not own.is_same(Question("label", None, ("2", "3"), ("a", "b")))
