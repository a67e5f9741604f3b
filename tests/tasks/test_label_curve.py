"""Bookkeeping of the fits; the fits themselves are tested with ``semigen.classifiers``."""

import json

import numpy as np
import pandas as pd
import pytest

import tasks.label_curve as module
from semigen.artifacts import Layout
from semigen.errors import UserError
from semigen.params.config import Params
from semigen.tables.schema import TableSchema
from tasks.label_curve import Fit, label_curve, read_problem
from tests.semigen.example_tables import TARGET, mixed_table

PARAMS = Params()


@pytest.fixture
def layout(tmp_path):
    """A project with prepared tables: 24 labeled, 100 unlabeled and 60 test rows."""
    layout = Layout(tmp_path)
    parts = {"labeled": (24, 0), "unlabeled": (100, 1), "test": (60, 2)}
    tables = {part: mixed_table(n, seed, 0.05) for part, (n, seed) in parts.items()}
    schema = TableSchema.infer(tables["labeled"], tables["unlabeled"], TARGET)
    layout.schema.parent.mkdir()
    schema.save(layout.schema)
    layout.prepared("test").parent.mkdir()
    for part, table in tables.items():
        typed = schema.coerce(table)
        if part != "unlabeled":
            typed[TARGET] = table[TARGET]
        typed.to_parquet(layout.prepared(part))
    return layout


@pytest.fixture
def fits(monkeypatch):
    """Replace the training by random hits that improve with the labels; return the fits made."""
    made = []

    def fit(tables, n_labeled, draw, params):
        made.append((n_labeled, draw))
        rng = np.random.default_rng(n_labeled + 100 * draw)
        accuracies = np.array([[n_labeled / 30], [n_labeled / 40]])
        return Fit(n_labeled, draw, 1.0, rng.random((2, len(tables.y_test))) < accuracies)

    monkeypatch.setattr(module, "fit_once", fit)
    return made


def test_fits_every_number_of_labels_in_every_draw(layout, fits, capsys):
    seen = []
    found = label_curve(PARAMS, layout, draws=2, on_fit=lambda *count: seen.append(count))
    assert fits == [(n, draw) for draw in (0, 1) for n in (6, 12, 18, 24)]
    assert seen == [(i, 8) for i in range(9)]
    assert [(p["learner"], p["n_labeled"]) for p in found["points"]] == [
        (learner, n) for learner in ("semigen", "labels only") for n in (6, 12, 18, 24)
    ]
    assert all(p["n_draws"] == 2 for p in found["points"])
    for point in found["points"]:
        figures = point["accuracy"]
        assert figures["low"] <= figures["value"] <= figures["high"]
    assert json.loads(layout.label_curve("json").read_text()) == found
    table = pd.read_csv(layout.label_curve("csv"))
    assert list(table) == ["learner", "n_labeled", "n_draws", "accuracy", "low", "high"]
    assert len(table) == 8
    assert layout.label_curve("png").read_bytes().startswith(b"\x89PNG")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8
    assert lines[0].startswith("label curve, 1 of 8: 6 labels, draw 1: ")
    assert found["sentence"].endswith("this needs at least 30 labels (here 24)")


def test_finished_fits_are_reused(layout, fits):
    first = label_curve(PARAMS, layout, budgets=[12, 24], draws=1)
    assert label_curve(PARAMS, layout, budgets=[24, 12], draws=1) == first
    assert fits == [(12, 0), (24, 0)]
    label_curve(PARAMS, layout, budgets=[12, 18], draws=2)
    assert fits[2:] == [(18, 0), (12, 1), (18, 1)]


def test_truncated_fit_is_repeated(layout, fits):
    label_curve(PARAMS, layout, budgets=[12, 24], draws=1)
    path = layout.label_curve_fits
    path.write_text(path.read_text()[:-20])
    label_curve(PARAMS, layout, budgets=[12, 24], draws=1)
    assert fits == [(12, 0), (24, 0), (24, 0)]
    label_curve(PARAMS, layout, budgets=[12, 24], draws=1)
    assert len(fits) == 3


def test_fits_are_repeated_for_other_tables_and_parameters_but_not_for_another_machine(
    layout, fits
):
    label_curve(PARAMS, layout, budgets=[24], draws=1)
    compute = PARAMS.compute.model_copy(update={"threads": 1})
    label_curve(PARAMS.model_copy(update={"compute": compute}), layout, budgets=[24], draws=1)
    assert len(fits) == 1
    label_curve(PARAMS.model_copy(update={"seed": 1}), layout, budgets=[24], draws=1)
    assert len(fits) == 2
    table = pd.read_parquet(layout.prepared("unlabeled"))
    table.head(50).to_parquet(layout.prepared("unlabeled"))
    label_curve(PARAMS, layout, budgets=[24], draws=1)
    assert len(fits) == 3


def test_single_number_of_labels_has_no_forecast(layout, fits):
    found = label_curve(PARAMS, layout, budgets=[24], draws=1)
    assert found["forecast"] is None
    assert "% accuracy with 24 labels; the curve cannot be extrapolated" in found["sentence"]


def test_rejects_numbers_out_of_range_and_missing_tables(layout, fits):
    with pytest.raises(UserError, match="budgets: 25 is not between 4"):
        label_curve(PARAMS, layout, budgets=[12, 25])
    with pytest.raises(UserError, match="draws: must be at least 1, not 0"):
        label_curve(PARAMS, layout, draws=0)
    assert fits == []
    layout.prepared("test").unlink()
    with pytest.raises(UserError, match="run the pipeline first: semigen run"):
        read_problem(layout)
