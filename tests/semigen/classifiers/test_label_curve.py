from __future__ import annotations

import numpy as np
import pytest

import semigen.classifiers.label_curve as module
from semigen.classifiers.label_curve import LabelCurveTables, fit_once
from semigen.params.config import Params, PretrainParams, TrainParams
from semigen.params.generators import VAEParams
from semigen.tables.schema import TableSchema
from tests.semigen.example_tables import TARGET, mixed_table

PARAMS = Params(
    pretrain=PretrainParams(vae=VAEParams(latent_dim=3, hidden_dims=(32,), epochs=5)),
    train=TrainParams(folds=2, repeats=1, epochs=5),
)


def with_code(table):
    """Add a category written as numbers, and a feature called ``label``."""
    return table.assign(code=(np.arange(len(table)) % 3 + 100).astype(str), label=table["visits"])


@pytest.fixture
def tables():
    """24 labeled, 100 unlabeled and 60 test rows."""
    parts = ((24, 0), (100, 1), (60, 2))
    labeled, unlabeled, test = (with_code(mixed_table(n, seed, 0.05)) for n, seed in parts)
    schema = TableSchema.infer(labeled, unlabeled, TARGET, {"code": "category"})
    return LabelCurveTables.from_prepared(schema, labeled, unlabeled, test)


def test_estimator_gets_the_prepared_schema(tables, monkeypatch):
    """The kinds of the pipeline hold: 100, 101 and 102 stay categories."""
    fitted = []

    class Recorded(module.SemiSupervisedClassifier):
        def fit(self, X, y):
            fitted.append(self)
            return super().fit(X, y)

    monkeypatch.setattr(module, "SemiSupervisedClassifier", Recorded)
    fit = fit_once(tables, 12, 0, PARAMS)
    assert fit.hits.shape == (2, 60) and fit.hits.mean() > 0.7
    schema = fitted[0].classifier_.schema
    assert schema == tables.schema
    kinds = {span.column: span.kind for span in fitted[0].classifier_.encoder.spans_}
    assert kinds["code"] == "category" and kinds["label"] == "numeric"


@pytest.mark.slow
def test_masked_labels_and_test_labels_do_not_influence_predictions(tables, monkeypatch):
    """With both swapped, the same predictions are right where they were wrong."""
    order = module.label_order(tables.y, seed=0)
    monkeypatch.setattr(module, "label_order", lambda _y, _seed: order)
    fit = fit_once(tables, 12, 0, PARAMS)
    tables.y[order[12:]] = 1 - tables.y[order[12:]]
    tables.y_test[:] = 1 - tables.y_test
    assert (fit_once(tables, 12, 0, PARAMS).hits == ~fit.hits).all()
