"""The report stage on real data sets, with metrics of real classifiers."""

import html.parser
import json
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from semigen.artifacts import Layout, write_json
from semigen.evaluation.diversity import diversity
from semigen.evaluation.estimates import to_json
from semigen.evaluation.fidelity import fidelity
from semigen.evaluation.metrics import calibration_table, evaluate
from semigen.evaluation.privacy import privacy
from semigen.params.config import Params, SampleParams
from semigen.tables.samples import cut_sample
from semigen.tables.schema import TableSchema
from tasks import report


def write_project(root, dataset="digits", *, rename=None):
    """Write all artifacts that the report reads."""
    layout, params = Layout(root), Params(sample=SampleParams(dataset=dataset))
    tables = {
        part: table.rename(columns=rename or {}).replace(rename or {})
        for part, table in cut_sample(params.sample, params.seed).items()
    }
    schema = TableSchema.infer(tables["labeled"], tables["unlabeled"], "label")
    schema.save(layout.schema)
    write_validation(layout, schema, tables)
    write_evaluation(layout, schema, tables)
    write_synthetic(layout, schema, tables)
    write_selection(layout)
    write_curves(layout)
    seconds = {"sample": 0.31, "validate": 4.9, "pretrain": 14.02, "train": 20.5, "report": 3.2}
    write_json(layout.timings, seconds)
    return params, layout


def write_validation(layout, schema, tables):
    passed = [
        {"part": "labeled", "column": c.name, "rule": "type", "severity": "error", "success": True,
         "n_checked": 50, "n_failed": 0, "sample_values": [], "message": "numbers"}
        for c in schema.features
    ]  # fmt: skip
    warning = {
        "part": "test", "column": schema.features[3].name, "rule": "range", "severity": "warning",
        "success": False, "n_checked": len(tables["test"]), "n_failed": 7,
        "sample_values": [16.0, "<b>17</b>"],
        "message": f"test: 7 values of {schema.features[3].name} lie outside the unlabeled range",
    }  # fmt: skip
    content = {
        "success": True,
        "n_rows": {part: len(table) for part, table in tables.items()},
        "files": {part: f"data/samples/{part}.csv" for part in tables},
        "ignored_columns": [
            {"column": c.name, "reason": c.reason} for c in schema.columns if c.kind == "ignore"
        ],
        "results": [*passed, warning],
    }
    write_json(layout.validation_json, content)


def write_evaluation(layout, schema, tables):
    names = [column.name for column in schema.features]
    x, x_test = tables["labeled"][names].to_numpy(), tables["test"][names].to_numpy()
    y, y_test = (schema.encode_labels(tables[part]["label"]) for part in ("labeled", "test"))
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(x, y)
    baseline = ExtraTreesClassifier(10, random_state=0).fit(x, y)
    p = model.predict_proba(x_test)
    found = evaluate(y_test, p, baseline.predict_proba(x_test), n_bootstrap=300)
    content = {
        "n_labeled": len(y), "n_unlabeled": len(tables["unlabeled"]), "n_test": len(y_test),
        **found.to_json_dict(), "selected": "mlp_synthetic",
        "ablation": {"all": {part: found.to_json_dict()[part] for part in ("test", "gain")}},
    }  # fmt: skip
    write_json(layout.metrics, content)
    classes = np.array(schema.classes)
    confusion = pd.DataFrame({"actual": classes[y_test], "predicted": classes[p.argmax(1)]})
    layout.plot("confusion").parent.mkdir(parents=True)
    confusion.to_csv(layout.plot("confusion"), index=False)
    calibration_table(y_test, p).to_csv(layout.plot("calibration"), index=False)


def write_synthetic(layout, schema, tables):
    names = [column.name for column in schema.features]
    rows = tables["labeled"].sample(500, replace=True, random_state=0, ignore_index=True)
    noise = np.random.default_rng(0).normal(scale=0.2, size=(500, len(names)))
    rows[names] = rows[names] * (1 + noise)
    layout.synthetic_table.parent.mkdir(parents=True)
    rows.assign(source="vae").to_csv(layout.synthetic_table, index=False)
    found = fidelity(tables["unlabeled"], rows, schema)
    made, unlabeled, test = (
        table[names].to_numpy() for table in (rows, tables["unlabeled"], tables["test"])
    )
    nearness = {
        "diversity": to_json(diversity(made, unlabeled)),
        "privacy": to_json(privacy(made, unlabeled, test)),
    }
    facts = {"n_drawn": 640, "accepted_share": 0.78125}
    write_json(layout.fidelity, {**found, **facts, **nearness})


def write_selection(layout):
    figures = [
        ("logistic_regression", [], 0.871, 0.52), ("extra_trees", [], 0.893, 0.61),
        ("mlp", [], 0.86, 0.55), ("logistic_on_codes", ["unlabeled"], 0.905, 0.41),
        ("label_spreading", ["unlabeled"], 0.92, 0.38),
        ("mlp_synthetic", ["unlabeled", "synthetic"], 0.934, 0.29),
    ]  # fmt: skip
    candidates = [
        {"name": name, "uses": uses,
         "log_loss": {"value": loss, "low": loss - 0.08, "high": loss + 0.09},
         "accuracy": {"value": value, "low": value - 0.05, "high": min(1, value + 0.045)}}
        for name, uses, value, loss in figures
    ]  # fmt: skip
    write_json(layout.selection, {
        "selected": "mlp_synthetic", "labels_only": "extra_trees", "n_splits": 10,
        "reason": "mlp_synthetic has the lowest log loss, and beats extra_trees in every split.",
        "candidates": candidates,
        "committees": {"selected": {**candidates[-1], "weights": {"mlp_synthetic": 1.0}}},
    })  # fmt: skip


def write_curves(layout):
    epoch = np.arange(1, 121)
    train = 60 * np.exp(-epoch / 15) + 35 - 0.03 * epoch
    validation = train + 2 + np.maximum(0, 0.05 * (epoch - 70))
    curves = pd.DataFrame({"epoch": epoch, "train": train, "validation": validation})
    curves.to_csv(layout.plot("pretrain"), index=False)
    loss = pd.DataFrame({"epoch": epoch[:50], "loss": 2.3 * np.exp(-epoch[:50] / 9)})
    loss.to_csv(layout.plot("train"), index=False)


class Page(html.parser.HTMLParser):
    """The tags, addresses and visible text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.ids, self.text = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset")]
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_data(self, data):
        self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture
def project(tmp_path):
    return write_project(tmp_path)


def test_page_shows_the_metrics(project):
    params, layout = project
    report.run(params, layout)
    metrics = json.loads(layout.metrics.read_text())
    page = Page(layout.report.read_text(encoding="utf-8"))
    for part in ("test", "labels_only"):
        accuracy = metrics[part]["accuracy"]
        low, high = 100 * accuracy["low"], 100 * accuracy["high"]
        assert f"{accuracy['value']:.1%} [{low:.1f}, {high:.1f}]" in page.words
    for expected in (
        "50 labeled and 1387 unlabeled training rows", "360 test rows", "Unlabeled rows helped",
        "lie outside the unlabeled range", "mlp_synthetic", "extra_trees", "augment.ratio",
        "pretrain 14.0", "scikit-learn", "78% of 640 drawn",
        "of the synthetic rows lie close to real rows", "training rows from 360 held-out rows",
    ):  # fmt: skip
        assert expected in page.words, expected


def test_page_is_self_contained(project):
    params, layout = project
    report.run(params, layout)
    text = layout.report.read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert page.tags.count("img") == 7
    for address in page.addresses:
        assert address.startswith(("data:image/png;base64,", "#")), address
    assert not re.search(r"url\(|@import|https?://", text)
    anchors = {address[1:] for address in page.addresses if address.startswith("#")}
    assert anchors <= set(page.ids)
    assert len(text) < 1_000_000


def test_data_is_escaped(tmp_path):
    evil, template, mark = "<script>alert('x')</script>", "{{ 7 * 7 }}", "a|b `c` $d_e$ $f$"
    names = {"alcohol": evil, "proline": template, "class_0": "<img src=x>", "class_1": mark}
    params, layout = write_project(tmp_path, "wine", rename=names)
    report.run(params, layout)
    page = Page(layout.report.read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert page.tags.count("img") == 7  # the plots
    for text in (evil, template, mark, "<img src=x>", "<b>17</b>"):
        assert text in page.words, text
    card = layout.model_card.read_text(encoding="utf-8")
    assert "<script" not in card.replace("\\<", "")
    assert "<img" not in card.replace("\\<", "")


def test_model_card_depends_on_the_artifacts_only(project, tmp_path_factory):
    params, layout = project
    report.run(params, layout)
    card = layout.model_card.read_bytes()
    write_json(layout.timings, {"sample": 99.0})
    _, elsewhere = write_project(tmp_path_factory.mktemp("elsewhere"))
    report.run(params, elsewhere)
    assert elsewhere.model_card.read_bytes() == card
    assert str(layout.root) not in card.decode()


def test_model_card_shows_the_metrics(project):
    params, layout = project
    report.run(params, layout)
    metrics = json.loads(layout.metrics.read_text())
    card = layout.model_card.read_text(encoding="utf-8")
    accuracy, gain = metrics["test"]["accuracy"], metrics["gain"]["accuracy"]
    row = next(line for line in card.splitlines() if line.startswith("| Accuracy |"))
    assert f"{accuracy['value']:.1%} [" in row
    assert f"{100 * gain['value']:+.1f} points [" in row
    assert "Membership inference from the models was not measured" in card
    assert "Always predicting the most frequent class would reach 10." in card
    assert "7 values of pixel" in card


def test_synthetic_examples_show_all_classes(project):
    params, layout = project
    report.run(params, layout)
    text = layout.report.read_text(encoding="utf-8")
    table = text.split("<summary>Examples")[1].split("</table>")[0]
    assert table.count("<th>") == 12
    assert table.count("<tr>") == 13
    firsts = re.findall(r"<tr><td data-is=\"label\">([^<]*)</td>", table)
    assert set(firsts) == {str(digit) for digit in range(10)}


def test_run_without_synthetic_rows_or_timings(project):
    params, layout = project
    empty = pd.read_csv(layout.synthetic_table).head(0)
    empty.to_csv(layout.synthetic_table, index=False)
    write_json(layout.fidelity, {"n_synthetic": 0, "n_drawn": 0, "accepted_share": 0.0})
    layout.timings.unlink()
    report.run(params, layout)
    page = Page(layout.report.read_text(encoding="utf-8"))
    assert "There are no synthetic rows" in page.words
    assert "No times were recorded" in page.words
    assert "There are no synthetic rows" in layout.model_card.read_text(encoding="utf-8")


def test_run_that_fell_back_to_labels_only(project):
    params, layout = project
    selection = json.loads(layout.selection.read_text())
    write_json(layout.selection, {**selection, "selected": "extra_trees"})
    report.run(params, layout)
    page = Page(layout.report.read_text(encoding="utf-8"))
    assert "Unlabeled rows are not used" in page.words
    assert "both are the same classifier" in page.words
    assert "Unlabeled rows helped" not in page.words


def test_two_classes(tmp_path):
    params, layout = write_project(tmp_path, "breast_cancer")
    report.run(params, layout)
    page = Page(layout.report.read_text(encoding="utf-8"))
    assert "malignant" in page.words
    assert "Classes by recall" in page.words
