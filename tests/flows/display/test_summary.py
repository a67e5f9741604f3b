from __future__ import annotations

import io

import pandas as pd
import pytest
from rich.console import Console

from flows.display.summary import print_summary
from flows.environment import address_file
from semigen.artifacts import Layout, write_json

STAGES = {"evaluate": True}


def figure(value, low=None, high=None):
    return {"value": value, "low": low, "high": high}


def write_results(layout, n_test, accuracy):
    gain = {**figure(0.0, 0.0, 0.0), "p_value": 1}
    test = {"accuracy": accuracy, "balanced_accuracy": figure(0.5)}
    metrics = {
        "n_labeled": 50, "n_test": n_test, "selected": "mlp", "test": test,
        "labels_only": {"accuracy": accuracy}, "gain": {"accuracy": gain},
    }  # fmt: skip
    write_json(layout.metrics, metrics)
    selected = {"accuracy": figure(0.85, 0.75, 0.92)}
    write_json(layout.selection, {"committees": {"selected": selected}})
    actual = ["yes"] * 2 + ["no"] * (n_test - 2)
    layout.plot("confusion").parent.mkdir(parents=True, exist_ok=True)
    confusion = pd.DataFrame({"actual": actual, "predicted": "no"})
    confusion.to_csv(layout.plot("confusion"), index=False)


def printed(layout):
    console = Console(width=200, record=True, file=io.StringIO())
    print_summary(layout, STAGES, console)
    return " ".join(console.export_text().split())


@pytest.fixture
def layout(tmp_path):
    (tmp_path / "params.yaml").write_text("{}\n")
    return Layout(tmp_path)


def test_majority_class_and_balanced_accuracy_stand_beside_accuracy(layout):
    write_results(layout, 2000, figure(0.999, 0.996, 0.9999))
    text = printed(layout)
    assert "Accuracy 99.9% [99.6, 100.0] 2000 test rows" in text
    assert "Balanced 50.0% [\u2013] mean recall over the classes" in text
    assert "Majority 99.9% always the most frequent class" in text
    assert "Never predicted: yes (2 test rows)" in text
    assert "Cross-validated" not in text


def test_cross_validated_accuracy_stands_beside_few_test_rows(layout):
    write_results(layout, 12, figure(10 / 12, 0.516, 0.979))
    text = printed(layout)
    assert "Accuracy 83.3% [51.6, 97.9] 12 test rows" in text
    assert "Cross-validated 85.0% [75.0, 92.0] 50 labeled rows" in text


def test_hints_fit_the_tables_of_the_run(layout):
    write_results(layout, 2000, figure(0.999, 0.996, 0.9999))
    assert "predict --input data/samples/test.csv" in printed(layout)
    layout.params.write_text("data: {labeled: mine.csv, unlabeled: others.csv, target: x}\n")
    text = printed(layout)
    assert "predict --input NEW.csv --output predictions.csv" in text
    assert "samples" not in text and "train on your own tables" not in text


def test_hints_name_the_server_only_if_it_is_not_running(layout):
    write_results(layout, 2000, figure(0.999, 0.996, 0.9999))
    assert "semigen up see runs" in printed(layout)
    write_json(address_file(layout.root), {})
    assert "semigen up" not in printed(layout)


def test_results_that_another_run_is_replacing(layout):
    write_results(layout, 2000, figure(0.9, 0.88, 0.92))
    layout.plot("confusion").unlink()
    assert printed(layout).startswith("Another run is replacing the results")
    layout.metrics.unlink()
    assert printed(layout).startswith("Another run is replacing the results")
