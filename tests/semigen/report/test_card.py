"""Content of the model card, and escaping of data."""

import pandas as pd
import pytest

from semigen.evaluation.metrics import METRICS
from semigen.report.card import model_card
from semigen.tables.columns import ColumnSchema
from semigen.tables.schema import TableSchema


def make_card(**changes):
    estimate = {"value": 0.8, "low": 0.7, "high": 0.9}
    gain = {"value": 0.1, "low": 0.02, "high": 0.18, "p_value": 0.01}
    classes = ["no", "yes"]
    candidates = [
        {"name": "forest", "uses": [], "accuracy": estimate, "log_loss": estimate},
        {"name": "mlp", "uses": ["synthetic"], "accuracy": estimate, "log_loss": estimate},
    ]
    content = {
        "schema": TableSchema(
            columns=(
                ColumnSchema(name="age", kind="numeric"),
                ColumnSchema(name="id", kind="ignore", reason="looks like a row number"),
            ),
            target="churn",
            classes=tuple(classes),
        ),
        "validation": {
            "n_rows": {"labeled": 30, "unlabeled": 900, "test": 100},
            "files": {"labeled": "a.csv", "unlabeled": "b.csv", "test": "a.csv"},
            "ignored_columns": [{"column": "id", "reason": "looks like a row number"}],
            "results": [],
        },
        "selection": {
            "selected": "mlp", "labels_only": "forest", "n_splits": 6,
            "reason": "Lowest log loss.", "candidates": candidates,
            "committees": {"selected": {**candidates[0], "weights": {"mlp": 1.0}}},
        },
        "fidelity": {
            "n_real": 900, "n_synthetic": 300, "n_drawn": 400, "accepted_share": 0.75,
            "mean_distance": 0.1, "max_distance": 0.3, "correlation_difference": 0.05,
        },
        "metrics": {
            "n_labeled": 30, "n_unlabeled": 900, "n_test": 100, "selected": "mlp",
            "test": dict.fromkeys(METRICS, estimate),
            "labels_only": dict.fromkeys(METRICS, estimate),
            "gain": dict.fromkeys(METRICS, gain),
            "ablation": {"synthetic": {"test": {"accuracy": estimate}, "gain": {"accuracy": gain}}},
        },
        "confusion": pd.DataFrame([[60, 10], [12, 18]], index=classes, columns=classes),
        "confidence": 0.95,
    }  # fmt: skip
    return model_card(**{**content, **changes})


def test_states_what_was_measured():
    card = make_card()
    for expected in (
        "predicts column churn (2 classes) from 1 feature columns",
        'selected candidate is "mlp", trained on labeled and synthetic rows.',
        "| labeled | a.csv | 30 |",
        "Ignored columns: id (looks like a row number).",
        "| Accuracy | 80.0% [70.0, 90.0] | 80.0% [70.0, 90.0] | +10.0 points [+2.0, +18.0] |",
        "Unlabeled rows helped",
        "Always predicting the most frequent class would reach 70.0%",
        "Lowest log loss.",
        "| labels and synthetic rows | 80.0% [70.0, 90.0] | +10.0 points [+2.0, +18.0] | 0.01 |",
        "300 rows, 75% of the rows drawn",
        "The class with the lowest recall is yes: 60.0% of its 30 test rows",
    ):
        assert expected in card, expected


@pytest.mark.parametrize("word", ["Fairness", "Privacy", "Membership inference", "Intended use"])
def test_states_what_was_not_measured(word):
    assert word in make_card()


def test_names_cannot_break_tables():
    name = "a|b\n| c `d` <script> [x](y)"
    estimate = {"value": 0.8, "low": 0.7, "high": 0.9}
    candidates = [{"name": name, "uses": [], "accuracy": estimate, "log_loss": estimate}]
    card = make_card(
        selection={
            "selected": name, "labels_only": name, "n_splits": 2, "reason": name,
            "candidates": candidates,
            "committees": {"selected": {**candidates[0], "weights": {name: 1.0}}},
        }
    )  # fmt: skip
    row = next(line for line in card.splitlines() if line.startswith("| a\\|b"))
    assert row.replace("\\|", "").count("|") == 6
    assert "<script>" not in card.replace("\\<", "")
    assert "\\[x\\](y)" in card


def test_lists_validation_issues():
    finding = {"success": False, "severity": "warning", "message": "7 values of age are missing"}
    validation = {
        "n_rows": {"labeled": 1, "unlabeled": 1, "test": 1},
        "files": {},
        "ignored_columns": [],
        "results": [finding, {**finding, "success": True, "message": "all well"}],
    }
    card = make_card(validation=validation)
    assert "- Data: 7 values of age are missing" in card
    assert "all well" not in card


def test_reports_attacks_if_there_are_any():
    estimate = {"value": 0.7, "low": 0.6, "high": 0.8}
    closest = {"closer_share": estimate, "copies_share": 0.0, "held_out_copies_share": 0.0}
    fidelity = {
        "n_real": 900, "n_synthetic": 300, "n_drawn": 400, "accepted_share": 0.75,
        "mean_distance": 0.1, "max_distance": 0.3, "correlation_difference": 0.05,
        "diversity": {"precision": 0.9, "coverage": 0.8, "k": 5},
        "privacy": {
            "n_held_out": 90, "attacks": {"density_ratio": estimate}, "closest_record": closest,
        },
    }  # fmt: skip
    card = make_card(fidelity=fidelity)
    assert "leak information about training rows" in card
    assert "80% of the real rows" in card
    assert "two attacks on the synthetic rows were" in card
    assert "nor whether synthetic rows are close" in make_card()
