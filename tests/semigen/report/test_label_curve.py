from __future__ import annotations

import numpy as np
import pytest

from semigen.evaluation.label_curve import Fit, summarize
from semigen.report.label_curve import curve_json, curve_table, curve_text


def curve(*budgets: int, n_test: int = 400):
    rng = np.random.default_rng(0)
    fits = [Fit(n, d, 1.0, rng.random((2, n_test)) < 1 - 1 / n) for n in budgets for d in range(2)]
    return summarize(fits, n_labels=40)


def test_text_has_the_accuracy_of_all_labels_and_the_forecast():
    found = curve(10, 20, 40)
    text = curve_text(found)
    accuracy = found.points[2].accuracy.value
    assert text.startswith(f"{100 * accuracy:.1f} % accuracy with 40 labels; 40 more labels would")


@pytest.mark.parametrize(
    ("budgets", "n_test", "says"),
    [
        ((40,), 400, "3 numbers of labels (here 1)"),
        ((20, 40), 400, "3 numbers of labels (here 2)"),
        ((10, 20, 40), 20, "30 test rows (here 20)"),
        ((5, 10, 20), 400, "30 labels (here 20)"),
        ((10, 20), 20, "3 numbers of labels (here 2), 30 labels (here 20), 30 test rows (here 20)"),
    ],
)
def test_text_says_why_the_curve_cannot_be_extrapolated(budgets, n_test, says):
    found = curve(*budgets, n_test=n_test)
    assert found.forecast is None
    text = curve_text(found)
    assert f"with {budgets[-1]} labels; the curve cannot be extrapolated to more labels" in text
    assert text.endswith(f"this needs at least {says}")


def test_json_and_table_hold_the_same_figures():
    found = curve(10, 20, 40)
    content = curve_json(found, n_labeled=40, n_unlabeled=7, n_test=400)
    assert list(content) == [
        "n_labeled", "n_unlabeled", "n_test", "points", "gains", "forecast", "sentence",
    ]  # fmt: skip
    table = curve_table(found)
    assert list(table) == ["learner", "n_labeled", "n_draws", "accuracy", "low", "high"]
    assert table["accuracy"].tolist() == [p["accuracy"]["value"] for p in content["points"]]
    assert set(content["gains"][0]) == {"n_labeled", "gain"}
    assert set(content["forecast"]) == {"n_more", "gain"}
    assert curve_json(curve(10), 40, 7, 400)["forecast"] is None
