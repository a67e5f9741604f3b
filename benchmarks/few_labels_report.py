"""Tables of the results of ``benchmarks.few_labels``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest, false_discovery_control, rankdata

from semigen.evaluation.statistics import holm

Record = dict[str, Any]
INTRODUCTION = (
    "# Classifiers from few labels\n\nAccuracies in %, means over draws; *gain* is semigen minus "
    "the peer that is best on that data set in hindsight, in points. Balanced accuracy and log "
    "loss are semigen's, with default parameters; *fallback* is the share of draws, in %, in which "
    "it used labels alone."
)


def write_report(path: Path) -> str:
    """Write the report of a file of JSON lines, and return its Markdown."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    sections = [INTRODUCTION]
    for budget in sorted({r["budget"] for r in records}):
        chosen = [r for r in records if r["budget"] == budget]
        sections.append(f"## {budget} labels\n\n{accuracy_table(chosen)}")
    sections.append(f"## Safety\n\n{safety(records)}")
    text = "\n\n".join(sections) + "\n"
    path.with_suffix(".md").write_text(text)
    return text


def accuracy_table(records: Sequence[Record]) -> str:
    """Return a row for each data set: means over draws, and semigen minus the best peer."""
    rows = [_row(name, [r for r in records if r["name"] == name]) for name in _names(records)]
    frame = pd.DataFrame(rows)
    means: Record = {"data": "mean", **frame.drop(columns="draws").mean(numeric_only=True)}
    worst: Record = {"data": "worst", "gain": float(frame["gain"].min())}
    header = list(rows[0])
    lines = [f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
    for row in [*rows, means, worst]:
        lines.append(f"| {' | '.join(_cell(row.get(key, ''), key) for key in header)} |")
    ranks = mean_ranks(records)
    order = sorted(ranks, key=lambda name: ranks[name])
    listing = ", ".join(f"{name} {ranks[name]:.1f}" for name in order)
    return "\n".join(lines) + f"\n\nMean ranks by accuracy (1 is best): {listing}."


def _row(name: str, draws: Sequence[Record]) -> Record:
    """Return the figures of one data set; the best peer is chosen in hindsight, by its mean."""
    peers = {
        peer: float(np.mean([d["peers"][peer]["accuracy"] for d in draws]))
        for peer in draws[0]["peers"]
    }
    best = max(peers, key=lambda peer: peers[peer])

    def mean(part: str, metric: str) -> float:
        return float(np.mean([d[part][metric] for d in draws]))

    return {
        "data": name,
        "draws": len(draws),
        "best peer": best,
        "its accuracy": 100 * peers[best],
        "labels only": 100 * mean("labels_only", "accuracy"),
        "semigen": 100 * mean("semigen", "accuracy"),
        "gain": 100 * (mean("semigen", "accuracy") - peers[best]),
        "balanced": 100 * mean("semigen", "balanced_accuracy"),
        "fallback": 100 * float(np.mean([d["is_fallback"] for d in draws])),
        "log loss": mean("semigen", "log_loss"),
        "log loss, labels only": mean("labels_only", "log_loss"),
        "seconds": float(np.mean([d["seconds"] for d in draws])),
        "CPU seconds": float(np.mean([d["cpu_seconds"] for d in draws])),
    }


def mean_ranks(records: Sequence[Record]) -> dict[str, float]:
    """Return the mean rank of semigen and every peer over data sets, by mean accuracy."""
    methods = ["semigen", *records[0]["peers"]]
    ranks = []
    for name in _names(records):
        draws = [r for r in records if r["name"] == name]
        scores = [
            np.mean(
                [(r["semigen"] if m == "semigen" else r["peers"][m])["accuracy"] for r in draws]
            )
            for m in methods
        ]
        ranks.append(rankdata([-score for score in scores]))
    return dict(zip(methods, np.mean(ranks, axis=0).tolist(), strict=True))


def safety(records: Sequence[Record]) -> str:
    """Return how often semigen was significantly worse than its own labels-only committee.

    McNemar's exact test, one-sided, for every cell, on the rows that only one of the two classifies
    correctly; with Holm's correction over all cells.
    """
    p_values = holm(np.array([_p_worse(r["differences"]) for r in records]))
    worse = [r for r, p in zip(records, p_values, strict=True) if p < 0.05]
    listing = f": {'; '.join(_lost(r) for r in worse)}" if worse else ""
    n_gains = int(
        (false_discovery_control([_p_better(r["differences"]) for r in records]) < 0.05).sum()
    )
    n_fallbacks = sum(r["is_fallback"] for r in records)
    most = {key: max(r[key] for r in records) for key in ("peak_gib", "seconds", "cpu_seconds")}
    return (
        f"{len(records)} cells (data, labels, draw): semigen is significantly below its "
        f"labels-only committee in {len(worse)} (McNemar's exact test, one-sided, Holm's "
        f"correction, 5 %{listing}), and significantly above in {n_gains} (false discovery rate of "
        f"5 %). It fell back to labels alone in {n_fallbacks} "
        f"({n_fallbacks / len(records):.0%}). Most memory: {most['peak_gib']:.1f} GiB; "
        f"most time: {most['seconds']:.0f} s, {most['cpu_seconds']:.0f} CPU s."
    )


def _lost(record: Record) -> str:
    points = 100 * (record["semigen"]["accuracy"] - record["labels_only"]["accuracy"])
    return f"{record['name']}, {record['budget']} labels, draw {record['draw']}, {points:+.1f}"


def _p_worse(differences: dict[str, int]) -> float:
    return _p_greater(differences["only_labels"], differences["only_semigen"])


def _p_better(differences: dict[str, int]) -> float:
    return _p_greater(differences["only_semigen"], differences["only_labels"])


def _p_greater(one: int, other: int) -> float:
    return float(binomtest(one, one + other, alternative="greater").pvalue) if one + other else 1.0


def _names(records: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(r["name"] for r in records))


def _cell(value: Any, key: str) -> str:
    if not isinstance(value, float):
        return str(value)
    digits = {"gain": "+.2f", "log loss": ".3f", "log loss, labels only": ".3f"}
    return "" if np.isnan(value) else format(value, digits.get(key, ".1f"))
