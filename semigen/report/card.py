"""The model card: intended use, measured performance and limits of the model.

After Mitchell et al. (2019), "Model Cards for Model Reporting". The card depends only on the given
artifacts, so equal runs give equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from semigen.report.markdown import escape, join, section, table
from semigen.report.summary import (
    METRIC_TEXTS,
    ablation_rows,
    candidates_of,
    class_figures,
    cross_validated_text,
    diversity_text,
    estimate_text,
    gain_text,
    leaks_text,
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
from semigen.wording import first_few

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
        schema: Columns and classes of the table.
        validation: Content of ``validation.json``.
        selection: Content of ``selection.json``.
        fidelity: Content of ``fidelity.json``.
        metrics: Content of ``metrics.json``.
        confusion: Confusion matrix of the test rows (``read_confusion``).
        confidence: Coverage of the intervals.
    """
    page = join(
        f"# Model card: {escape(schema.target)}",
        *_model(schema, selection),
        _data(schema, validation),
        _use(schema),
        _performance(metrics, selection, confusion, confidence),
        _selection(selection),
        _synthetic(fidelity),
        _limits(metrics, confusion, validation, fidelity),
    )
    return page + "\n"


def _model(schema: TableSchema, selection: Mapping[str, Any]) -> tuple[str, str]:
    uses = uses_of_selected(selection)
    *others, last = ["labeled", *uses]
    rows = f"{', '.join(others)} and {last}" if others else last
    return (
        f"A classifier that predicts column {escape(schema.target)} ({len(schema.classes)} "
        f"classes) from {len(schema.features)} feature columns. The selected candidate is "
        f'"{escape(selection["selected"])}", trained on {rows} rows.',
        f"Classes: {_listing(schema.classes)}.",
    )


def _data(schema: TableSchema, validation: Mapping[str, Any]) -> str:
    kinds = [(kind, len(schema.of_kind(kind))) for kind in ("numeric", "category", "boolean")]
    ignored = [f"{c['column']} ({c['reason']})" for c in validation["ignored_columns"]]
    rows = [
        (part, escape(validation["files"].get(part, "")), validation["n_rows"][part])
        for part in ("labeled", "unlabeled", "test")
    ]
    features = "Feature columns: " + ", ".join(f"{n} {kind}" for kind, n in kinds if n) + "."
    return section(
        "Data",
        table(("part", "file", "rows"), rows),
        f"{features}\nIgnored columns: {_listing(ignored)}." if ignored else features,
    )


def _use(schema: TableSchema) -> str:
    return section(
        "Intended use",
        f"To predict {escape(schema.target)} for new rows from the same source as the unlabeled "
        "table. Each prediction comes with class probabilities and a novelty score; do not rely on "
        "predictions for rows with high novelty. Decisions about people need human review and the "
        "checks listed under limits.",
    )


def _performance(
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
    sentence = verdict(metrics, selection, confidence).sentence
    return section(
        "Performance on test rows",
        f"{metrics['n_test']} test rows that were not used for training or selection. Brackets are "
        f"{confidence:.0%} intervals. Labels only: {escape(selection['labels_only'])}, "
        f"the best by cross-validation among the candidates trained on the {metrics['n_labeled']} "
        "labeled rows only.",
        table(("metric", "this model", "labels only", "gain", "p-value of the gain"), rows),
        f"{escape(sentence)} {escape(majority_text(metrics, confusion))}",
        _cross_validated(metrics, selection),
        no_error_note(metrics) or "",
        *_ablation(metrics),
    )


def _cross_validated(metrics: Mapping[str, Any], selection: Mapping[str, Any]) -> str:
    accuracy = cross_validated_text(metrics, selection)
    if accuracy is None:
        return ""
    return (
        f"Test rows are few. Accuracy by cross-validation on the {metrics['n_labeled']} labeled "
        f"rows, slightly optimistic: {accuracy}."
    )


def _ablation(metrics: Mapping[str, Any]) -> tuple[str, ...]:
    if not metrics["ablation"]:
        return ()
    header = ("trained on", "accuracy", "gain over labels only", "p-value")
    rows = [tuple(row.values()) for row in ablation_rows(metrics)]
    return "Ablation: accuracy by the kinds of rows used for training.", table(header, rows)


def _selection(selection: Mapping[str, Any]) -> str:
    rows = [
        (
            escape(candidate["name"]),
            ", ".join(["labels", *candidate["uses"]]),
            estimate_text("accuracy", candidate["accuracy"]),
            estimate_text("log_loss", candidate["log_loss"]),
            weight_text(selection, candidate["name"]),
        )
        for candidate in candidates_of(selection)
    ]
    return section(
        "Selection",
        f"By cross-validation on the labeled rows ({selection['n_splits']} splits); test rows were "
        f"not used. Reason: {escape(selection['reason'].rstrip('.'))}. The score of the best of "
        "several candidates is optimistic here; the scores on test rows are not.",
        table(("candidate", "trained on", "accuracy", "log loss", "weight"), rows),
    )


def _synthetic(fidelity: Mapping[str, Any]) -> str:
    if not fidelity["n_synthetic"]:
        return section("Synthetic rows", "There are no synthetic rows.")
    return section(
        "Synthetic rows",
        f"{fidelity['n_synthetic']} rows, {fidelity['accepted_share']:.0%} of the rows drawn. "
        f"Distance from {fidelity['n_real']} real rows by column (0 if the distributions are "
        f"equal, 1 if they do not overlap): mean {fidelity['mean_distance']:.3f}, maximum "
        f"{fidelity['max_distance']:.3f}. Mean absolute difference of the correlations: "
        f"{fidelity['correlation_difference']:.3f}.",
        diversity_text(fidelity["diversity"]) if fidelity.get("diversity") else "",
        leaks_text(fidelity) if fidelity.get("leaks") else "",
        privacy_text(fidelity["privacy"]) if fidelity.get("privacy") else "",
    )


def _limits(
    metrics: Mapping[str, Any],
    confusion: pd.DataFrame,
    validation: Mapping[str, Any],
    fidelity: Mapping[str, Any],
) -> str:
    weakest = class_figures(confusion).dropna(subset="recall").iloc[0]
    items = [
        f"The class with the lowest recall is {escape(weakest['class'])}: {weakest['recall']:.1%} "
        f"of its {weakest['n_rows']} test rows are labeled correctly.",
        "Fairness: accuracy was not measured by group of people and may differ between groups. "
        "Compare groups before use.",
        "Privacy: the model folders hold fitted parameters and statistics of columns, none of "
        "which is the value of few rows (`privacy.min_rows`), and no training rows. Membership "
        f"inference from the models was not measured{_attacks(fidelity)}. Treat synthetic rows "
        "like real rows.",
        f"The intervals cover the random choice of the {metrics['n_test']} test rows, not that of "
        "the labeled rows, and not changes of the data after training.",
        *(f"Data: {escape(result['message'])}" for result in warnings_of(validation)[:MAX_LISTED]),
    ]
    return section("Limits", "\n".join(f"- {item}" for item in items))


def _attacks(fidelity: Mapping[str, Any]) -> str:
    if fidelity.get("privacy"):
        return "; two attacks on the synthetic rows were, and other attacks may infer more"
    return ", nor whether synthetic rows are close to real rows"


def _listing(names: Iterable[str]) -> str:
    return first_few([escape(name) for name in names], MAX_LISTED)
