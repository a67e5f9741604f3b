import io
import sys

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix

from semigen.report import plots
from semigen.report.summary import read_confusion


def pixels(png):
    return matplotlib.image.imread(io.BytesIO(png), format="png")


def estimate(value, half=0.04):
    return {"value": value, "low": value - half, "high": value + half}


def write_confusion(path, names, n_rows=600, accuracy=0.8):
    rng = np.random.default_rng(0)
    y = rng.integers(len(names), size=n_rows)
    predicted = np.where(rng.random(n_rows) < accuracy, y, rng.integers(len(names), size=n_rows))
    table = pd.DataFrame({"actual": np.array(names)[y], "predicted": np.array(names)[predicted]})
    table.to_csv(path, index=False)
    return table


SELECTION = {
    "selected": "b",
    "labels_only": "a",
    "candidates": [
        {"name": "a", "uses": [], "accuracy": estimate(0.8), "log_loss": estimate(0.6)},
        {"name": "b", "uses": ["unlabeled"], "accuracy": estimate(0.9), "log_loss": estimate(0.4)},
    ],
    "committees": {},
}


@pytest.fixture
def draw_all(tmp_path):
    write_confusion(tmp_path / "confusion.csv", ["no", "yes"])
    curve = pd.DataFrame({"epoch": [1, 2, 3], "train": [3, 2, 1.0], "validation": [3, 2, 2.5]})
    curve.to_csv(tmp_path / "curve.csv", index=False)
    (tmp_path / "calibration.csv").write_text(
        "bin_low,bin_high,n_rows,confidence,accuracy\n0.6,0.666667,10,0.64,0.5\n0.9,1.0,30,0.97,1\n"
    )
    (tmp_path / "labels.csv").write_text(
        "learner,n_labeled,n_draws,accuracy,low,high\n"
        "semigen,25,3,0.8,0.7,0.9\nsemigen,50,3,0.9,0.85,0.93\n"
        "labels only,25,3,0.7,0.6,0.8\nlabels only,50,3,0.8,0.75,0.83\n"
    )
    fidelity = {
        "mean_distance": 0.1,
        "columns": [{"column": f"c{i}", "kind": "numeric", "distance": i / 40} for i in range(40)],
    }
    return lambda: {
        "confusion": plots.confusion_png(tmp_path / "confusion.csv"),
        "learning curve": plots.learning_curve_png(tmp_path / "curve.csv"),
        "calibration": plots.calibration_png(tmp_path / "calibration.csv"),
        "selection": plots.selection_png(SELECTION),
        "selection by accuracy": plots.selection_png(SELECTION, ("accuracy",)),
        "fidelity": plots.fidelity_png(fidelity),
        "label curve": plots.label_curve_png(tmp_path / "labels.csv"),
    }


def test_equal_data_gives_equal_bytes_without_software_metadata(draw_all):
    first = draw_all()
    assert draw_all() == first
    for name, png in first.items():
        assert pixels(png).std() > 0.01, name
        for mark in (b"Software", b"Matplotlib", b"tIME", b"Creation"):
            assert mark not in png, name


def test_plots_have_no_global_state(draw_all):
    draw_all()
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []


@pytest.mark.parametrize("n_classes", [2, 26, 77])
def test_confusion_matrix_is_dark_on_the_diagonal_only(tmp_path, n_classes):
    names = [f"a rather long name of class {i:02}" for i in range(n_classes)]
    write_confusion(tmp_path / "c.csv", names, n_rows=3000, accuracy=1.0)
    image = pixels(plots.confusion_png(tmp_path / "c.csv"))[..., :3]
    assert image.shape[1] < 3000
    dark = np.abs(image - np.array([8, 48, 107]) / 255).max(-1) < 0.02  # the map's darkest blue
    rows, columns = np.nonzero(dark[:, : int(image.shape[1] * 0.85)])  # without the color bar
    # On the diagonal, horizontal and vertical positions correlate; two squares give 0.75.
    assert np.corrcoef(rows, columns)[0, 1] > 0.7
    assert len(rows) > 500


def test_different_data_gives_different_plots(tmp_path):
    write_confusion(tmp_path / "a.csv", ["x", "y", "z"])
    write_confusion(tmp_path / "b.csv", ["x", "y", "z"], accuracy=0.5)
    assert plots.confusion_png(tmp_path / "a.csv") != plots.confusion_png(tmp_path / "b.csv")
    turned = {**SELECTION, "selected": "a"}
    assert plots.selection_png(SELECTION) != plots.selection_png(turned)


@pytest.mark.parametrize("name", ["$\\frac{", "a_$x$_b", "", "<b>", "line\nbreak"])
def test_names_are_not_parsed_as_formulas(tmp_path, name):
    """Matplotlib parses text between dollar signs as a formula, and fails if it is not one."""
    write_confusion(tmp_path / "c.csv", [name, "other"])
    plots.confusion_png(tmp_path / "c.csv")
    candidate = {**SELECTION["candidates"][0], "name": name}
    plots.selection_png({**SELECTION, "selected": name, "candidates": [candidate]})
    column = {"column": name, "kind": "numeric", "distance": 0.3}
    plots.fidelity_png({"mean_distance": 0.3, "columns": [column]})


@pytest.mark.parametrize(
    "text",
    ["epoch,loss\n", "epoch,loss\n1,0.5\n", "epoch,train,validation\n1,2,\n2,1,\n"],
    ids=["no epoch", "one epoch", "no validation"],
)
def test_curves_with_one_epoch(tmp_path, text):
    (tmp_path / "curve.csv").write_text(text)
    assert pixels(plots.learning_curve_png(tmp_path / "curve.csv")).shape[0] > 100


def test_confusion_matrix_matches_scikit_learn_in_numeric_order(tmp_path):
    table = write_confusion(tmp_path / "c.csv", ["10", "9", "2"])
    counts = read_confusion(tmp_path / "c.csv")
    assert list(counts.index) == list(counts.columns) == ["2", "9", "10"]
    expected = confusion_matrix(table["actual"], table["predicted"], labels=["2", "9", "10"])
    assert (counts.to_numpy() == expected).all()
