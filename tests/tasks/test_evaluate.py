"""Files of the stage, compared with metrics computed from the same probabilities.

One test scores saved classifiers. The others use objects with the interface of a classifier whose
probabilities are columns of the test table, so that all metrics are known.
"""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss
from sklearn.tree import DecisionTreeClassifier

import semigen
from semigen.artifacts import Layout
from semigen.classifiers.classifier import Classifier, Member
from semigen.errors import UserError
from semigen.evaluation.metrics import METRICS
from semigen.params.config import EvaluateParams, Params, SampleParams
from semigen.tables.cells import as_text
from semigen.tables.columns import ColumnSchema
from semigen.tables.encoding import TableEncoder, encode_rows
from semigen.tables.samples import cut_sample
from semigen.tables.schema import TableSchema
from tasks import evaluate

PARAMS = Params(seed=3, evaluate=EvaluateParams(n_bootstrap=200))
COLUMNS = [f"{side}_{k}" for side in ("good", "poor") for k in range(3)]


@dataclass
class ColumnClassifier:
    """Classifier whose class probabilities are columns of the table."""

    learner_name: str
    schema: TableSchema
    classes_: np.ndarray
    columns: list[str]

    def predict_proba(self, frame):
        assert self.schema.target not in frame
        return frame[self.columns].to_numpy()


def write_inputs(layout, labels, schema):
    rng = np.random.default_rng(0)
    y = np.array([schema.classes.index(label) for label in labels])
    table = {"label": labels}
    for side, skill in (("good", 3.0), ("poor", 1.0)):
        logits = rng.normal(size=(len(y), 3)) + skill * np.eye(3)[y]
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        table |= {f"{side}_{k}": p[:, k] for k in range(3)}
    layout.prepared("test").parent.mkdir(parents=True)
    pd.DataFrame(table).to_parquet(layout.prepared("test"))
    layout.encoded("labeled").parent.mkdir(parents=True)
    x = np.zeros((12, 5), np.float32)
    save_file({"x": x, "y": np.zeros(12, np.int64)}, layout.encoded("labeled"))
    save_file({"x": np.zeros((70, 5), np.float32)}, layout.encoded("unlabeled"))


def make_schema(classes, integer=False):
    columns = tuple(ColumnSchema(name=name, kind="numeric") for name in COLUMNS)
    return TableSchema(columns=columns, target="label", classes=classes, integer_classes=integer)


@pytest.fixture
def layout(tmp_path, monkeypatch):
    """A project whose classes are not in alphabetical order in either classifier."""
    layout, schema = Layout(tmp_path), make_schema(("ant", "bee", "cat"))
    labels = np.random.default_rng(1).choice(["ant", "bee", "cat"], 80)
    write_inputs(layout, labels, schema)
    backwards = np.array(["cat", "bee", "ant"])
    classifiers = {
        layout.classifier: ColumnClassifier(
            "mlp_synthetic", schema, backwards, ["good_2", "good_1", "good_0"]
        ),
        layout.labels_only: ColumnClassifier(
            "extra_trees", schema, np.array(schema.classes), ["poor_0", "poor_1", "poor_2"]
        ),
    }
    monkeypatch.setattr(Classifier, "load", classifiers.__getitem__)
    return layout


def predicted_of(test, side):
    return np.array(["ant", "bee", "cat"])[
        test[[f"{side}_{k}" for k in range(3)]].to_numpy().argmax(1)
    ]


def test_metrics_json_has_the_documented_keys_and_values(layout):
    evaluate.run(PARAMS, layout)
    metrics = json.loads(layout.metrics.read_text())
    assert list(metrics) == [
        "n_labeled", "n_unlabeled", "n_test", "test", "labels_only", "gain", "selected", "ablation",
    ]  # fmt: skip
    assert (metrics["n_labeled"], metrics["n_unlabeled"], metrics["n_test"]) == (12, 70, 80)
    assert metrics["selected"] == "mlp_synthetic"
    assert all(list(metrics[p]) == list(METRICS) for p in ("test", "labels_only", "gain"))
    test = pd.read_parquet(layout.prepared("test"))
    good, poor = (accuracy_score(test["label"], predicted_of(test, s)) for s in ("good", "poor"))
    assert good > poor
    assert metrics["test"]["accuracy"]["value"] == pytest.approx(good)
    assert metrics["labels_only"]["accuracy"]["value"] == pytest.approx(poor)
    assert metrics["gain"]["accuracy"]["value"] == pytest.approx(good - poor)
    assert metrics["gain"]["accuracy"]["low"] > 0


def test_scores_are_the_main_figures_of_the_metrics(layout):
    evaluate.run(PARAMS, layout)
    metrics, scores = (json.loads(p.read_text()) for p in (layout.metrics, layout.scores))
    assert len(scores) <= 10
    assert not any(isinstance(value, dict) for value in scores.values())  # a column for each
    assert scores["accuracy"] == metrics["test"]["accuracy"]["value"]
    assert scores["gain_low"] == metrics["gain"]["accuracy"]["low"]
    assert scores["labels_only_accuracy"] == metrics["labels_only"]["accuracy"]["value"]


def test_scores_saved_classifiers(tmp_path):
    layout = Layout(tmp_path)
    tables = cut_sample(SampleParams(dataset="wine", n_labeled=30), seed=0)
    schema = TableSchema.infer(tables["labeled"], tables["unlabeled"], "label")
    encoder = TableEncoder(schema).fit(tables["unlabeled"])
    labeled = encode_rows(encoder, tables["labeled"], schema.encode_labels(tables["labeled"].label))
    labeled.save(layout.encoded("labeled"))
    encode_rows(encoder, tables["unlabeled"]).save(layout.encoded("unlabeled"))
    layout.prepared("test").parent.mkdir(parents=True)
    test = tables["test"].assign(label=as_text(tables["test"]["label"]))
    test.to_parquet(layout.prepared("test"))
    models = {"logistic": LogisticRegression(), "tree": DecisionTreeClassifier(max_depth=1)}
    folders = (layout.classifier, layout.labels_only)
    for (name, model), folder in zip(models.items(), folders, strict=True):
        fitted = model.fit(labeled.x, labeled.y)
        Classifier(encoder, (Member(name, fitted, "encoded", 1.0),)).save(folder)
    evaluate.run(PARAMS, layout)
    metrics = json.loads(layout.metrics.read_text())
    assert (metrics["n_labeled"], metrics["n_unlabeled"], metrics["n_test"]) == (30, 112, 36)
    assert metrics["selected"] == "logistic"
    loaded = semigen.load(layout.classifier)
    assert metrics["test"]["accuracy"]["value"] == pytest.approx(
        accuracy_score(test["label"], loaded.predict(test)), abs=1e-6
    )
    assert metrics["test"]["log_loss"]["value"] == pytest.approx(
        log_loss(test["label"], y_proba=loaded.predict_proba(test)), abs=1e-6
    )
    assert metrics["gain"]["accuracy"]["low"] > 0


def test_plot_tables_describe_the_selected_classifier(layout):
    evaluate.run(PARAMS, layout)
    test = pd.read_parquet(layout.prepared("test"))
    confusion = pd.read_csv(layout.plot("confusion"))
    assert list(confusion) == ["actual", "predicted"]
    assert confusion["actual"].tolist() == test["label"].tolist()
    assert (
        confusion_matrix(confusion["actual"], confusion["predicted"])
        == confusion_matrix(test["label"], predicted_of(test, "good"))
    ).all()
    calibration = pd.read_csv(layout.plot("calibration"))
    assert list(calibration) == ["bin_low", "bin_high", "n_rows", "confidence", "accuracy"]
    assert calibration["n_rows"].sum() == 80
    assert calibration["accuracy"] @ calibration["n_rows"] == pytest.approx(
        (confusion["actual"] == confusion["predicted"]).sum(), abs=1e-3
    )


def test_equal_inputs_give_equal_bytes(layout):
    paths = (layout.metrics, layout.plot("confusion"), layout.plot("calibration"))
    evaluate.run(PARAMS, layout)
    first = [path.read_bytes() for path in paths]
    evaluate.run(PARAMS, layout)
    assert [path.read_bytes() for path in paths] == first


def test_prints_metrics_beside_labels_only(layout, capsys):
    evaluate.run(PARAMS, layout)
    printed = capsys.readouterr().out
    accuracy = json.loads(layout.metrics.read_text())["test"]["accuracy"]
    assert "80 test rows; selected: mlp_synthetic" in printed
    line = next(line for line in printed.splitlines() if line.startswith("accuracy"))
    assert f"{accuracy['value']:.3f} [{accuracy['low']:.3f}, {accuracy['high']:.3f}]" in line
    assert line.count("[") == 3
    assert max(map(len, printed.splitlines())) < 100


def test_whole_number_labels(tmp_path, monkeypatch):
    layout, schema = Layout(tmp_path), make_schema(("2", "10", "30"), integer=True)
    labels = ["2", "10", "30"] * 10
    write_inputs(layout, labels, schema)
    one = ColumnClassifier("one", schema, np.array([2, 10, 30]), ["good_0", "good_1", "good_2"])
    monkeypatch.setattr(Classifier, "load", {layout.classifier: one, layout.labels_only: one}.get)
    evaluate.run(PARAMS, layout)
    metrics = json.loads(layout.metrics.read_text())
    assert metrics["gain"]["accuracy"] == {"value": 0, "low": 0, "high": 0, "p_value": 1}
    assert metrics["test"]["accuracy"]["value"] > 0.6
    assert set(pd.read_csv(layout.plot("confusion"))["actual"]) == {2, 10, 30}


def test_accepts_a_class_without_test_rows(layout):
    test = pd.read_parquet(layout.prepared("test"))
    test[test["label"] != "bee"].to_parquet(layout.prepared("test"))
    evaluate.run(PARAMS, layout)
    assert json.loads(layout.metrics.read_text())["test"]["roc_auc"]["value"] > 0.9


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (None, "test table: column 'label', row 5: no label"),
        ("dog", "row 5: label 'dog' is not one of"),
    ],
)
def test_rejects_missing_and_unknown_labels(layout, label, message):
    test = pd.read_parquet(layout.prepared("test"))
    test.loc[4, "label"] = label
    test.to_parquet(layout.prepared("test"))
    with pytest.raises(UserError, match=message):
        evaluate.run(PARAMS, layout)
    assert not layout.metrics.exists()
