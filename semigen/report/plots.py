"""Plots as PNG bytes. Equal data give equal bytes, and calls share no state.

The colors are those of Okabe & Ito (2008), which color-blind readers can distinguish; markers or
labels repeat the information.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from semigen.evaluation.statistics import proportion
from semigen.report.summary import candidates_of, read_confusion

BLUE, ORANGE, GRAY = "#0072B2", "#D55E00", "#767676"
DPI = 160
MAX_ANNOTATED_CLASSES = 15
MAX_LABEL_LENGTH = 22
MAX_FIDELITY_COLUMNS = 20
SELECTION_LABELS = {
    "accuracy": "cross-validated accuracy",
    "log_loss": "log loss (lower is better)",
}


def confusion_png(path_csv: Path) -> bytes:
    """Plot the confusion matrix.

    Cells are shaded by the fraction of the actual class; counts are printed for up to 15 classes.

    Args:
        path_csv: Table with columns ``actual`` and ``predicted``, one line for each test row.

    Returns:
        PNG image.
    """
    counts = read_confusion(path_csv)
    n_classes = len(counts)
    fractions = counts.div(counts.sum(axis=1).replace(0, np.nan), axis=0).fillna(0).to_numpy()
    side = float(np.clip(3.0 + 0.27 * n_classes, 4.0, 15.0))
    figure = _figure(side + 0.9, side)
    axes = figure.add_subplot()
    # On a linear scale, errors of a few percent of a class would be invisible.
    scale = PowerNorm(0.5, vmin=0, vmax=1)
    image = axes.imshow(fractions, cmap="Blues", norm=scale)
    _name_ticks(axes, [_short(name) for name in counts.index])
    axes.set(xlabel="predicted", ylabel="actual")
    if n_classes <= MAX_ANNOTATED_CLASSES:
        _print_counts(axes, counts.to_numpy(), np.asarray(scale(fractions)))
    ticks = [0, 0.01, 0.05, 0.2, 0.5, 1]
    bar = figure.colorbar(
        image, shrink=0.7, aspect=30, ticks=ticks, format=PercentFormatter(1.0, decimals=0)
    )
    bar.set_label("fraction of the actual class")
    return _png(figure)


def learning_curve_png(path_csv: Path) -> bytes:
    """Plot learning curves from a CSV file, see ``curves_png``."""
    return curves_png(pd.read_csv(path_csv))


def curves_png(table: pd.DataFrame) -> bytes:
    """Plot learning curves.

    Args:
        table: Column ``epoch``, and up to three columns of losses. The minimum of a column
            ``validation`` is marked.

    Returns:
        PNG image.
    """
    figure = _figure(6.4, 3.6)
    axes = figure.add_subplot()
    names = [name for name in table.columns if name != "epoch"]
    styles = zip((BLUE, ORANGE, GRAY), ("-", "--", ":"), strict=True)
    for name, (color, dashes) in zip(names, styles, strict=False):
        axes.plot(table["epoch"], table[name], dashes, color=color, label=name, lw=1.8)
    if "validation" in names and table["validation"].notna().any():
        best = table.iloc[int(np.nanargmin(table["validation"]))]
        axes.plot(best["epoch"], best["validation"], "o", color=ORANGE, ms=7)
        axes.annotate(
            f"lowest at epoch {best['epoch']:.0f}",
            (best["epoch"], best["validation"]),
            xytext=(0, 14),
            textcoords="offset points",
            ha="right" if best["epoch"] > table["epoch"].mean() else "left",
            color=ORANGE,
        )
    axes.set(xlabel="epoch", ylabel="loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(names) > 1:
        axes.legend(frameon=False)
    _open_frame(axes)
    return _png(figure)


def calibration_png(path_csv: Path, confidence: float = 0.95) -> bytes:
    """Plot a reliability diagram with Wilson intervals (1927).

    Args:
        path_csv: Table that ``calibration_table`` returns.
        confidence: Coverage of the intervals.

    Returns:
        PNG image.
    """
    table = pd.read_csv(path_csv)
    figure = _figure(5.2, 5.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], ":", color=GRAY, label="perfect calibration")
    n_correct = (table["accuracy"] * table["n_rows"]).round().astype(int)
    estimates = [
        proportion(k, n, confidence) for k, n in zip(n_correct, table["n_rows"], strict=True)
    ]
    low, high = [e.low for e in estimates], [e.high for e in estimates]
    upper.vlines(table["confidence"], low, high, color=BLUE, lw=1.6)
    upper.plot(table["confidence"], table["accuracy"], "o", color=BLUE, label="test rows", ms=6)
    upper.set(ylabel="accuracy", ylim=(-0.03, 1.03))
    upper.yaxis.set_major_formatter(PercentFormatter(1.0))
    upper.legend(frameon=False, loc="upper left")
    widths = table["bin_high"] - table["bin_low"]
    lower.bar(table["bin_low"], table["n_rows"], width=widths * 0.92, align="edge", color=BLUE)
    lower.set(
        xlabel="confidence (probability of the predicted class)", ylabel="test rows", xlim=(0, 1.01)
    )
    lower.xaxis.set_major_formatter(PercentFormatter(1.0))
    lower.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    for axes in (upper, lower):
        _open_frame(axes)
    return _png(figure)


def selection_png(
    selection: Mapping[str, Any], metrics: Sequence[str] = ("accuracy", "log_loss")
) -> bytes:
    """Plot cross-validated metrics of the candidates, sorted by log loss.

    Args:
        selection: Content of ``selection.json``.
        metrics: Metrics to plot beside each other, of ``accuracy`` and ``log_loss``.

    Returns:
        PNG image; narrow enough for a phone if there is one metric.
    """
    candidates = candidates_of(selection)[::-1]
    is_narrow = len(metrics) == 1
    figure = _figure(5.4 if is_narrow else 9.0, 1.3 + 0.36 * len(candidates))
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        for row, candidate in enumerate(candidates):
            _draw_interval(
                axes,
                row,
                candidate[metric],
                is_labels_only=not candidate["uses"],
                is_selected=candidate["name"] == selection["selected"],
            )
        axes.grid(axis="x", color="#dddddd", lw=0.8)
        axes.set_axisbelow(True)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
        if metric == "accuracy":
            axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlabel(SELECTION_LABELS[metric])
        _open_frame(axes)
    _name_candidates(panels[0], candidates, selection["selected"], 32 if is_narrow else 48)
    _explain_markers(figure, n_columns=2 if is_narrow else 3)
    return _png(figure)


def tried_png(log_loss: Mapping[str, float]) -> bytes:
    """Plot the log loss of the learners evaluated so far, in order of evaluation."""
    names = list(log_loss)[::-1]
    figure = _figure(6.4, 1.0 + 0.26 * len(names))
    axes = figure.add_subplot()
    best = min(log_loss, key=log_loss.__getitem__)
    for row, name in enumerate(names):
        color = ORANGE if name == best else BLUE
        axes.plot(log_loss[name], row, "D" if name == best else "o", color=color, ms=6)
    axes.set_yticks(range(len(names)), labels=[_short(n, 48) for n in names], parse_math=False)
    axes.set(xlabel="cross-validated log loss (lower is better)", ylim=(-0.6, len(names) - 0.4))
    axes.grid(color="#dddddd", lw=0.8)
    axes.set_axisbelow(True)
    _open_frame(axes)
    return _png(figure)


def label_curve_png(path_csv: Path) -> bytes:
    """Plot accuracy by number of labels: a line with intervals for each ``learner``."""
    table = pd.read_csv(path_csv)
    figure = _figure(6.4, 4.0)
    axes = figure.add_subplot()
    styles = ((BLUE, "-", "o", BLUE), (ORANGE, "--", "s", "white"))
    learners = table.groupby("learner", sort=False)
    for (name, points), (color, dashes, marker, face) in zip(learners, styles, strict=False):
        n_labeled, accuracy = points["n_labeled"], points["accuracy"]
        axes.fill_between(n_labeled, points["low"], points["high"], color=color, alpha=0.15, lw=0)
        axes.plot(
            n_labeled, accuracy, dashes, marker=marker, color=color, mfc=face, lw=1.8, label=name
        )
        axes.vlines(n_labeled, points["low"], points["high"], color=color, lw=1.2)
    axes.set(xlabel="labels", ylabel="accuracy on test rows")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(frameon=False, loc="lower right")
    axes.grid(axis="y", color="#dddddd", lw=0.8)
    axes.set_axisbelow(True)
    _open_frame(axes)
    return _png(figure)


def fidelity_png(fidelity: Mapping[str, Any]) -> bytes:
    """Plot the distance of the up to 20 columns with the largest distance."""
    columns = sorted(fidelity["columns"], key=lambda column: -float(column["distance"]))
    shown = columns[:MAX_FIDELITY_COLUMNS][::-1]
    figure = _figure(6.4, 1.0 + 0.24 * len(shown))
    axes = figure.add_subplot()
    axes.barh(range(len(shown)), [c["distance"] for c in shown], color=BLUE, height=0.7)
    names = [_short(c["column"]) for c in shown]
    axes.set_yticks(range(len(shown)), labels=names, parse_math=False)
    axes.set(
        xlim=(0, 1), xlabel="distance between synthetic and real values (0: equal, 1: disjoint)"
    )
    label = f"mean of {len(columns)} columns"
    axes.axvline(fidelity["mean_distance"], color=ORANGE, ls="--", lw=1.6, label=label)
    figure.legend(loc="outside upper right", frameon=False)
    _open_frame(axes)
    return _png(figure)


def _draw_interval(
    axes: Axes, row: int, figure: Mapping[str, float], *, is_labels_only: bool, is_selected: bool
) -> None:
    color = ORANGE if is_labels_only else BLUE
    axes.plot([figure["low"], figure["high"]], [row, row], color=color, lw=2)
    axes.plot(
        figure["value"],
        row,
        "D" if is_selected else "o",
        color=color,
        mfc="white" if is_labels_only else color,
        mew=2,
        ms=9 if is_selected else 6,
    )


def _name_candidates(
    axes: Axes, candidates: list[dict[str, Any]], selected: str, max_length: int
) -> None:
    names = [_short(candidate["name"], max_length) for candidate in candidates]
    axes.set_yticks(range(len(names)), labels=names, parse_math=False)
    axes.set_ylim(-0.6, len(names) - 0.4)
    for label, candidate in zip(axes.get_yticklabels(), candidates, strict=True):
        label.set_fontweight("bold" if candidate["name"] == selected else "normal")


def _explain_markers(figure: Figure, n_columns: int) -> None:
    keys = [
        Line2D([], [], marker="o", color=ORANGE, mfc="white", mew=2, lw=2, label="labels only"),
        Line2D([], [], marker="o", color=BLUE, lw=2, label="uses unlabeled or synthetic rows"),
        Line2D([], [], marker="D", color=GRAY, ls="", ms=9, label="selected"),
    ]
    figure.legend(handles=keys, loc="outside upper center", ncols=n_columns, frameon=False)


def _name_ticks(axes: Axes, names: list[str]) -> None:
    size = 9 if len(names) <= 15 else 8 if len(names) <= 30 else 6.5
    is_wide = max(map(len, names)) * len(names) > 60
    at = range(len(names))
    axes.set_xticks(
        at, labels=names, rotation=90 if is_wide else 0, fontsize=size, parse_math=False
    )
    axes.set_yticks(at, labels=names, fontsize=size, parse_math=False)


def _print_counts(axes: Axes, counts: np.ndarray, shades: np.ndarray) -> None:
    for row, column in np.argwhere(counts > 0):
        axes.text(
            column,
            row,
            str(counts[row, column]),
            ha="center",
            va="center",
            fontsize=9,
            color="white" if shades[row, column] > 0.6 else "black",
        )


def _short(name: object, length: int = MAX_LABEL_LENGTH) -> str:
    text = " ".join(str(name).split())
    return text if len(text) <= length else text[: length - 1] + "…"


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")


def _open_frame(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # Without it, the bytes would depend on the version of Matplotlib.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
