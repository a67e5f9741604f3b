"""Promotion of real classifiers, fitted on small tables, by the files that a run leaves."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

import semigen
from semigen.artifacts import Layout
from semigen.classifiers.classifier import Classifier, Member
from semigen.errors import UserError
from semigen.params.config import DataParams, EvaluateParams, Params, PromoteParams
from semigen.registry.registry import Registry, digest_of
from semigen.tables.encoding import TableEncoder, encode_rows
from semigen.tables.schema import as_text
from tasks.command_line import main
from tasks.predict import resolve_model
from tasks.promote import promote, to_list
from tests.semigen.example_tables import TARGET, mixed_table, schema_of

DATA = DataParams(labeled="labeled.csv", unlabeled="unlabeled.csv", test="test.csv", target=TARGET)
REPOSITORY = Path(__file__).parents[2]
EVALUATE = EvaluateParams(n_bootstrap=200)


def params(data: DataParams = DATA, seed: int = 3, **promote: object) -> Params:
    return Params(seed=seed, data=data, evaluate=EVALUATE, promote=PromoteParams(**promote))


def write_run(
    layout: Layout,
    labeled: pd.DataFrame,
    test: pd.DataFrame,
    unlabeled: pd.DataFrame | None = None,
    estimator: object = None,
) -> None:
    """Write what a run leaves: prepared and encoded tables, a validation report, a classifier."""
    unlabeled = mixed_table(200, seed=9) if unlabeled is None else unlabeled
    schema = schema_of(labeled)
    for part, rows in (("labeled", labeled), ("test", test)):
        path = layout.prepared(part)
        path.parent.mkdir(parents=True, exist_ok=True)
        typed = schema.coerce(rows)
        typed.assign(**{TARGET: as_text(rows[TARGET])}).to_parquet(path, index=False)
    encoder = TableEncoder(schema).fit(labeled)
    y = schema.encode_labels(labeled[TARGET])
    encoded = encode_rows(encoder, labeled, y)
    encoded.save(layout.encoded("labeled"))
    encode_rows(encoder, unlabeled).save(layout.encoded("unlabeled"))
    layout.validation_json.parent.mkdir(exist_ok=True)
    layout.validation_json.write_text('{"success": true}')
    fitted = (estimator or LogisticRegression()).fit(encoded.x, y)
    shutil.rmtree(layout.classifier, ignore_errors=True)
    Classifier(encoder, (Member("logistic", fitted, "encoded", 1.0),)).save(layout.classifier)


@pytest.fixture
def layout(tmp_path):
    """A project after its first run."""
    layout = Layout(tmp_path)
    write_run(layout, mixed_table(80, seed=0), mixed_table(200, seed=1))
    return layout


def retrain(layout: Layout, strength: float = 0.9, n_labeled: int = 80) -> None:
    """Train another classifier, about as good, on the same table."""
    labeled, test = mixed_table(n_labeled, seed=0), mixed_table(200, seed=1)
    write_run(layout, labeled, test, estimator=LogisticRegression(C=strength))


def spoil(layout: Layout) -> None:
    """Train a classifier that knows nothing, on the same table."""
    write_run(
        layout, mixed_table(80, seed=0), mixed_table(200, seed=1), estimator=DummyClassifier()
    )


def champion(layout: Layout) -> str | None:
    found = Registry(layout.registry).champion()
    return found and found.name


def test_first_model_becomes_champion_and_all_is_recorded(layout):
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


def test_the_same_classifier_is_not_registered_twice(layout):
    promote(params(), layout)
    decision = promote(params(), layout)
    assert (decision.outcome, decision.version) == ("unchanged", "v0001")
    assert len(Registry(layout.registry).history()) == 1


def test_an_equal_model_is_promoted_and_a_worse_one_kept(layout):
    promote(params(), layout)
    retrain(layout)
    decision = promote(params(), layout)
    assert (decision.outcome, decision.champion) == ("promoted", "v0002")
    assert decision.comparison.n_rows == 200
    figures = layout.promotion_markdown.read_text().partition("\n| 200 test rows")
    again = promote(params(), layout)  # what is known is reported anew
    assert again.outcome == "unchanged" and again.comparison.n_rows == 200
    assert figures[1:] == layout.promotion_markdown.read_text().partition(figures[1])[1:]
    spoil(layout)
    decision = promote(params(), layout)
    assert (decision.outcome, decision.version, decision.champion) == ("kept", "v0003", "v0002")
    assert "accuracy differs from v0002's by -0." in decision.reason
    assert champion(layout) == "v0002"
    page = layout.promotion_markdown.read_text()
    assert "**v0003 is kept as challenger; the champion is v0002.**" in page
    assert "| 200 test rows | v0002 | v0003 | difference |" in page


def test_a_kept_challenger_is_judged_again_and_promoted_when_it_may(layout):
    promote(params(), layout)
    spoil(layout)
    promote(params(), layout)
    again = promote(params(), layout)
    assert (again.outcome, again.version) == ("unchanged", "v0002") and again.comparison
    assert len(Registry(layout.registry).history()) == 2
    assert promote(params(tolerance=1), layout).outcome == "promoted"
    assert champion(layout) == "v0002"
    assert len(Registry(layout.registry).versions()) == 2


def test_force_promotes_a_kept_challenger(layout):
    promote(params(), layout)
    spoil(layout)
    promote(params(), layout)
    decision = promote(params(), layout, force=True)
    assert (decision.outcome, decision.champion) == ("promoted", "v0002")
    assert decision.reason.startswith("forced, although accuracy differs")


def test_a_rollback_is_not_undone_by_the_next_run(layout):
    promote(params(), layout)
    retrain(layout)
    promote(params(), layout)
    Registry(layout.registry).rollback()
    decision = promote(params(), layout)
    assert (decision.outcome, decision.champion) == ("unchanged", "v0001")
    assert "--force" in decision.reason
    assert promote(params(), layout, force=True).champion == "v0002"
    assert len(Registry(layout.registry).versions()) == 2


def resplit(layout: Layout, n_moved: int, seed: int = 1) -> None:
    """Add rows and split anew: so many of the first run's training rows become test rows."""
    old, fresh = mixed_table(80, seed=0), mixed_table(100 - n_moved, seed=seed)
    test = pd.concat([old[:n_moved], fresh], ignore_index=True)
    labeled = pd.concat([old[n_moved:], mixed_table(60, seed=2)], ignore_index=True)
    write_run(layout, labeled, test)


def test_test_rows_that_the_champion_learned_from_are_left_out(layout):
    promote(params(), layout)
    resplit(layout, n_moved=25)
    decision = promote(params(), layout)
    assert (decision.comparison.n_rows, decision.comparison.n_left_out) == (75, 25)
    assert "25 further test rows are left out" in layout.promotion_markdown.read_text()


def test_leaked_rows_would_have_flattered_the_champion(layout):
    """A champion that knows its training rows by heart is beaten on the rows that count."""
    rng = np.random.default_rng(0)
    noisy = mixed_table(80, seed=0)
    noisy[TARGET] = rng.permutation(noisy[TARGET].to_numpy())
    write_run(layout, noisy, mixed_table(200, seed=1), estimator=DecisionTreeClassifier())
    promote(params(), layout)
    test = pd.concat([noisy[:70], mixed_table(60, seed=4)], ignore_index=True)
    write_run(layout, mixed_table(80, seed=5), test)
    decision = promote(params(), layout)
    assert decision.outcome == "promoted"
    assert decision.comparison.n_left_out == 70
    assert decision.comparison.difference["accuracy"].low > 0.2
    known = semigen.load(Registry(layout.registry).version("v0001").classifier)
    assert (known.predict(test) == test[TARGET])[:70].all()


def test_too_few_rows_left_keep_the_challenger(layout):
    promote(params(), layout)
    resplit(layout, n_moved=71)
    decision = promote(params(min_test_rows=30), layout)
    assert decision.outcome == "kept" and decision.comparison is None
    assert decision.reason.startswith("only 29 of 100 test rows are none that v0001 learned from")
    assert promote(params(min_test_rows=29), layout).outcome == "promoted"


def test_a_champion_that_lacks_a_column_is_not_replaced_unseen(layout):
    promote(params(), layout)
    labeled, test = (mixed_table(n, seed=n).drop(columns="ward") for n in (80, 100))
    unlabeled = mixed_table(100).drop(columns="ward")
    write_run(layout, labeled, test, unlabeled)
    decision = promote(params(), layout)
    assert decision.outcome == "kept"
    for part in ("v0001 cannot score", "'ward'", "python -m tasks promote --force"):
        assert part in decision.reason
    assert promote(params(), layout, force=True).outcome == "promoted"


def test_a_class_that_the_champion_does_not_know_keeps_the_challenger(layout):
    promote(params(), layout)
    labeled, test = mixed_table(80, seed=0), mixed_table(100, seed=1)
    for table in (labeled, test):
        table.loc[:9, TARGET] = "dead"
    write_run(layout, labeled, test)
    assert "class 'dead' is unknown to it" in promote(params(), layout).reason


def test_a_class_that_only_the_champion_knows_is_no_obstacle(layout):
    labeled = mixed_table(80, seed=0)
    labeled.loc[:9, TARGET] = "cured"  # first in order, so that the columns shift
    write_run(layout, labeled, mixed_table(100, seed=1))
    promote(params(), layout)
    retrain(layout)
    decision = promote(params(), layout)
    assert decision.outcome == "promoted"
    test = pd.read_parquet(layout.prepared("test"))
    known = semigen.load(Registry(layout.registry).version("v0001").classifier)
    accuracy = (known.predict(test) == test[TARGET]).mean()
    assert decision.comparison.champion["accuracy"].value == pytest.approx(accuracy)


def test_another_question_is_not_compared(layout):
    promote(params(DataParams()), layout)
    spoil(layout)
    decision = promote(params(), layout)
    assert decision.outcome == "promoted" and decision.comparison is None
    assert "v0001 answers another question ('label' of digits" in decision.reason


def test_failed_gates_keep_even_the_first_model(layout):
    layout.validation_json.write_text('{"success": false}')
    unlabeled = mixed_table(200, seed=9).assign(weight=500.0)
    write_run(layout, mixed_table(80, seed=0), mixed_table(200, seed=1), unlabeled)
    decision = promote(params(), layout)
    assert decision.outcome == "kept" and decision.reason.startswith("drift: ")
    assert champion(layout) is None
    layout.validation_json.unlink()
    decision = promote(params(max_drift=1), layout)
    assert decision.reason.startswith("validation: no reports/validation.json")


def unfair_rows() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return tables where the label is noise in the ward "west"; test rows have a column more."""
    tables = []
    for n, seed in ((80, 0), (300, 1)):
        table = mixed_table(n, seed=seed)
        is_west = table["ward"] == "west"
        flips = np.random.default_rng(100 + seed).random(n) < 0.5
        others = table[TARGET].map({"ill": "well", "well": "ill"})
        table[TARGET] = table[TARGET].where(~(is_west & flips), others)
        tables.append(table)
    return tables[0], tables[1]


def test_a_planted_gap_between_groups_fails_the_fairness_gate(layout):
    write_run(layout, *unfair_rows())
    fair = promote(params(fairness_columns=("smoker",)), layout)
    assert fair.outcome == "promoted"
    write_run(layout, *unfair_rows(), estimator=LogisticRegression(C=0.9))
    decision = promote(params(fairness_columns=("smoker", "ward")), layout)
    assert decision.outcome == "kept"
    assert decision.reason.startswith("fairness: accuracy differs by 0.")
    assert decision.reason.endswith("and west; limit 0.1")


def test_groups_may_be_of_a_column_that_the_model_does_not_see(layout):
    labeled, test = unfair_rows()
    (layout.root / "unlabeled.csv").write_text("weight\n1\n")
    labeled.assign(sex="f").to_csv(layout.root / "labeled.csv", index=False)
    sex = np.where(test["ward"] == "west", "f", "m")
    test.assign(sex=sex).to_csv(layout.root / "test.csv", index=False)
    write_run(layout, labeled, test)
    gates = promote(params(fairness_columns=("sex",)), layout).gates
    assert "'sex' m and f" in gates[1].reason and not gates[1].passed
    with pytest.raises(UserError, match="no column 'age' among the test rows"):
        promote(params(fairness_columns=("age",)), layout, force=True)
    test[:-1].to_csv(layout.root / "test.csv", index=False)
    with pytest.raises(UserError, match="has 299 rows, the prepared one 300"):
        promote(params(fairness_columns=("sex",)), layout, force=True)


def test_predict_takes_the_champion_or_what_it_is_told(layout):
    assert resolve_model(None, layout).name == "models/classifier"
    promote(params(), layout)
    spoil(layout)
    promote(params(), layout)
    found = resolve_model(None, layout)
    assert found.name == "champion v0001"
    assert found.folder == layout.registry / "versions" / "v0001" / "classifier"
    assert resolve_model("elsewhere", layout).name == "elsewhere"


PROMOTION = """
from pathlib import Path
from semigen.artifacts import Layout
from semigen.params.config import Params
from tasks.promote import promote
layout, params = Layout(Path.cwd()), Params.load("params.yaml")
print("ready", flush=True)
promote(params, layout, force=True)
"""
NEW_ROWS = mixed_table(20, seed=6).drop(columns=TARGET)


@pytest.mark.slow
def test_predict_beside_promotions_that_are_killed_meets_whole_champions_only(layout):
    content = {"data": DATA.model_dump(), "evaluate": {"n_bootstrap": 200}}
    layout.params.write_text(json.dumps(content))
    started = time.monotonic()
    promote(params(), layout)
    seconds, chance = time.monotonic() - started, random.Random(0)
    for i in range(4):
        retrain(layout, strength=0.5 + 0.1 * i)
        with promotion(layout) as process:
            end = time.monotonic() + chance.uniform(0, 1.5 * seconds)
            while time.monotonic() < end:
                predict_and_check(layout)
            process.kill()
        predict_and_check(layout)
    with promotion(layout) as process:
        assert process.wait(60) == 0
    newest = Registry(layout.registry).champion()
    assert newest.digest == digest_of(layout.classifier)
    predict_and_check(layout)


@contextlib.contextmanager
def promotion(layout: Layout) -> Iterator[subprocess.Popen[str]]:
    """Promote in another process, which has imported all when the block begins."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        [sys.executable, "-c", PROMOTION],
        cwd=layout.root,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield process


def predict_and_check(layout: Layout) -> None:
    """Label rows with the champion; it must be one that was registered, and all of it."""
    found = resolve_model(None, layout)
    version = Registry(layout.registry).version(found.name.removeprefix("champion "))
    assert digest_of(found.folder) == version.digest
    assert len(semigen.load(found.folder).predict_proba(NEW_ROWS)) == len(NEW_ROWS)


def test_commands(layout, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    content = {"data": DATA.model_dump(), "evaluate": {"n_bootstrap": 200}}
    (tmp_path / "params.yaml").write_text(json.dumps(content))
    assert main(["registry"]) == 0
    assert "empty" in capsys.readouterr().out
    assert main(["promote", "--reason", "first"]) == 0
    assert "v0001 is the new champion" in capsys.readouterr().out
    spoil(layout)
    assert main(["promote"]) == 0
    assert "v0002 is kept as challenger" in capsys.readouterr().out
    assert main(["promote", "--force"]) == 0
    assert main(["rollback", "--reason", "complaints"]) == 0
    assert "v0001 is the champion, in the place of v0002" in capsys.readouterr().out
    assert main(["registry"]) == 0
    listed = capsys.readouterr().out
    assert listed.index("v0002  former champion") < listed.index("v0001  CHAMPION")
    for part in ("promoted (first)", "kept (by hand)", "rolled back (complaints)", "drift "):
        assert part in listed
    assert listed.rstrip("\n") == to_list(Registry(layout.registry))
    assert main(["rollback", "--to", "v0007"]) == 1
    assert "no version 'v0007'; there are: v0001, v0002" in capsys.readouterr().err
    assert main(["rollback"]) == 1
    assert "no champion before v0001" in capsys.readouterr().err
