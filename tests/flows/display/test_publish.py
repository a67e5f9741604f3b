from __future__ import annotations

from flows.display.publish import metric_rows, validation_rows


def result(**changes: object) -> dict[str, object]:
    passed = {
        "part": "labeled",
        "column": "age",
        "rule": "in_range",
        "severity": "error",
        "success": True,
        "n_checked": 50,
        "n_failed": 0,
        "sample_values": [],
        "message": "",
    }
    return {**passed, **changes}


def test_lists_errors_then_warnings_then_passed_rules() -> None:
    failed = {"success": False, "n_failed": 2, "sample_values": [-1, "x"]}
    rows = validation_rows(
        [result(column=None), result(severity="warning", **failed), result(**failed)]
    )
    assert [row["result"] for row in rows] == ["error", "warning", "passed"]
    assert rows[0]["failed"] == "2 of 50"
    assert rows[0]["values"] == "-1, x"
    assert rows[2]["column"] == ""


def test_metrics_stand_beside_those_of_the_labels_alone() -> None:
    estimate = {"value": 0.95, "low": 0.9251, "high": 0.972}
    gain = {"value": 0.05, "low": -0.01, "high": 0.1, "p_value": 0.0312}
    metrics = {
        "test": {"log_loss": estimate},
        "labels_only": {"log_loss": {"value": 0.9, "low": 0.8, "high": 1.0}},
        "gain": {"log_loss": gain},
    }
    assert metric_rows(metrics) == [
        {
            "metric": "log loss",
            "selected": "0.950 [0.925, 0.972]",
            "labels only": "0.900 [0.800, 1.000]",
            "gain": "+0.050 [-0.010, +0.100]",
            "p": "0.0312",
        }
    ]
