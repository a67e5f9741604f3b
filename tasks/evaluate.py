"""Stage ``evaluate``: score the selected and the labels-only classifier on the test rows."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import safe_open

from semigen.ablation import ABLATION
from semigen.artifacts import Layout, atomic_path, write_json
from semigen.classifiers.classifier import Classifier
from semigen.evaluation.metrics import calibration_table, evaluate
from semigen.evaluation.predictions import class_probabilities, labels_of
from semigen.params.config import Params
from semigen.report.metrics import ablation_table, metrics_text, scores
from semigen.tables.sources import write_csv


def run(params: Params, layout: Layout) -> None:
    """Write the metrics and the tables of the confusion, calibration and ablation plots.

    Raises:
        UserError: If a test row has no label.
    """
    classifier = Classifier.load(layout.classifier)
    labels_only = Classifier.load(layout.labels_only)
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
        name: compare(class_probabilities(Classifier.load(folder), test, schema))
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
    write_json(layout.scores, scores(metrics))
    write_json(layout.metrics, metrics)
    print(metrics_text(metrics))


def _count_rows(encoded: Path) -> int:
    with safe_open(encoded, framework="numpy") as tensors:
        return int(tensors.get_slice("x").get_shape()[0])


def _write_table(table: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        write_csv(table, temporary)
