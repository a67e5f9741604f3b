from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import semigen
from semigen import SemiSupervisedClassifier
from semigen.errors import UserError
from semigen.params.config import PretrainParams, TrainParams
from semigen.params.generators import VAEParams
from tests.semigen.example_tables import mixed_table

QUICK = {
    "pretrain": PretrainParams(vae=VAEParams(latent_dim=3, hidden_dims=(32,), epochs=15)),
    "train": TrainParams(folds=3, repeats=1, epochs=10),
}


def few_labels(n_rows: int = 250, n_labeled: int = 24) -> tuple[pd.DataFrame, pd.Series]:
    table = mixed_table(n_rows, missing=0.05)
    y = table.pop("outcome").astype(object)
    y[n_labeled:] = -1
    return table, y


@pytest.fixture(scope="module")
def fitted():
    return SemiSupervisedClassifier(**QUICK).fit(*few_labels())


def test_learns_a_mixed_table_with_gaps(fitted):
    test = mixed_table(300, seed=1, missing=0.05)
    probabilities = fitted.predict_proba(test)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert list(fitted.classes_) == ["ill", "well"]
    assert fitted.score(test.drop(columns="outcome"), test["outcome"]) > 0.85


def test_every_member_shows_weight_and_evidence(fitted):
    evidence = fitted.evidence()
    assert len(evidence) >= 19 and evidence["weight"].sum() == pytest.approx(1.0)
    assert evidence["log_loss"].is_monotonic_increasing
    assert {"labels only", "unlabeled", "unlabeled, synthetic"} == set(evidence["uses"])
    assert set(fitted.fit_seconds_) == {"pretrain", "compare", "fit"}


def test_same_seed_same_classifier(fitted):
    again = SemiSupervisedClassifier(**QUICK).fit(*few_labels())
    table = mixed_table(50, seed=2)
    np.testing.assert_array_equal(again.predict_proba(table), fitted.predict_proba(table))


def test_saved_classifier_answers_alike(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    table = mixed_table(50, seed=2)
    loaded = semigen.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(table), fitted.predict(table))


def test_labels_of_any_type_come_back(fitted):
    table, y = few_labels(120)
    numbers = y.map({"ill": 7, "well": 12, -1: np.nan})
    model = SemiSupervisedClassifier(**QUICK).fit(table.select_dtypes("number").to_numpy(), numbers)
    assert set(model.classes_) == {7, 12}
    rows = mixed_table(40, seed=3)[table.columns].select_dtypes("number").to_numpy()
    assert set(model.predict(rows)) <= {7, 12}


def test_budget_bounds_pretraining_by_steps():
    short, long = (SemiSupervisedClassifier(time_budget_s=s).pretrain_params() for s in (10, 1e6))
    assert short.vae.max_steps == 480
    assert long.vae.max_steps == VAEParams().max_steps


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x, y[:-1]), "250 rows, but 249 labels"),
        (lambda x, y: (x, y.replace("ill", -1)), "two classes"),
        (lambda x, y: (x.assign(label=1), y), "must not hold the labels"),
        (lambda x, y: (x.to_numpy()[0], y), "array of rows and columns"),
    ],
)
def test_what_cannot_be_learned_from_is_named(change, message):
    with pytest.raises(UserError, match=message):
        SemiSupervisedClassifier().fit(*change(*few_labels()))
