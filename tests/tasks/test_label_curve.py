"""Fits are imitated where their bookkeeping is tested; one test trains."""

import json

import numpy as np
import pandas as pd
import pytest

import tasks.label_curve as module
from semigen.artifacts import Layout
from semigen.errors import UserError
from semigen.params.config import Params, PretrainParams, TrainParams
from semigen.params.generators import VAEParams
from semigen.tables.schema import TableSchema
from tasks.label_curve import (
    Fit,
    as_features,
    check_budgets,
    fit_once,
    label_curve,
    read_problem,
)
from tests.semigen.example_tables import TARGET, mixed_table

PARAMS = Params(
    pretrain=PretrainParams(vae=VAEParams(latent_dim=3, hidden_dims=(32,), epochs=5)),
    train=TrainParams(folds=2, repeats=1, epochs=5),
)


@pytest.fixture
def layout(tmp_path):
    """A project with prepared tables: 24 labeled, 100 unlabeled and 60 test rows."""
    layout = Layout(tmp_path)
    parts = {"labeled": (24, 0), "unlabeled": (100, 1), "test": (60, 2)}
    tables = {part: with_code(mixed_table(n, seed, 0.05)) for part, (n, seed) in parts.items()}
    schema = TableSchema.infer(tables["labeled"], tables["unlabeled"], TARGET, {"code": "category"})
    layout.schema.parent.mkdir()
    schema.save(layout.schema)
    layout.prepared("test").parent.mkdir()
    for part, table in tables.items():
        typed = schema.coerce(table)
        if part != "unlabeled":
            typed[TARGET] = table[TARGET]
        typed.to_parquet(layout.prepared(part))
    return layout


def with_code(table):
    """Add categories that are written as numbers, and a feature of a treacherous name."""
    return table.assign(code=(np.arange(len(table)) % 3 + 100).astype(str), label=table["visits"])


@pytest.fixture
def fits(monkeypatch):
    """Imitate fits that are the better the more labels they have; list those that were made."""
    made = []

    def fit(problem, n_labeled, draw, params):
        made.append((n_labeled, draw))
        rng = np.random.default_rng(n_labeled + 100 * draw)
        shares = np.array([[n_labeled / 30], [n_labeled / 40]])
        return Fit(n_labeled, draw, 1.0, rng.random((2, len(problem.truth))) < shares)

    monkeypatch.setattr(module, "fit_once", fit)
    return made


def test_every_number_of_labels_is_tried_in_every_draw(layout, fits, capsys):
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
    assert "24 more labels would be worth +" in found["sentence"]


def test_finished_fits_are_not_made_again(layout, fits):
    first = label_curve(PARAMS, layout, budgets=[12, 24], draws=1)
    assert label_curve(PARAMS, layout, budgets=[24, 12], draws=1) == first
    assert fits == [(12, 0), (24, 0)]
    label_curve(PARAMS, layout, budgets=[12, 18], draws=2)
    assert fits[2:] == [(18, 0), (12, 1), (18, 1)]


def test_a_fit_that_a_kill_cut_short_is_made_again(layout, fits):
    label_curve(PARAMS, layout, budgets=[12, 24], draws=1)
    path = layout.label_curve_fits
    path.write_text(path.read_text()[:-20])
    label_curve(PARAMS, layout, budgets=[12, 24], draws=1)
    assert fits == [(12, 0), (24, 0), (24, 0)]
    label_curve(PARAMS, layout, budgets=[12, 24], draws=1)
    assert len(fits) == 3


def test_other_tables_and_parameters_make_fits_anew_and_the_machine_does_not(layout, fits):
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


def test_one_number_of_labels_has_no_forecast(layout, fits):
    found = label_curve(PARAMS, layout, budgets=[24], draws=1)
    assert found["forecast"] is None
    assert found["sentence"].endswith("% accuracy with 24 labels")


def test_mistakes_name_what_is_allowed(layout, fits):
    problem = read_problem(layout)
    for n_labeled in (3, 25):
        with pytest.raises(UserError, match=rf"budgets: {n_labeled} is not between 4 .* and 24"):
            check_budgets([12, n_labeled], problem.y)
    with pytest.raises(UserError, match="draws: must be at least 1, not 0"):
        label_curve(PARAMS, layout, draws=0)
    layout.prepared("test").unlink()
    with pytest.raises(UserError, match="run the pipeline first"):
        read_problem(layout)


def test_columns_keep_their_kinds_when_they_are_inferred_anew(layout):
    schema = TableSchema.load(layout.schema)
    table = pd.read_parquet(layout.prepared("unlabeled"))
    features = as_features(table, schema)
    again = TableSchema.infer(features.assign(y="a"), features, "y")
    assert {c.name.removeprefix("column "): c.kind for c in again.columns} == {
        c.name: c.kind for c in schema.features
    }
    assert "label" not in features
    assert (features.isna().sum().to_numpy() == table.isna().sum().to_numpy()).all()


@pytest.mark.slow
def test_hidden_labels_and_test_labels_teach_nothing(layout, monkeypatch):
    """With both swapped, the answers are the same: right where they were wrong."""
    problem = read_problem(layout)
    order = module.label_order(problem.y, seed=0)
    monkeypatch.setattr(module, "label_order", lambda _y, _seed: order)
    fit = fit_once(problem, 12, 0, PARAMS)
    assert fit.hits.shape == (2, 60)
    assert fit.hits.mean() > 0.7
    problem.y[order[12:]] = 1 - problem.y[order[12:]]
    problem.truth[:] = 1 - problem.truth
    assert (fit_once(problem, 12, 0, PARAMS).hits == ~fit.hits).all()
