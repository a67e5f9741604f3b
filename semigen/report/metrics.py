"""The metrics of a run for the terminal and for DVC, and the table behind the ablation plot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from semigen.ablation import LEARNS_FROM
from semigen.evaluation.estimates import Estimate, Gain
from semigen.evaluation.metrics import METRICS


def metrics_text(metrics: Mapping[str, Any]) -> str:
    """Return the content of ``metrics.json`` as a short table for the terminal."""
    lines = [
        f"{metrics['n_test']} test rows; selected: {metrics['selected']}",
        f"{'':18}{'test':>24}{'labels only':>24}{'gain':>27}",
    ]
    for metric in METRICS:
        test, baseline = (f"{_estimate(metrics[p], metric)}" for p in ("test", "labels_only"))
        lines.append(f"{metric:18}{test:>24}{baseline:>24}{_gain(metrics, metric):>27}")
    if metrics["ablation"]:
        lines.append("accuracy by the rows used for training, and gain over labels only:")
    for name, found in metrics["ablation"].items():
        test = f"{_estimate(found['test'], 'accuracy')}"
        lines.append(f"{LEARNS_FROM[name]:42}{test:>24}{_gain(found, 'accuracy'):>27}")
    return "\n".join(lines)


def scores(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the main figures of ``metrics.json``, which ``dvc metrics show`` prints in one row."""
    accuracy, gain = metrics["test"]["accuracy"], metrics["gain"]["accuracy"]
    return {
        "n_test": metrics["n_test"],
        "accuracy": accuracy["value"],
        "accuracy_low": accuracy["low"],
        "accuracy_high": accuracy["high"],
        "balanced_accuracy": metrics["test"]["balanced_accuracy"]["value"],
        "log_loss": metrics["test"]["log_loss"]["value"],
        "labels_only_accuracy": metrics["labels_only"]["accuracy"]["value"],
        "gain": gain["value"],
        "gain_low": gain["low"],
        "gain_high": gain["high"],
    }


def ablation_table(metrics: Mapping[str, Any]) -> pd.DataFrame:
    """Return accuracy by the rows used for training, with the paired gain over labels only."""
    rows = [{"learns_from": "labels", **_columns(metrics["labels_only"]["accuracy"], "accuracy")}]
    for name, found in metrics["ablation"].items():
        accuracy = _columns(found["test"]["accuracy"], "accuracy")
        gain = _columns(found["gain"]["accuracy"], "gain", prefix="gain_")
        rows.append({"learns_from": LEARNS_FROM[name], **accuracy, **gain})
    return pd.DataFrame(rows)


def _estimate(figures: Mapping[str, Any], metric: str) -> Estimate:
    return Estimate.from_json(figures[metric])


def _gain(figures: Mapping[str, Any], metric: str) -> str:
    return f"{Gain.from_json(figures['gain'][metric]):+.3f}"


def _columns(figure: Mapping[str, float], name: str, prefix: str = "") -> dict[str, Any]:
    return {
        name: figure["value"],
        f"{prefix}low": figure["low"],
        f"{prefix}high": figure["high"],
    }
