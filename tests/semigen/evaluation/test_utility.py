"""Oracles: the real rows, scikit-learn's metrics, swapped labels."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from semigen.evaluation.utility import UTILITY_METRICS, utility
from semigen.tables.schema import TableSchema
from tests.semigen.example_tables import TARGET, mixed_table, schema_of


def three_classes(n_rows, seed, classes=("a", "b", "c")):
    rng = np.random.default_rng(seed)
    y = rng.integers(len(classes), size=n_rows)
    return pd.DataFrame(
        {
            "x": rng.normal(2.0 * y, 1.0),
            "color": np.array(["red", "green", "blue"])[(y + (rng.random(n_rows) < 0.2)) % 3],
            TARGET: np.array(classes)[y],
        }
    )


def test_copy_of_the_real_rows_has_no_gap():
    real, test = mixed_table(300, seed=0, missing=0.1), mixed_table(200, seed=1, missing=0.1)
    found = utility(real, real, test, schema_of(real), n_bootstrap=200)
    assert found.synthetic == found.real
    assert all(gap.value == gap.low == gap.high == 0 for gap in found.gap.values())
    assert found.missing_classes == ()
    assert tuple(found.real) == UTILITY_METRICS


def test_metrics_match_scikit_learn():
    real, test = three_classes(400, 0), three_classes(300, 1)
    schema = schema_of(real)
    found = utility(three_classes(200, 2), real, test, schema, seed=3, n_bootstrap=200)

    def features(table):
        return table.drop(columns=TARGET).astype({"color": "category"})

    learner = HistGradientBoostingClassifier(random_state=3)
    p = learner.fit(features(real), real[TARGET]).predict_proba(features(test))
    predicted = learner.classes_[p.argmax(1)]
    expected = {
        "accuracy": accuracy_score(test[TARGET], predicted),
        "macro_f1": f1_score(test[TARGET], predicted, average="macro"),
        "roc_auc": roc_auc_score(test[TARGET], p, multi_class="ovr"),
    }
    # The codes of categories differ, but with few categories the splits do not.
    assert {m: found.real[m].value for m in UTILITY_METRICS} == pytest.approx(expected, abs=0.005)


def test_swapped_labels_score_below_chance():
    real, test = mixed_table(300, seed=2), mixed_table(200, seed=3)
    swapped = real.assign(**{TARGET: real[TARGET].map({"ill": "well", "well": "ill"})})
    found = utility(swapped, real, test, schema_of(real), n_bootstrap=200)
    assert found.synthetic["roc_auc"].value == pytest.approx(
        1 - found.real["roc_auc"].value, abs=0.02
    )
    assert found.gap["accuracy"].high < 0


def test_test_rows_of_a_missing_class_are_errors():
    real, test = three_classes(400, 4), three_classes(300, 5)
    found = utility(real[real[TARGET] != "b"], real, test, schema_of(real), n_bootstrap=200)
    assert found.missing_classes == ("b",)
    assert found.synthetic["accuracy"].value <= (test[TARGET] != "b").mean()
    assert found.synthetic["macro_f1"].value < 2 / 3


def test_single_synthetic_class_is_always_predicted():
    real, test = three_classes(400, 6), three_classes(300, 7)
    found = utility(real[real[TARGET] == "c"], real, test, schema_of(real), n_bootstrap=200)
    assert found.missing_classes == ("a", "b")
    assert found.synthetic["accuracy"].value == (test[TARGET] == "c").mean()
    assert found.synthetic["roc_auc"].value == 0.5


def test_class_with_one_row_in_a_large_table():
    """Above 10,000 rows scikit-learn holds out a stratified part, which needs two rows."""
    real = pd.concat([three_classes(10_100, 8, classes=("a", "b")), three_classes(300, 9)])
    is_c = (real[TARGET] == "c").to_numpy()
    synthetic = real[~is_c | (np.cumsum(is_c) == 1)]
    found = utility(synthetic, real, three_classes(100, 10), schema_of(real), n_bootstrap=100)
    assert found.missing_classes == ()


def test_more_categories_than_the_learner_accepts():
    rng = np.random.default_rng(11)
    code = rng.integers(400, size=4000)
    real = pd.DataFrame({"code": code.astype(str), TARGET: np.where(code % 2, "odd", "even")})
    schema = TableSchema.infer(real, real[["code"]], TARGET, {"code": "category"})
    assert len(schema.columns[0].categories) > 255
    found = utility(real, real, real.head(500), schema, n_bootstrap=100)
    assert 0.75 < found.real["accuracy"].value < 0.9  # 254 of 400 categories are known


def test_rejects_tables_without_rows_or_labels():
    real = mixed_table(50)
    schema = schema_of(real)
    with pytest.raises(ValueError, match="synthetic rows: expected labeled rows"):
        utility(real.head(0), real, real, schema)
    with pytest.raises(ValueError, match="test rows: expected labeled rows, 50 of 50"):
        utility(real, real, real.assign(**{TARGET: None}), schema)
