"""Promotion of real classifiers, fitted on small tables."""

from __future__ import annotations

import json

import pandas as pd
import pytest

import semigen
from semigen.artifacts import Layout
from semigen.cli.main import main
from semigen.prediction import resolve_model
from semigen.registry.registry import Registry
from semigen.report.promotion import registry_text
from tasks import command_line
from tasks.promote import promote
from tests.semigen.example_tables import TARGET, mixed_table
from tests.tasks.promotion_project import DATA, champion, params, retrain, train_constant, write_run


@pytest.fixture
def layout(tmp_path):
    """A project after its first run."""
    layout = Layout(tmp_path)
    write_run(layout, mixed_table(80, seed=0), mixed_table(200, seed=1))
    return layout


def test_first_model_becomes_champion_and_is_recorded(layout):
    decision = promote(params(), layout, reason="schedule")
    assert (decision.outcome, decision.version, decision.champion) == ("promoted", "v0001", "v0001")
    assert [(gate.name, gate.passed) for gate in decision.gates] == [
        ("validation", True), ("fairness", True), ("drift", True),
    ]  # fmt: skip
    version = Registry(layout.registry).champion()
    assert version.facts["trigger"] == "schedule"
    assert version.facts["decision"]["outcome"] == "promoted"
    accuracy = version.facts["metrics"]["accuracy"]
    test = pd.read_parquet(layout.prepared("test"))
    expected = (semigen.load(layout.classifier).predict(test) == test[TARGET]).mean()
    assert accuracy["value"] == pytest.approx(expected) and accuracy["low"] < expected
    written = json.loads(layout.promotion_json.read_text())
    assert (written["outcome"], written["version"]) == ("promoted", "v0001")
    assert "**v0001 is the new champion.**" in layout.promotion_markdown.read_text()


def test_same_classifier_is_not_registered_twice(layout):
    promote(params(), layout)
    decision = promote(params(), layout)
    assert (decision.outcome, decision.version) == ("unchanged", "v0001")
    assert len(Registry(layout.registry).history()) == 1


def test_equal_model_is_promoted_and_worse_one_kept(layout):
    promote(params(), layout)
    retrain(layout)
    decision = promote(params(), layout)
    assert (decision.outcome, decision.champion) == ("promoted", "v0002")
    assert decision.comparison.n_rows == 200
    figures = layout.promotion_markdown.read_text().partition("\n| 200 test rows")
    again = promote(params(), layout)  # the report is written again
    assert again.outcome == "unchanged" and again.comparison.n_rows == 200
    assert figures[1:] == layout.promotion_markdown.read_text().partition(figures[1])[1:]
    train_constant(layout)
    decision = promote(params(), layout)
    assert (decision.outcome, decision.version, decision.champion) == ("kept", "v0003", "v0002")
    assert "accuracy differs from v0002's by -0." in decision.reason
    assert champion(layout) == "v0002"
    page = layout.promotion_markdown.read_text()
    assert "**v0003 is kept as challenger; the champion is v0002.**" in page
    assert "| 200 test rows | v0002 | v0003 | difference |" in page


def test_kept_challenger_is_judged_again(layout):
    promote(params(), layout)
    train_constant(layout)
    promote(params(), layout)
    again = promote(params(), layout)
    assert (again.outcome, again.version) == ("unchanged", "v0002") and again.comparison
    assert len(Registry(layout.registry).history()) == 2
    assert promote(params(tolerance=1), layout).outcome == "promoted"
    assert champion(layout) == "v0002"
    assert len(Registry(layout.registry).versions()) == 2


def test_force_promotes_a_kept_challenger(layout):
    promote(params(), layout)
    train_constant(layout)
    promote(params(), layout)
    decision = promote(params(), layout, force=True)
    assert (decision.outcome, decision.champion) == ("promoted", "v0002")
    assert decision.reason.startswith("forced, although accuracy differs")


def test_rollback_is_not_undone_by_the_next_run(layout):
    promote(params(), layout)
    retrain(layout)
    promote(params(), layout)
    Registry(layout.registry).rollback()
    decision = promote(params(), layout)
    assert (decision.outcome, decision.champion) == ("unchanged", "v0001")
    assert "--force" in decision.reason
    assert promote(params(), layout, force=True).champion == "v0002"
    assert len(Registry(layout.registry).versions()) == 2


def test_predict_uses_the_champion_or_the_given_model(layout):
    assert resolve_model(None, layout).name == "models/classifier"
    promote(params(), layout)
    train_constant(layout)
    promote(params(), layout)
    found = resolve_model(None, layout)
    assert found.name == "champion v0001"
    assert found.folder == layout.registry / "versions" / "v0001" / "classifier"
    assert resolve_model("elsewhere", layout).name == "elsewhere"


def test_commands(layout, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    content = {"data": DATA.model_dump(), "evaluate": {"n_bootstrap": 200}}
    (tmp_path / "params.yaml").write_text(json.dumps(content))
    assert main(["registry"]) == 0
    assert "empty" in capsys.readouterr().out
    assert command_line.main(["promote", "--reason", "first"]) == 0
    assert "v0001 is the new champion" in capsys.readouterr().out
    train_constant(layout)
    assert command_line.main(["promote"]) == 0
    assert "v0002 is kept as challenger" in capsys.readouterr().out
    assert command_line.main(["promote", "--force"]) == 0
    assert main(["rollback", "--reason", "complaints"]) == 0
    assert "v0001 is the champion; it replaces v0002" in capsys.readouterr().out
    assert main(["registry"]) == 0
    listed = capsys.readouterr().out
    assert listed.index("v0002  former champion") < listed.index("v0001  CHAMPION")
    for part in ("promoted (first)", "kept (by hand)", "rolled back (complaints)", "drift "):
        assert part in listed
    assert listed.rstrip("\n") == registry_text(Registry(layout.registry))
    assert main(["rollback", "--to", "v0007"]) == 1
    assert "no version 'v0007'; versions: v0001, v0002" in capsys.readouterr().err
    assert main(["rollback"]) == 1
    assert "no champion before v0001" in capsys.readouterr().err
