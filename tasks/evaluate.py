"""Score the selected classifier and the labels-only one on the test rows, once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from safetensors import safe_open

import semigen
from semigen.ablation import ABLATION, LEARNS_FROM
from semigen.artifacts import Layout, atomic_path, write_json
from semigen.errors import UserError
from semigen.evaluation.metrics import METRICS, calibration_table, evaluate
from semigen.params.config import Params
from semigen.tables.schema import TableSchema
from semigen.tables.sources import write_csv

if TYPE_CHECKING:
    from semigen.classifiers.classifier import Classifier


def run(params: Params, layout: Layout) -> None:
    """Write ``metrics.json`` and the tables behind the confusion matrix and calibration plot.

    Raises:
        UserError: If a test row has no label.
    """
    classifier, labels_only = semigen.load(layout.classifier), semigen.load(layout.labels_only)
    schema = classifier.schema
    test = pd.read_parquet(layout.prepared("test"))
    y = labels_of(test, schema)
    probabilities = class_probabilities(classifier, test, schema)
    compare = partial(
        evaluate,
        y,
        baseline_probabilities=class_probabilities(labels_only, test, schema),
        n_bootstrap=params.evaluate.n_bootstrap,
        confidence=params.evaluate.confidence,
        seed=params.seed,
    )
    evaluation = compare(probabilities)
    ablation = {
        name: compare(class_probabilities(semigen.load(folder), test, schema))
        for name in ABLATION
        if (folder := layout.ablation / name).exists()
    }
    metrics = {
        "n_labeled": _count_rows(layout.encoded("labeled")),
        "n_unlabeled": _count_rows(layout.encoded("unlabeled")),
        "n_test": len(y),
        **evaluation.to_json_dict(),
        "selected": classifier.learner_name,
        "ablation": {
            name: {part: found.to_json_dict()[part] for part in ("test", "gain")}
            for name, found in ablation.items()
        },
    }
    classes = np.array(schema.classes)
    confusion = {"actual": classes[y], "predicted": classes[probabilities.argmax(1)]}
    _write_table(pd.DataFrame(confusion), layout.plot("confusion"))
    _write_table(calibration_table(y, probabilities), layout.plot("calibration"))
    _write_table(ablation_table(metrics), layout.plot("ablation"))
    write_json(layout.metrics, metrics)
    print(format_metrics(metrics))


def format_metrics(metrics: Mapping[str, Any]) -> str:
    """Return the figures of ``metrics.json`` as a short table for the terminal."""
    lines = [
        f"{metrics['n_test']} test rows; selected: {metrics['selected']}",
        f"{'':18}{'test':>24}{'labels only':>24}{'gain':>27}",
    ]
    for metric in METRICS:
        test, labels_only, gain = (
            metrics[part][metric] for part in ("test", "labels_only", "gain")
        )
        cells = f"{_interval(test):>24}{_interval(labels_only):>24}{_interval(gain, '+'):>27}"
        lines.append(f"{metric:18}{cells}")
    if metrics["ablation"]:
        lines.append("accuracy by what is learned from, and its gain over labels only:")
    for name, found in metrics["ablation"].items():
        test, gain = (found[part]["accuracy"] for part in ("test", "gain"))
        lines.append(f"{LEARNS_FROM[name]:42}{_interval(test):>24}{_interval(gain, '+'):>27}")
    return "\n".join(lines)


def ablation_table(metrics: Mapping[str, Any]) -> pd.DataFrame:
    """Return accuracy by what a committee may learn from, with the paired gain over labels only."""
    rows = [{"learns_from": "labels", **_limits(metrics["labels_only"]["accuracy"], "")}]
    for name, found in metrics["ablation"].items():
        accuracy = _limits(found["test"]["accuracy"], "")
        gain = _limits(found["gain"]["accuracy"], "gain_")
        rows.append({"learns_from": LEARNS_FROM[name], **accuracy, **gain})
    return pd.DataFrame(rows)


def _limits(figure: Mapping[str, float], prefix: str) -> dict[str, float]:
    names = {"value": "accuracy" if not prefix else "gain", "low": "low", "high": "high"}
    return {
        (prefix if part != "value" else "") + name: figure[part] for part, name in names.items()
    }


def _interval(figure: Mapping[str, float], sign: str = "") -> str:
    value, low, high = (format(figure[part], f"{sign}.3f") for part in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def labels_of(test: pd.DataFrame, schema: TableSchema) -> np.ndarray:
    """Return the class index of every test row, shape ``(n,)``.

    Raises:
        UserError: If a test row has no label, or one that is no class.
    """
    y = schema.encode_labels(test[schema.target])
    if (y < 0).any():
        row = int(np.flatnonzero(y < 0)[0])
        raise UserError(
            f"test table: column {schema.target!r}, row {row + 1}: no label "
            f"({int((y < 0).sum())} such row(s)); give every test row a label or remove it"
        )
    return y


def class_probabilities(
    classifier: Classifier, test: pd.DataFrame, schema: TableSchema
) -> np.ndarray:
    """Return probabilities in the order of the schema's classes, shape ``(n, n_classes)``.

    A class that the classifier does not know has probability 0.
    """
    found = classifier.predict_proba(test.drop(columns=schema.target))
    ordered = np.zeros((len(test), len(schema.classes)))
    ordered[:, schema.encode_labels(pd.Series(classifier.classes_))] = found
    return ordered


def _count_rows(encoded: Path) -> int:
    with safe_open(encoded, framework="numpy") as tensors:
        return int(tensors.get_slice("x").get_shape()[0])


def _write_table(table: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        write_csv(table, temporary)
