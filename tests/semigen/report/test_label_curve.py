from __future__ import annotations

import numpy as np

from semigen.evaluation.label_curve import Fit, summarize
from semigen.report.label_curve import curve_json, curve_table, curve_text


def curve(*budgets: int):
    rng = np.random.default_rng(0)
    fits = [Fit(n, d, 1.0, rng.random((2, 400)) < 1 - 1 / n) for n in budgets for d in range(2)]
    return summarize(fits, n_labels=40)


def test_text_has_the_accuracy_of_all_labels_and_the_forecast():
    found = curve(10, 20, 40)
    text = curve_text(found)
    accuracy = found.points[2].accuracy.value
    assert text.startswith(f"{100 * accuracy:.1f} % accuracy with 40 labels; 40 more labels would")
    assert curve_text(curve(40)).endswith("% accuracy with 40 labels")


def test_json_and_table_hold_the_same_figures():
    found = curve(10, 20)
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
