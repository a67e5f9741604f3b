from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import semigen
from semigen import SemiSupervisedClassifier
from semigen.artifacts import read_json, write_json
from semigen.errors import UserError
from semigen.params.config import PretrainParams, SearchParams, TrainParams
from semigen.params.generators import VAEParams
from semigen.storage.manifest import write_manifest
from semigen.tables.schema import TableSchema
from tests.semigen.classifiers.quick_estimator import quick_estimator
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


@pytest.fixture(scope="module")
def quick():
    table, y = few_labels(120)
    return quick_estimator().fit(table, y), table, y


def test_load_gives_back_the_estimator(quick, tmp_path):
    model, table, y = quick
    model.save(tmp_path / "model")
    loaded = semigen.load(tmp_path / "model")
    assert type(loaded) is SemiSupervisedClassifier
    assert loaded.get_params() == model.get_params()
    assert list(loaded.feature_names_in_) == list(table.columns)
    assert loaded.score(table, y) == model.score(table, y)
    assert loaded.selection_.reason == model.selection_.reason
    np.testing.assert_array_equal(loaded.classes_, model.classes_)
    np.testing.assert_array_equal(loaded.predict_proba(table), model.predict_proba(table))
    np.testing.assert_array_equal(loaded.novelty(table), model.novelty(table))
    pd.testing.assert_frame_equal(loaded.evidence(), model.evidence())
    pd.testing.assert_frame_equal(loaded.leaderboard(), model.leaderboard())
    loaded.save(tmp_path / "again")
    assert semigen.load(tmp_path / "again").get_params() == model.get_params()


def test_pickled_estimator_predicts_the_same(quick):
    """Joblib sends estimators to its worker processes by pickle; semigen itself loads none."""
    model, table, _ = quick
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(table), model.predict_proba(table))
    assert again.selection_.reason == model.selection_.reason


def test_score_ignores_unlabeled_rows(quick):
    model, table, y = quick
    assert model.score(table, y) == model.score(table[:24], y[:24]) > 0.8
    with pytest.raises(UserError, match="no row has a label"):
        model.score(table[24:], y[24:])


def test_leaderboard_ranks_learners_and_committees(quick):
    board = quick[0].leaderboard()
    assert board["log_loss"].is_monotonic_increasing
    assert {"selected", "labels_only"} <= set(board.loc[board["kind"] == "committee", "name"])
    assert (board["accuracy_low"] <= board["accuracy"]).all()
    assert board["weight"].sum() == pytest.approx(1.0)


def test_permutation_importance_finds_the_informative_column(quick):
    model, table, y = quick
    found = model.feature_importances(table, y)
    assert set(found["feature"]) == set(table.columns)
    assert found["importance"].is_monotonic_decreasing and found["importance"][0] > 0.05
    assert found["feature"][0] == "weight"


def test_array_after_a_data_frame_is_taken_by_position(quick):
    model, table, _ = quick
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        probabilities = model.predict_proba(table.to_numpy())
    np.testing.assert_array_equal(probabilities, model.predict_proba(table))
    with pytest.raises(ValueError, match="expecting 4 features"):
        model.predict(table.to_numpy()[:, :3])


def test_data_frame_after_an_array_is_taken_by_position():
    table, y = few_labels(120)
    numbers = table.select_dtypes("number")
    model = quick_estimator().fit(numbers.to_numpy(), y)
    assert not hasattr(model, "feature_names_in_")
    with pytest.warns(UserWarning, match="was fitted without feature names"):
        probabilities = model.predict_proba(numbers)
    np.testing.assert_array_equal(probabilities, model.predict_proba(numbers.to_numpy()))


def test_other_columns_are_ignored_and_other_orders_rejected(quick):
    model, table, _ = quick
    more = table.assign(note="x")[["note", *table.columns]]
    np.testing.assert_array_equal(model.predict_proba(more), model.predict_proba(table))
    with pytest.raises(ValueError, match="must be in the same order"):
        model.predict(table[table.columns[::-1]])
    with pytest.raises(ValueError, match="yet now missing"):
        model.predict(table.drop(columns="weight"))


def test_column_names_that_are_numbers_are_accepted():
    table, y = few_labels(120)
    table.columns = range(table.shape[1])
    assert quick_estimator().fit(table, y).predict(table).shape == (120,)


def test_random_state_may_be_none_or_a_generator(quick):
    _, table, y = quick
    one, two = (
        quick_estimator(random_state=np.random.RandomState(3)).fit(table, y) for _ in range(2)
    )
    np.testing.assert_array_equal(one.predict_proba(table), two.predict_proba(table))
    np.random.seed(3)  # noqa: NPY002
    drawn = quick_estimator(random_state=None).fit(table, y)
    np.testing.assert_array_equal(drawn.predict_proba(table), one.predict_proba(table))


def test_predicts_logarithms_of_the_probabilities(quick):
    model, table, _ = quick
    np.testing.assert_allclose(np.exp(model.predict_log_proba(table)), model.predict_proba(table))


def test_notebook_shows_parameters_and_leaderboard(quick):
    html = quick[0]._repr_html_()
    assert "time_budget_s" in html and "logistic_regression" in html and "log_loss" in html
    assert "log_loss" not in quick_estimator()._repr_html_()


def test_verbose_shows_progress_bars(quick, capsys):
    _, table, y = quick
    quick_estimator(verbose=True).fit(table, y)
    shown = capsys.readouterr()
    assert "pretrain" in shown.err and "compare" in shown.err and "learner" in shown.err
    assert "semigen: " in shown.out


@pytest.mark.parametrize(
    "change", [{"classes": 3}, {"selection": {}}, {"train": {"epochs": 0}}, {"format": 9}]
)
def test_damaged_description_ends_in_an_error_that_names_the_file(quick, tmp_path, change):
    quick[0].save(tmp_path / "model")
    path = tmp_path / "model" / "estimator.json"
    write_json(path, read_json(path) | change)
    with pytest.raises(UserError, match=r"estimator\.json"):
        semigen.load(tmp_path / "model")  # the manifest shows the change
    write_manifest(tmp_path / "model")
    with pytest.raises(UserError, match=r"estimator\.json"):
        semigen.load(tmp_path / "model")
