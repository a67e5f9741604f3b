"""What the report and the model card say in words, and the small tables that both show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from semigen.ablation import LEARNS_FROM
from semigen.evaluation.metrics import LOWER_IS_BETTER

Outcome = Literal["helped", "not shown", "worse", "not used"]


@dataclass(frozen=True)
class MetricText:
    """How a metric is named, explained and printed."""

    title: str
    meaning: str
    is_share: bool


METRIC_TEXTS = {
    "accuracy": MetricText("Accuracy", "share of rows labeled correctly", True),
    "balanced_accuracy": MetricText(
        "Balanced accuracy", "mean over classes of the share labeled correctly", True
    ),
    "macro_f1": MetricText(
        "Macro F1", "mean over classes of F1, the balance of precision and recall", True
    ),
    "log_loss": MetricText(
        "Log loss", "surprise at the true label in nats; lower is better", False
    ),
    "roc_auc": MetricText("ROC AUC", "how well each class is ranked above the others", False),
    "calibration_error": MetricText(
        "Calibration error",
        "mean gap of stated probability and accuracy; lower is better, and few rows overstate it",
        True,
    ),
}


@dataclass(frozen=True)
class Verdict:
    """Whether unlabeled rows helped on the test rows, in one word and one or two sentences."""

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
            f"Unlabeled rows are not used: cross-validation on the labeled rows selected "
            f"{selection['selected']}, which learns from labels alone; there is no gain to judge.",
        )
    gain = metrics["gain"]["accuracy"]
    interval = (
        f"{points(gain['low'])} to {points(gain['high'])} at {confidence:.0%} confidence, "
        f"p-value {p_value_text(gain['p_value'])}"
    )
    if gain["low"] > 0:
        return Verdict(
            "helped",
            f"Unlabeled rows helped: accuracy is {100 * gain['value']:.1f} points above labels "
            f"only ({interval}).",
        )
    if gain["high"] < 0:
        return Verdict(
            "worse",
            f"Unlabeled rows made it worse: accuracy is {-100 * gain['value']:.1f} points below "
            f"labels only ({interval}). Prefer the labels-only classifier.",
        )
    return Verdict(
        "not shown",
        "A gain from unlabeled rows is not shown: the difference in accuracy, "
        f"{points(gain['value'])} points, may be chance ({interval}).",
    )


def uses_of_selected(selection: Mapping[str, Any]) -> list[str]:
    """Return what the selected classifier learns from besides labels."""
    by_name = {candidate["name"]: candidate for candidate in candidates_of(selection)}
    uses: list[str] = by_name[selection["selected"]]["uses"]
    return uses


def candidates_of(selection: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return all candidates, committees included, least log loss first: it is what decides."""
    alone = selection["candidates"]
    names = {candidate["name"] for candidate in alone}
    committees = {c["name"]: c for c in selection["committees"].values()}
    several = [committee for name, committee in committees.items() if name not in names]
    return sorted([*alone, *several], key=lambda c: float(c["log_loss"]["value"]))


def weight_text(selection: Mapping[str, Any], candidate: str) -> str:
    """Return how much a learner counts in the selected classifier, in percent, if it does."""
    weights = selection["committees"]["selected"]["weights"]
    return f"{weights[candidate]:.0%}" if candidate in weights else ""


def ablation_rows(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return accuracy on the test rows by what is learned from, with the gain over labels only."""
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
    """Return a caution when every test row is right, where bootstrap intervals have no width."""
    if metrics["test"]["accuracy"]["value"] < 1:
        return None
    return (
        f"No test row is wrong, so resampling shows no spread, but {metrics['n_test']} rows cannot "
        "show perfection: the interval of the accuracy is the exact binomial one, those of the "
        "other metrics are too narrow."
    )


def figure_text(metric: str, value: float) -> str:
    """Return a metric's value for people: ``93.1%`` for shares, ``0.412`` for the others."""
    return f"{value:.1%}" if METRIC_TEXTS[metric].is_share else f"{value:.3f}"


def estimate_text(metric: str, estimate: Mapping[str, float]) -> str:
    """Return ``93.1% (90.2 to 95.6)``."""
    return f"{figure_text(metric, estimate['value'])} ({interval_text(metric, estimate)})"


def interval_text(metric: str, estimate: Mapping[str, float]) -> str:
    """Return ``90.2 to 95.6``, in percent for shares."""
    if METRIC_TEXTS[metric].is_share:
        return f"{100 * estimate['low']:.1f} to {100 * estimate['high']:.1f}"
    return f"{estimate['low']:.3f} to {estimate['high']:.3f}"


def gain_text(metric: str, gain: Mapping[str, float]) -> str:
    """Return ``+7.8 (+4.2 to +11.4)``, in points for shares."""
    show = points if METRIC_TEXTS[metric].is_share else _signed
    return f"{show(gain['value'])} ({show(gain['low'])} to {show(gain['high'])})"


def gain_direction(metric: str, gain: Mapping[str, float]) -> Literal["better", "worse", "unclear"]:
    """Return on which side of zero a gain's whole interval lies, as good or bad."""
    if gain["low"] <= 0 <= gain["high"]:
        return "unclear"
    return "better" if (gain["value"] < 0) == (metric in LOWER_IS_BETTER) else "worse"


def points(share: float) -> str:
    """Return a difference of shares as signed percentage points."""
    return _minus(f"{100 * share + 0.0:+.1f}")


def p_value_text(p_value: float) -> str:
    """Return two digits, or ``<0.001``."""
    return "<0.001" if p_value < 0.001 else f"{p_value:.2g}"


def read_confusion(path: Path) -> pd.DataFrame:
    """Return the confusion counts: actual classes down, predicted ones across, in order."""
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    names = set(rows["actual"]) | set(rows["predicted"])
    is_whole = all(name.lstrip("+-").isdecimal() for name in names)
    classes = sorted(names, key=int) if is_whole else sorted(names)
    counts = pd.crosstab(rows["actual"], rows["predicted"])
    return counts.reindex(index=classes, columns=classes, fill_value=0)


def class_figures(confusion: pd.DataFrame) -> pd.DataFrame:
    """Return test rows, recall and precision of each class, lowest recall first.

    Recall is NaN where a class has no test row, precision where it is never predicted.
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


def frequent_confusions(confusion: pd.DataFrame, n_most: int = 6) -> pd.DataFrame:
    """Return the most frequent errors: actual, predicted, rows, share of the actual class."""
    counts, names = confusion.to_numpy(), confusion.index
    errors = [(a, p) for a, p in np.argwhere(counts > 0) if a != p]
    errors = sorted(errors, key=lambda pair: -counts[pair])[:n_most]
    return pd.DataFrame(
        [(names[a], names[p], counts[a, p], counts[a, p] / counts[a].sum()) for a, p in errors],
        columns=["actual", "predicted", "n_rows", "share"],
    )


def majority_share(confusion: pd.DataFrame) -> float:
    """Return the accuracy of always naming the test rows' most frequent class."""
    n_actual = confusion.sum(axis=1)
    return float(n_actual.max() / n_actual.sum())


def majority_text(metrics: Mapping[str, Any], confusion: pd.DataFrame) -> str:
    """Return how the accuracy compares with always naming the most frequent class."""
    share = majority_share(confusion)
    said = f"Always naming the most frequent class would score {share:.1%}"
    if metrics["test"]["accuracy"]["low"] > share:
        return f"{said}."
    return (
        f"{said}: by accuracy this model is not shown to be better than that. Look at balanced "
        "accuracy and ROC AUC."
    )


def diversity_text(diversity: Mapping[str, Any]) -> str:
    """Return what ``diversity`` of ``fidelity.json`` means, in one sentence."""
    return (
        f"{diversity['precision']:.0%} of the synthetic rows lie among real ones (precision), and "
        f"{diversity['coverage']:.0%} of the real rows have a synthetic one as near as their "
        f"{diversity['k']} nearest real ones (coverage; {1 - 2 ** -diversity['k']:.0%} is what "
        "other real rows would reach)."
    )


def privacy_text(privacy: Mapping[str, Any]) -> str:
    """Return what ``privacy`` of ``fidelity.json`` means, in a few sentences."""
    attack = max(privacy["attacks"].values(), key=lambda attack: float(attack["value"]))
    closest = privacy["closest_record"]
    figures = f"AUC {attack['value']:.2f}, {attack['low']:.2f} to {attack['high']:.2f}"
    if attack["low"] > 0.5:
        leak = (
            f"The synthetic rows give away training rows: an attack tells those from "
            f"{privacy['n_held_out']} held-out rows better than guessing ({figures}; guessing has "
            "0.5). Do not publish them."
        )
    else:
        leak = (
            "No leak was found: the stronger of two attacks tells training rows from "
            f"{privacy['n_held_out']} held-out ones no better than guessing, as far as so many can "
            f"show ({figures}; guessing has 0.5)."
        )
    share = closest["closer_share"]
    return (
        f"{leak} {share['value']:.0%} ({100 * share['low']:.0f} to {100 * share['high']:.0f}) of "
        "the synthetic rows are closer to a training row than to any of as many held-out ones, 50% "
        f"being chance; {closest['copies_share']:.1%} equal a training row, "
        f"{closest['held_out_copies_share']:.1%} a held-out one."
    )


def warnings_of(validation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the validation results that failed, errors first."""
    failed = [result for result in validation["results"] if not result["success"]]
    return sorted(failed, key=lambda result: result["severity"] != "error")


def _signed(value: float) -> str:
    return _minus(f"{value + 0.0:+.3f}")


def _minus(text: str) -> str:
    # A true minus sign is as wide as the plus, so that figures in a column line up.
    return text.replace("-", "\u2212")
