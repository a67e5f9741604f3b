"""Rows, columns and classes on which champion and challenger are compared, and the gates."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

import semigen
from semigen.artifacts import Layout
from semigen.errors import UserError
from semigen.params.config import DataParams
from semigen.registry.registry import Registry
from tasks.promote import promote
from tests.semigen.example_tables import TARGET, mixed_table
from tests.tasks.promotion_project import champion, params, retrain, train_constant, write_run


@pytest.fixture
def layout(tmp_path):
    """A project after its first run."""
    layout = Layout(tmp_path)
    write_run(layout, mixed_table(80, seed=0), mixed_table(200, seed=1))
    return layout


def resplit(layout: Layout, n_moved: int, seed: int = 1) -> None:
    """Add rows and split again, so that ``n_moved`` former training rows are test rows."""
    old, fresh = mixed_table(80, seed=0), mixed_table(100 - n_moved, seed=seed)
    test = pd.concat([old[:n_moved], fresh], ignore_index=True)
    labeled = pd.concat([old[n_moved:], mixed_table(60, seed=2)], ignore_index=True)
    write_run(layout, labeled, test)


def test_training_rows_of_the_champion_are_left_out(layout):
    promote(params(), layout)
    resplit(layout, n_moved=25)
    decision = promote(params(), layout)
    assert (decision.comparison.n_rows, decision.comparison.n_left_out) == (75, 25)
    assert "25 further test rows are left out" in layout.promotion_markdown.read_text()


def test_leaked_rows_do_not_inflate_the_champions_score(layout):
    """A champion that memorized its training rows scores lower on the other rows."""
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


def test_challenger_is_kept_if_too_few_rows_are_left(layout):
    promote(params(), layout)
    resplit(layout, n_moved=71)
    decision = promote(params(min_test_rows=30), layout)
    assert decision.outcome == "kept" and decision.comparison is None
    assert decision.reason.startswith("v0001 was trained on all but 29 of the 100 test rows")
    assert promote(params(min_test_rows=29), layout).outcome == "promoted"


def test_champion_that_cannot_score_is_not_replaced(layout):
    promote(params(), layout)
    labeled, test = (mixed_table(n, seed=n).drop(columns="ward") for n in (80, 100))
    unlabeled = mixed_table(100).drop(columns="ward")
    write_run(layout, labeled, test, unlabeled)
    decision = promote(params(), layout)
    assert decision.outcome == "kept"
    for part in ("v0001 cannot score", "'ward'", "semigen promote --force"):
        assert part in decision.reason
    assert promote(params(), layout, force=True).outcome == "promoted"


def test_challenger_is_kept_if_the_champion_lacks_a_class(layout):
    promote(params(), layout)
    labeled, test = mixed_table(80, seed=0), mixed_table(100, seed=1)
    for table in (labeled, test):
        table.loc[:9, TARGET] = "dead"
    write_run(layout, labeled, test)
    assert "it does not know class 'dead'" in promote(params(), layout).reason


def test_compares_if_the_challenger_lacks_a_class(layout):
    labeled = mixed_table(80, seed=0)
    labeled.loc[:9, TARGET] = "cured"  # first in order, so that the class indices shift
    write_run(layout, labeled, mixed_table(100, seed=1))
    promote(params(), layout)
    retrain(layout)
    decision = promote(params(), layout)
    assert decision.outcome == "promoted"
    test = pd.read_parquet(layout.prepared("test"))
    known = semigen.load(Registry(layout.registry).version("v0001").classifier)
    accuracy = (known.predict(test) == test[TARGET]).mean()
    assert decision.comparison.champion["accuracy"].value == pytest.approx(accuracy)


def test_models_of_different_tasks_are_not_compared(layout):
    promote(params(DataParams()), layout)
    train_constant(layout)
    decision = promote(params(), layout)
    assert decision.outcome == "promoted" and decision.comparison is None
    assert "v0001 predicts something else ('label' of digits" in decision.reason


def test_failed_gate_keeps_the_first_model(layout):
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
    """Return labeled and test rows whose labels are random in the ward "west"."""
    tables = []
    for n, seed in ((80, 0), (300, 1)):
        table = mixed_table(n, seed=seed)
        is_west = table["ward"] == "west"
        flips = np.random.default_rng(100 + seed).random(n) < 0.5
        others = table[TARGET].map({"ill": "well", "well": "ill"})
        table[TARGET] = table[TARGET].where(~(is_west & flips), others)
        tables.append(table)
    return tables[0], tables[1]


def test_gap_between_groups_fails_the_fairness_gate(layout):
    write_run(layout, *unfair_rows())
    fair = promote(params(fairness_columns=("smoker",)), layout)
    assert fair.outcome == "promoted"
    write_run(layout, *unfair_rows(), estimator=LogisticRegression(C=0.9))
    decision = promote(params(fairness_columns=("smoker", "ward")), layout)
    assert decision.outcome == "kept"
    assert decision.reason.startswith("fairness: accuracy differs by 0.")
    assert decision.reason.endswith("and west; limit 0.1")


def test_groups_may_be_defined_by_an_unused_column(layout):
    labeled, test = unfair_rows()
    (layout.root / "unlabeled.csv").write_text("weight\n1\n")
    labeled.assign(sex="f").to_csv(layout.root / "labeled.csv", index=False)
    sex = np.where(test["ward"] == "west", "f", "m")
    test.assign(sex=sex).to_csv(layout.root / "test.csv", index=False)
    write_run(layout, labeled, test)
    gates = promote(params(fairness_columns=("sex",)), layout).gates
    assert "'sex' values m and f" in gates[1].reason and not gates[1].passed
    with pytest.raises(UserError, match="the test table has no column 'age'"):
        promote(params(fairness_columns=("age",)), layout, force=True)
    test[:-1].to_csv(layout.root / "test.csv", index=False)
    with pytest.raises(UserError, match="has 299 rows, the prepared one 300"):
        promote(params(fairness_columns=("sex",)), layout, force=True)
