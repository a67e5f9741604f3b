"""Sentences, formatted figures and small tables that the report and the model card share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from semigen.ablation import LEARNS_FROM
from semigen.evaluation.estimates import DASH, Estimate, Gain
from semigen.evaluation.metrics import LOWER_IS_BETTER, MIN_ROWS, MIN_ROWS_ACCURACY
from semigen.wording import count, first_few

Outcome = Literal["helped", "not shown", "worse", "not used"]


@dataclass(frozen=True)
class MetricText:
    """Texts about a metric.

    Attributes:
        title: Name of the metric.
        meaning: Explanation in a few words.
        is_proportion: Whether the metric is printed in percent.

    Examples:
        >>> METRIC_TEXTS["roc_auc"].title
        'ROC AUC'
    """

    title: str
    meaning: str
    is_proportion: bool


METRIC_TEXTS = {
    "accuracy": MetricText("Accuracy", "proportion of rows labeled correctly", True),
    "balanced_accuracy": MetricText("Balanced accuracy", "mean recall over the classes", True),
    "macro_f1": MetricText(
        "Macro F1", "mean F1 (harmonic mean of precision and recall) over the classes", True
    ),
    "log_loss": MetricText(
        "Log loss", "negative log-likelihood of the true label in nats; lower is better", False
    ),
    "roc_auc": MetricText("ROC AUC", "mean AUC of each class against the rest", False),
    "calibration_error": MetricText(
        "Calibration error",
        "mean difference between confidence and accuracy; lower is better, and few rows inflate it",
        True,
    ),
}


@dataclass(frozen=True)
class Verdict:
    """Whether unlabeled rows helped on the test rows.

    Attributes:
        outcome: The verdict in one or two words.
        sentence: Explanation for the user.

    Examples:
        >>> gain = {"value": 0.072, "low": 0.044, "high": 0.1, "p_value": 0.0005}
        >>> learner = {"name": "mlp", "uses": ["unlabeled"], "log_loss": {"value": 0.3}}
        >>> selection = {"selected": "mlp", "candidates": [learner], "committees": {}}
        >>> verdict({"gain": {"accuracy": gain}}, selection, confidence=0.95).outcome
        'helped'
    """

    outcome: Outcome
    sentence: str


def verdict(metrics: Mapping[str, Any], selection: Mapping[str, Any], confidence: float) -> Verdict:
    """Judge the gain in accuracy over the labels-only classifier.

    Args:
        metrics: Content of ``metrics.json``.
        selection: Content of ``selection.json``.
        confidence: Coverage of the intervals.
    """
    if not uses_of_selected(selection):
        return Verdict(
            "not used",
            "Unlabeled rows are not used: cross-validation on the labeled rows selected "
            f"{selection['selected']}, which is trained on labels only.",
        )
    gain = Gain.from_json(metrics["gain"]["accuracy"])
    if not gain.has_interval:
        return Verdict(
            "not shown",
            f"{metrics['n_test']} test rows are too few to tell whether unlabeled rows helped: the "
            f"difference in accuracy is {gain_text('accuracy', metrics['gain']['accuracy'])}.",
        )
    figures = (
        f"{gain_text('accuracy', metrics['gain']['accuracy'])} ({confidence:.0%} confidence, "
        f"p-value {p_value_text(gain.p_value)})"
    )
    if gain.low > 0:
        return Verdict(
            "helped",
            f"Unlabeled rows helped: the gain in accuracy over labels only is {figures}.",
        )
    if gain.high < 0:
        return Verdict(
            "worse",
            f"Unlabeled rows made accuracy worse: the difference from labels only is {figures}. "
            "Prefer the labels-only classifier.",
        )
    return Verdict(
        "not shown",
        f"No significant gain from unlabeled rows: the difference in accuracy is {figures}.",
    )


def uses_of_selected(selection: Mapping[str, Any]) -> list[str]:
    """Return the kinds of rows that the selected classifier uses besides labeled rows."""
    by_name = {candidate["name"]: candidate for candidate in candidates_of(selection)}
    uses: list[str] = by_name[selection["selected"]]["uses"]
    return uses


def candidates_of(selection: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return all candidates, committees included, sorted by log loss."""
    learners = selection["candidates"]
    names = {candidate["name"] for candidate in learners}
    committees = {c["name"]: c for c in selection["committees"].values()}
    others = [committee for name, committee in committees.items() if name not in names]
    return sorted([*learners, *others], key=lambda c: float(c["log_loss"]["value"]))


def weight_text(selection: Mapping[str, Any], candidate: str) -> str:
    """Return a learner's weight in the selected committee; empty if it is not a member."""
    weights = selection["committees"]["selected"]["weights"]
    return f"{weights[candidate]:.0%}" if candidate in weights else ""


def ablation_rows(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return test accuracy by the rows that training uses, with the gain over labels only."""
    labels = estimate_text("accuracy", metrics["labels_only"]["accuracy"])
    rows = [{"learns_from": "labels", "accuracy": labels, "gain": "", "p_value": ""}]
    for name, found in metrics["ablation"].items():
        gain = found["gain"]["accuracy"]
        rows.append(
            {
                "learns_from": LEARNS_FROM[name],
                "accuracy": estimate_text("accuracy", found["test"]["accuracy"]),
                "gain": gain_text("accuracy", gain),
                "p_value": p_value_text(gain["p_value"]),
            }
        )
    return rows


def no_error_note(metrics: Mapping[str, Any]) -> str | None:
    """Return a caution if all test rows are correct, or too few for intervals."""
    if metrics["test"]["accuracy"]["value"] < 1:
        is_small = metrics["n_test"] < MIN_ROWS
        few = f"A dash marks intervals that {metrics['n_test']} test rows are too few to estimate."
        return few if is_small else None
    return (
        f"All {metrics['n_test']} test rows are labeled correctly, so the bootstrap shows no "
        "variation. The interval of the accuracy is the exact binomial one; a dash marks figures "
        "whose interval cannot be estimated."
    )


def figure_text(metric: str, value: float) -> str:
    """Return the value of a metric: ``93.1%`` for proportions, ``0.412`` for other metrics."""
    return f"{value:.1%}" if METRIC_TEXTS[metric].is_proportion else f"{value:.3f}"


def estimate_text(metric: str, figure: Mapping[str, float | None]) -> str:
    """Return the estimate of a metric, e.g. ``93.1% [90.2, 95.6]``."""
    spec = ".1%" if METRIC_TEXTS[metric].is_proportion else ".3f"
    return format(Estimate.from_json(figure), spec)


def gain_text(metric: str, figure: Mapping[str, float | None]) -> str:
    """Return the gain in a metric, e.g. ``+7.8 points [+4.2, +11.4]``."""
    spec = "+z.1p" if METRIC_TEXTS[metric].is_proportion else "+z.3f"
    # A minus sign is as wide as a plus sign, so the figures of a column line up.
    return format(Gain.from_json(figure), spec).replace("-", "\u2212")


def split_interval(text: str) -> tuple[str, str]:
    """Return the value and the interval of a formatted estimate.

    Examples:
        >>> split_interval("93.1% [90.2, 95.6]")
        ('93.1%', '[90.2, 95.6]')
    """
    value, _, interval = text.partition(" [")
    return value, f"[{interval}"


def gain_direction(metric: str, gain: Mapping[str, Any]) -> Literal["better", "worse", "unclear"]:
    """Return whether the whole interval of a gain lies on the better or on the worse side of 0."""
    if gain["low"] is None or gain["low"] <= 0 <= gain["high"]:
        return "unclear"
    return "better" if (gain["value"] < 0) == (metric in LOWER_IS_BETTER) else "worse"


def p_value_text(p_value: float | None) -> str:
    """Return a p-value with two significant digits, ``<0.001``, or a dash if there is none."""
    if p_value is None or np.isnan(p_value):
        return DASH
    return "<0.001" if p_value < 0.001 else f"{p_value:.2g}"


def read_confusion(path: Path) -> pd.DataFrame:
    """Return the confusion matrix: actual classes as rows, predicted classes as columns."""
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    names = set(rows["actual"]) | set(rows["predicted"])
    is_whole = all(name.lstrip("+-").isdecimal() for name in names)
    classes = sorted(names, key=int) if is_whole else sorted(names)
    counts = pd.crosstab(rows["actual"], rows["predicted"])
    return counts.reindex(index=classes, columns=classes, fill_value=0)


def class_figures(confusion: pd.DataFrame) -> pd.DataFrame:
    """Return number of test rows, recall and precision of each class, lowest recall first.

    Recall is NaN for a class without test rows, precision for a class that is never predicted.
    """
    hits = np.diag(confusion).astype(float)
    figures = pd.DataFrame(
        {
            "n_rows": confusion.sum(axis=1),
            "recall": hits / confusion.sum(axis=1).replace(0, np.nan),
            "precision": hits / confusion.sum(axis=0).replace(0, np.nan),
        },
        index=pd.Index(confusion.index, name="class"),
    )
    return figures.reset_index().sort_values("recall", kind="stable", ignore_index=True)


def frequent_confusions(confusion: pd.DataFrame, limit: int = 6) -> pd.DataFrame:
    """Return the most frequent errors: actual, predicted, n_rows, fraction of the actual class."""
    counts, names = confusion.to_numpy(), confusion.index
    errors = [(a, p) for a, p in np.argwhere(counts > 0) if a != p]
    errors = sorted(errors, key=lambda pair: -counts[pair])[:limit]
    return pd.DataFrame(
        [(names[a], names[p], counts[a, p], counts[a, p] / counts[a].sum()) for a, p in errors],
        columns=["actual", "predicted", "n_rows", "fraction"],
    )


def majority_accuracy(confusion: pd.DataFrame) -> float:
    """Return the accuracy of always predicting the most frequent class of the test rows."""
    n_actual = confusion.sum(axis=1)
    return float(n_actual.max() / n_actual.sum())


def majority_text(metrics: Mapping[str, Any], confusion: pd.DataFrame) -> str:
    """Return how the accuracy compares with always predicting the most frequent class."""
    accuracy = majority_accuracy(confusion)
    text = f"Always predicting the most frequent class would reach {accuracy:.1%}"
    if metrics["test"]["accuracy"]["low"] <= accuracy:
        text = f"{text}; the accuracy of this model is not significantly higher"
    balanced = estimate_text("balanced_accuracy", metrics["test"]["balanced_accuracy"])
    text = f"{text}. Balanced accuracy (mean recall over the classes) is {balanced}."
    missed = never_predicted(confusion)
    return f"{text} Never predicted: {missed}." if missed else text


def never_predicted(confusion: pd.DataFrame) -> str:
    """Return the classes that have test rows and are never predicted; empty if there are none."""
    n_actual, n_predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    missed = [name for name in confusion.index if n_actual[name] and not n_predicted[name]]
    return first_few([f"{name} ({count(n_actual[name], 'test row')})" for name in missed], 3)


def cross_validated_text(metrics: Mapping[str, Any], selection: Mapping[str, Any]) -> str | None:
    """Return the cross-validated accuracy if the test rows are fewer than ``MIN_ROWS_ACCURACY``."""
    if metrics["n_test"] >= MIN_ROWS_ACCURACY:
        return None
    return estimate_text("accuracy", selection["committees"]["selected"]["accuracy"])


def diversity_text(diversity: Mapping[str, Any]) -> str:
    """Return what section ``diversity`` of ``fidelity.json`` means."""
    return (
        f"{diversity['precision']:.0%} of the synthetic rows lie close to real rows (precision), "
        f"and {diversity['coverage']:.0%} of the real rows have a synthetic row as close as their "
        f"{diversity['k']} nearest real rows (coverage; other real rows would reach "
        f"{1 - 2 ** -diversity['k']:.0%})."
    )


def privacy_text(privacy: Mapping[str, Any]) -> str:
    """Return what section ``privacy`` of ``fidelity.json`` means."""
    strongest = max(privacy["attacks"].values(), key=lambda attack: float(attack["value"]))
    auc, n_held_out = Estimate.from_json(strongest), privacy["n_held_out"]
    if auc.low > 0.5:
        leak = (
            "The synthetic rows leak information about training rows: an attack separates training "
            f"rows from {n_held_out} held-out rows better than chance (ROC AUC {auc:.2f}; chance "
            "is 0.5). Do not publish them."
        )
    else:
        leak = (
            "No leak was detected: the stronger of two attacks does not separate training rows "
            f"from {n_held_out} held-out rows significantly better than chance (ROC AUC "
            f"{auc:.2f}; chance is 0.5)."
        )
    closest = privacy["closest_record"]
    closer = Estimate.from_json(closest["closer_share"])
    return (
        f"{leak} {closer:.0%} of the synthetic rows are closer to a training row than to any of as "
        f"many held-out rows (chance is 50%); {closest['copies_share']:.1%} equal a training row, "
        f"{closest['held_out_copies_share']:.1%} a held-out row."
    )


def leaks_text(fidelity: Mapping[str, Any]) -> str:
    """Return what section ``leaks`` of ``fidelity.json`` means."""
    leaks = fidelity["leaks"]
    n_rare, n_found = (
        sum(column[name] for column in leaks["columns"]) for name in ("n_rare", "n_found")
    )
    if leaks["passed"]:
        found = (
            f"No rare value leaked: of {n_rare} values and rows that fewer than "
            f"{leaks['min_rows']} real rows have, {n_found} occur in the synthetic rows, not more "
            "than chance explains."
        )
    else:
        n_columns = sum(column["is_leak"] for column in leaks["columns"])
        found = (
            f"Rare values leaked: {n_found} of {n_rare} values and rows that fewer than "
            f"{leaks['min_rows']} real rows have occur in the synthetic rows; "
            f"{count(n_columns, 'column')} leak, see `reports/fidelity.json`."
        )
    return found if fidelity["is_written"] else f"{found} The table of synthetic rows has no row."


def warnings_of(validation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the results of violated validation rules, errors first."""
    failed = [result for result in validation["results"] if not result["success"]]
    return sorted(failed, key=lambda result: result["severity"] != "error")
