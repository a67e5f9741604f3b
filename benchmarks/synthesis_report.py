"""Tables of ``benchmarks.synthesis``: figures by model, and the goals for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Record = dict[str, Any]
"""One fit: ``model``, ``seed``, ``facts`` of the fit, and an entry for each kind of evaluation."""


@dataclass(frozen=True)
class Figure:
    """A row of the table.

    Attributes:
        title: Title of the row.
        read: Returns the value from a record; raises ``KeyError`` if the record has none.
        show: Format of the values.
    """

    title: str
    read: Callable[[Record], float]
    show: str


def _fact(name: str) -> Callable[[Record], float]:
    return lambda record: float(record["facts"][name])


def _fidelity(name: str) -> Callable[[Record], float]:
    return lambda record: float(record["fidelity"][name])


def _tstr(metric: str) -> Callable[[Record], float]:
    return lambda record: 100 * float(record["utility"]["synthetic"][metric]["value"])


def _diversity(name: str) -> Callable[[Record], float]:
    return lambda record: float(record["diversity"][name])


def _closest(name: str) -> Callable[[Record], float]:
    return lambda record: float(record["privacy"]["closest_record"][name])


def _closer_share(record: Record) -> float:
    return float(record["privacy"]["closest_record"]["closer_share"]["value"])


def _attack(end: str) -> Callable[[Record], float]:
    def read(record: Record) -> float:
        attacks = record["privacy"]["attacks"].values()
        return float(max(attacks, key=lambda attack: float(attack["value"]))[end])

    return read


FIGURES = (
    Figure("fit, seconds", _fact("fit_seconds"), "{:.1f}"),
    # Other jobs on the machine hardly affect CPU seconds.
    Figure("fit, CPU seconds", _fact("fit_cpu_seconds"), "{:.1f}"),
    Figure("sampling, rows/s, encoded", _fact("rows_per_second"), "{:,.0f}"),
    Figure("sampling, rows/s, readable", _fact("decoded_rows_per_second"), "{:,.0f}"),
    Figure("training, share of the matmul ceiling", _fact("share_of_ceiling"), "{:.1%}"),
    Figure("column distance, mean", _fidelity("mean_distance"), "{:.4f}"),
    Figure("column distance, largest", _fidelity("max_distance"), "{:.4f}"),
    Figure("correlation difference", _fidelity("correlation_difference"), "{:.4f}"),
    Figure("TSTR accuracy, %", _tstr("accuracy"), "{:.2f}"),
    Figure("TSTR macro-F1, %", _tstr("macro_f1"), "{:.2f}"),
    Figure("TSTR ROC AUC, %", _tstr("roc_auc"), "{:.2f}"),
    Figure("precision", _diversity("precision"), "{:.3f}"),
    Figure("recall", _diversity("recall"), "{:.3f}"),
    Figure("density", _diversity("density"), "{:.3f}"),
    Figure("coverage", _diversity("coverage"), "{:.3f}"),
    Figure("share closer to training than to test rows", _closer_share, "{:.3f}"),
    Figure("share that equals a training row", _closest("copies_share"), "{:.4f}"),
    Figure("share that equals a test row", _closest("held_out_copies_share"), "{:.4f}"),
    Figure("median distance to training rows", _closest("median_to_training"), "{:.3f}"),
    Figure("median distance to test rows", _closest("median_to_held_out"), "{:.3f}"),
    Figure("membership AUC, strongest attack", _attack("value"), "{:.3f}"),
    Figure("its interval, low end", _attack("low"), "{:.3f}"),
    Figure("its interval, high end", _attack("high"), "{:.3f}"),
)


@dataclass(frozen=True)
class Bar:
    """A goal of the benchmark and the measured value.

    Attributes:
        title: Name of the figure.
        measured: Measured value; NaN if a model that it compares was not fitted.
        limit: Limit of the value.
        is_minimum: Whether the limit is a minimum instead of a maximum.
        show: Format of both values.
    """

    title: str
    measured: float
    limit: float
    is_minimum: bool
    show: str

    @property
    def verdict(self) -> str:
        if np.isnan(self.measured):
            return "not measured"
        is_met = self.measured >= self.limit if self.is_minimum else self.measured <= self.limit
        return "met" if is_met else "not met"

    def line(self) -> str:
        """Return the goal as a row of a Markdown table."""
        required = f"{'≥' if self.is_minimum else '≤'} {self.show.format(self.limit)}"
        measured = "" if np.isnan(self.measured) else self.show.format(self.measured)
        return f"| {self.title} | {required} | {measured} | {self.verdict} |"


def bars(records: Sequence[Record], families: Sequence[str], neighbors_seconds: float) -> list[Bar]:
    """Return all goals: means over fits, medians of times, and the privacy of the worst fit."""
    found = [Bar("neighbors, 30,000 x 30,000, seconds", neighbors_seconds, 20, False, "{:.1f}")]
    for family in families:
        seconds = _over_fits(records, family, _fact("fit_seconds"), np.median)
        to_peers = {
            peer: _over_fits(records, peer, _fact("fit_seconds"), np.median) / seconds
            for peer in ("CTGAN", "TVAE")
        }
        macro_f1 = _over_fits(records, family, _tstr("macro_f1"), np.mean)
        roc_auc = _over_fits(records, family, _tstr("roc_auc"), np.mean)
        attack = _over_fits(records, family, _attack("value"), np.max)
        speed = _over_fits(records, family, _fact("rows_per_second"), np.median)
        found += [
            Bar(f"{family}: TSTR macro-F1, %", macro_f1, 79.0, True, "{:.2f}"),
            Bar(f"{family}: TSTR ROC AUC, %", roc_auc, 90.0, True, "{:.2f}"),
            Bar(f"{family}: membership AUC, worst fit", attack, 0.55, False, "{:.3f}"),
            Bar(f"{family}: fit, seconds", seconds, 60, False, "{:.1f}"),
            Bar(f"{family}: times faster than CTGAN", to_peers["CTGAN"], 12, True, "{:.1f}"),
            Bar(f"{family}: times faster than TVAE", to_peers["TVAE"], 3, True, "{:.1f}"),
            Bar(f"{family}: sampling, rows/s", speed, 200_000, True, "{:,.0f}"),
        ]
    return found


def _over_fits(
    records: Sequence[Record],
    model: str,
    read: Callable[[Record], float],
    reduce: Callable[[list[float]], Any],
) -> float:
    values = [read(record) for record in records if record["model"] == model]
    return float(reduce(values)) if values else float("nan")


def markdown(
    about: Mapping[str, Any], models: Sequence[str], records: Sequence[Record], found: Sequence[Bar]
) -> str:
    """Return the report: the machine, a column of figures for each model, and the goals."""
    fits = {model: [r for r in records if r["model"] == model] for model in models}
    fits = {model: own for model, own in fits.items() if own}
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    head = [f"{model} ({len(own)})" for model, own in fits.items()]
    lines = [
        "# Synthetic rows of Adult",
        "",
        f"{about['date']}, {about['cpu']}, {about['cores']} cores, {about['threads']} threads per "
        f"process. `{about['command']}`. {versions}.",
        "",
        "Means over fits (their number is in the header) with minimum and maximum.",
        "",
        f"| figure | {' | '.join(head)} |",
        f"| --- {'| ---: ' * len(head)}|",
        *(
            f"| {figure.title} | {' | '.join(_cell(figure, own) for own in fits.values())} |"
            for figure in FIGURES
        ),
        "",
        "| goal | required | measured | |",
        "| --- | ---: | ---: | --- |",
        *(bar.line() for bar in found),
    ]
    return "\n".join(lines) + "\n"


def _cell(figure: Figure, records: Sequence[Record]) -> str:
    try:
        values = [figure.read(record) for record in records]
    except KeyError:
        return ""
    shown = [figure.show.format(value) for value in (np.mean(values), min(values), max(values))]
    return shown[0] if shown[1] == shown[2] else f"{shown[0]} ({shown[1]} to {shown[2]})"
