from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import semigen
from semigen import SemiSupervisedClassifier
from semigen.errors import UserError
from semigen.params.config import PretrainParams, SearchParams, TrainParams
from semigen.params.generators import VAEParams
from semigen.tables.schema import TableSchema
from tests.semigen.example_tables import TARGET, mixed_table

QUICK = {
    "pretrain": PretrainParams(vae=VAEParams(latent_dim=3, hidden_dims=(32,), epochs=15)),
    "train": TrainParams(folds=3, repeats=1, epochs=10),
}


def few_labels(n_rows: int = 250, n_labeled: int = 24) -> tuple[pd.DataFrame, pd.Series]:
    table = mixed_table(n_rows, missing=0.05)
    y = table.pop(TARGET).astype(object)
    y[n_labeled:] = -1
    return table, y


@pytest.fixture(scope="module")
def fitted():
    return SemiSupervisedClassifier(**QUICK).fit(*few_labels())


def test_learns_a_mixed_table_with_missing_cells(fitted):
    test = mixed_table(300, seed=1, missing=0.05)
    probabilities = fitted.predict_proba(test)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert list(fitted.classes_) == ["ill", "well"]
    assert fitted.score(test.drop(columns=TARGET), test[TARGET]) > 0.85


def test_evidence_has_weight_and_loss_of_every_learner(fitted):
    evidence = fitted.evidence()
    assert len(evidence) >= 19 and evidence["weight"].sum() == pytest.approx(1.0)
    assert evidence["log_loss"].is_monotonic_increasing
    assert {"labels only", "unlabeled", "unlabeled, synthetic"} == set(evidence["uses"])
    assert set(fitted.fit_seconds_) == {"pretrain", "compare", "fit"}
    assert fitted.trials_.empty


def test_equal_seeds_give_equal_classifiers(fitted):
    again = clone(fitted).fit(*few_labels())
    table = mixed_table(50, seed=2)
    np.testing.assert_array_equal(again.predict_proba(table), fitted.predict_proba(table))


def test_saved_classifier_predicts_the_same(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    table = mixed_table(50, seed=2)
    loaded = semigen.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(table), fitted.predict(table))


def test_predicts_labels_of_their_own_type():
    table, y = few_labels(120)
    numbers = y.map({"ill": 7, "well": 12, -1: np.nan})
    model = SemiSupervisedClassifier(**QUICK).fit(table.select_dtypes("number").to_numpy(), numbers)
    assert set(model.classes_) == {7, 12}
    rows = mixed_table(40, seed=3)[table.columns].select_dtypes("number").to_numpy()
    assert set(model.predict(rows)) <= {7, 12}


def test_feature_may_be_called_label():
    table, y = few_labels(120)
    renamed = table.rename(columns={"weight": "label", "visits": "label_"})
    one, two = (SemiSupervisedClassifier(**QUICK).fit(x, y) for x in (table, renamed))
    np.testing.assert_array_equal(one.predict_proba(table), two.predict_proba(renamed))
    kinds = {c.name: c.kind for c in two.classifier_.schema.columns}
    assert kinds["label"] == kinds["label_"] == "numeric"


def test_inferred_schema_passed_explicitly_gives_the_same_classifier(fitted):
    schema = fitted.classifier_.schema
    model = clone(SemiSupervisedClassifier(**QUICK, schema=schema))
    assert model.get_params()["schema"] == schema
    model.fit(*few_labels())
    table = mixed_table(50, seed=2)
    np.testing.assert_array_equal(model.predict_proba(table), fitted.predict_proba(table))


def test_schema_decides_kinds_and_classes():
    table, y = few_labels(120)
    table["code"] = np.arange(120) % 3 + 100.0
    labeled = table[:24].assign(**{TARGET: y[:24]})
    schema = TableSchema.infer(labeled, table, TARGET, {"code": "category", "ward": "ignore"})
    schema = schema.model_copy(update={"classes": ("dead", "ill", "well")})
    model = SemiSupervisedClassifier(**QUICK, schema=schema).fit(table, y)
    spans = {span.column: span.kind for span in model.classifier_.encoder.spans_}
    assert spans["code"] == "category" and "ward" not in spans
    assert list(model.classes_) == ["dead", "ill", "well"]
    probabilities = model.predict_proba(table)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert (probabilities[:, 0] < 0.01).all()
    with pytest.raises(UserError, match="label 'ill' is not one of"):
        model.set_params(schema=schema.model_copy(update={"classes": ("dead", "well")})).fit(
            table, y
        )


def test_search_adds_tuned_learners():
    train = QUICK["train"].model_copy(update={"search": SearchParams(trials=4)})
    model = SemiSupervisedClassifier(QUICK["pretrain"], train=train).fit(*few_labels(120))
    assert len(model.trials_) == 4
    tuned = [name for name in model.evidence()["learner"] if name.startswith("tuned_")]
    assert tuned


def test_time_budget_limits_the_steps_of_pretraining():
    short, long = (SemiSupervisedClassifier(time_budget_s=s).pretrain_params() for s in (10, 1e6))
    assert short.vae.max_steps == 480
    assert long.vae.max_steps == VAEParams().max_steps


def test_time_budget_is_divided_between_search_and_comparison():
    train = TrainParams(search=SearchParams(trials=5, time_budget_s=30))
    params = SemiSupervisedClassifier(train=train, time_budget_s=100)._train_params(elapsed=20)
    assert (params.search.time_budget_s, params.time_budget_s) == (30, 50)
    params = SemiSupervisedClassifier(train=train, time_budget_s=50)._train_params(elapsed=20)
    assert (params.search.time_budget_s, params.time_budget_s) == (15, 15)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x, y[:-1]), "250 rows, but 249 labels"),
        (lambda x, y: (x, y.replace("ill", -1)), "two classes"),
        (lambda x, _: (x[22:26], ["ill", "well", -1, -1]), "only one label"),
        (lambda x, y: (x.to_numpy()[0], y), "Expected 2D array, got 1D array"),
    ],
)
def test_rejects_invalid_rows_and_labels(change, message):
    with pytest.raises(ValueError, match=message):
        SemiSupervisedClassifier().fit(*change(*few_labels()))
