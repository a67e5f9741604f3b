"""The model card: what the model is, what it was measured to do, and what was not measured.

After Mitchell et al. (2019), "Model Cards for Model Reporting". It depends on nothing but the
artifacts given, so that equal runs give equal bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from semigen.report.summary import (
    METRIC_TEXTS,
    ablation_rows,
    candidates_of,
    class_figures,
    diversity_text,
    estimate_text,
    gain_text,
    majority_text,
    no_error_note,
    p_value_text,
    privacy_text,
    uses_of_selected,
    verdict,
    warnings_of,
    weight_text,
)
from semigen.tables.schema import TableSchema

MAX_LISTED = 20


def model_card(
    *,
    schema: TableSchema,
    validation: Mapping[str, Any],
    selection: Mapping[str, Any],
    fidelity: Mapping[str, Any],
    metrics: Mapping[str, Any],
    confusion: pd.DataFrame,
    confidence: float,
) -> str:
    """Return the model card in Markdown.

    Args:
        schema: The table's columns and classes.
        validation: Content of ``validation.json``.
        selection: Content of ``selection.json``.
        fidelity: Content of ``fidelity.json``.
        metrics: Content of ``metrics.json``.
        confusion: Confusion counts of the test rows (``read_confusion``).
        confidence: Coverage of the intervals.
    """
    sections = [
        _model(schema, selection),
        _data(schema, validation),
        _use(schema),
        _figures(metrics, selection, confusion, confidence),
        _selection(selection),
        _synthetic(fidelity),
        _limits(metrics, confusion, validation, fidelity),
    ]
    return "\n\n".join(sections) + "\n"


def _model(schema: TableSchema, selection: Mapping[str, Any]) -> str:
    uses = uses_of_selected(selection)
    learns_from = " and ".join(["the labels", *([f"{', '.join(uses)} rows"] if uses else [])])
    return _lines(
        f"# Model card: {_text(schema.target)}",
        "",
        f"A classifier that predicts the column {_text(schema.target)} "
        f"({len(schema.classes)} classes) from {len(schema.features)} feature columns of a table. "
        f"It is the candidate {_text(selection['selected'])}, which learns from {learns_from}.",
        "",
        f"Classes: {_listing(schema.classes)}.",
    )


def _data(schema: TableSchema, validation: Mapping[str, Any]) -> str:
    kinds = [(kind, len(schema.of_kind(kind))) for kind in ("numeric", "category", "boolean")]
    ignored = [f"{c['column']} ({c['reason']})" for c in validation["ignored_columns"]]
    rows = [
        (part, _text(validation["files"].get(part, "")), validation["n_rows"][part])
        for part in ("labeled", "unlabeled", "test")
    ]
    return _lines(
        "## Data",
        "",
        *_table(("part", "file", "rows"), rows),
        "",
        "Feature columns: " + ", ".join(f"{n} {kind}" for kind, n in kinds if n) + ".",
        *([f"Ignored columns: {_listing(ignored)}."] if ignored else []),
    )


def _use(schema: TableSchema) -> str:
    return _lines(
        "## Intended use",
        "",
        f"To predict {_text(schema.target)} for new rows that come from the same source as the "
        "unlabeled table, with a probability for each class and a novelty figure for each row. "
        "A prediction for a row unlike those is a guess: look at its novelty. Decisions about "
        "people need a check by people, and the checks named under limits.",
    )


def _figures(
    metrics: Mapping[str, Any],
    selection: Mapping[str, Any],
    confusion: pd.DataFrame,
    confidence: float,
) -> str:
    rows = [
        (
            text.title,
            estimate_text(metric, metrics["test"][metric]),
            estimate_text(metric, metrics["labels_only"][metric]),
            gain_text(metric, metrics["gain"][metric]),
            p_value_text(metrics["gain"][metric]["p_value"]),
        )
        for metric, text in METRIC_TEXTS.items()
    ]
    note = no_error_note(metrics)
    return _lines(
        "## Figures on test rows",
        "",
        f"{metrics['n_test']} test rows that nothing was fitted or selected on; in parentheses "
        f"{confidence:.0%} bootstrap intervals. Labels only is {_text(selection['labels_only'])}, "
        f"the best by cross-validation that sees no more than the {metrics['n_labeled']} labeled "
        "rows.",
        "",
        *_table(("metric", "this model", "labels only", "gain", "p-value of the gain"), rows),
        "",
        _text(verdict(metrics, selection, confidence).sentence)
        + f" {majority_text(metrics, confusion)}",
        *(["", note] if note else []),
        *_ablation(metrics),
    )


def _ablation(metrics: Mapping[str, Any]) -> list[str]:
    if not metrics["ablation"]:
        return []
    header = ("learns from", "accuracy", "gain over labels only", "p-value")
    rows = [tuple(row.values()) for row in ablation_rows(metrics)]
    return ["", "What each kind of rows is worth:", "", *_table(header, rows)]


def _selection(selection: Mapping[str, Any]) -> str:
    rows = [
        (
            _text(candidate["name"]),
            ", ".join(["labels", *candidate["uses"]]),
            estimate_text("accuracy", candidate["accuracy"]),
            estimate_text("log_loss", candidate["log_loss"]),
            weight_text(selection, candidate["name"]),
        )
        for candidate in candidates_of(selection)
    ]
    return _lines(
        "## How it was selected",
        "",
        f"By cross-validation on the labeled rows ({selection['n_splits']} splits); no test row "
        f"was looked at. Reason: {_text(selection['reason'].rstrip('.'))}. The best of several is "
        "by that a little flattered; the figures on test rows are not.",
        "",
        *_table(("candidate", "learns from", "accuracy", "log loss", "weight"), rows),
    )


def _synthetic(fidelity: Mapping[str, Any]) -> str:
    if not fidelity["n_synthetic"]:
        return _lines("## Synthetic rows", "", "None were made.")
    return _lines(
        "## Synthetic rows",
        "",
        f"{fidelity['n_synthetic']} rows, {fidelity['accepted_share']:.0%} of those drawn. "
        f"Distance from {fidelity['n_real']} real rows by column (0 alike, 1 apart): mean "
        f"{fidelity['mean_distance']:.3f}, largest {fidelity['max_distance']:.3f}. Mean difference "
        f"of correlations: {fidelity['correlation_difference']:.3f}.",
        *(["", diversity_text(fidelity["diversity"])] if fidelity.get("diversity") else []),
        *(["", privacy_text(fidelity["privacy"])] if fidelity.get("privacy") else []),
    )


def _limits(
    metrics: Mapping[str, Any],
    confusion: pd.DataFrame,
    validation: Mapping[str, Any],
    fidelity: Mapping[str, Any],
) -> str:
    weakest = class_figures(confusion).dropna(subset="recall").iloc[0]
    warnings = [
        f"- Data: {_text(result['message'])}" for result in warnings_of(validation)[:MAX_LISTED]
    ]
    return _lines(
        "## Limits",
        "",
        f"- The weakest class is {_text(weakest['class'])}: {weakest['recall']:.1%} of its "
        f"{weakest['n_rows']} test rows are labeled correctly.",
        "- Fairness: no figure was computed by group of people; accuracy may differ between "
        "groups. Compare groups before use.",
        "- Privacy: the model folders hold fitted parameters and statistics of columns (ranges, "
        "quantiles, category names), no table of training rows. What can be inferred from them "
        f"about single rows (membership inference) was not measured{_attacked(fidelity)}; treat "
        "synthetic rows as if they were real.",
        f"- The intervals cover the chance of drawing these {metrics['n_test']} test rows, not the "
        "chance of drawing the labeled ones, and not a change of the data after training.",
        *warnings,
    )


def _attacked(fidelity: Mapping[str, Any]) -> str:
    if fidelity.get("privacy"):
        return ", only what two attacks infer from the synthetic rows; others may infer more"
    return ", nor whether synthetic rows come close to real ones"


def _lines(*lines: str) -> str:
    return "\n".join(lines)


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(str(cell) for cell in line) + " |" for line in lines]


def _listing(names: Iterable[str]) -> str:
    names = list(names)
    shown = ", ".join(_text(name) for name in names[:MAX_LISTED])
    rest = len(names) - MAX_LISTED
    return f"{shown} and {rest} more" if rest > 0 else shown


def _text(value: object) -> str:
    """Return text from data such that Markdown, and HTML in it, takes it literally."""
    return re.sub(r"([\\`*_\[\]<>|#~$&])", r"\\\1", " ".join(str(value).split()))
