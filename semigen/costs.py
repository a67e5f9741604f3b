"""Estimates of a stage's CPU time and memory, by a linear model fitted to measured runs.

``benchmarks/stage_costs.py`` measures and fits; ``benchmarks/results/stage_costs.json`` has the
measurements. A term of the model is a quantity that time or memory grows with, in millions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from semigen.artifacts import read_json
from semigen.errors import UserError
from semigen.params.config import Params

COEFFICIENTS = Path(__file__).with_name("stage_costs.json")
MIN_SECONDS, MIN_GIB = 60, 2
"""Below these estimates, no parameter that makes a stage cheaper is named."""
MILLION = 1e6
REPEATED_TRAINING = {
    "ssvae": 1.0,
    "ssgan": 1.0,
    "gan": 0.5,
    "diffusion": 0.5,
    "autoregressive": 0.5,
}
"""Part of the generator's training that is repeated for every fold."""


@dataclass(frozen=True)
class TableSize:
    """Size of the tables.

    Attributes:
        n_labeled: Labeled training rows.
        n_unlabeled: Unlabeled rows.
        n_test: Test rows.
        n_columns: Feature columns.
        n_encoded: Columns of the encoded matrix; 0 before ``preprocess``.
        n_classes: Classes; 0 before ``preprocess``.

    Examples:
        >>> size = TableSize(50, 1387, 360, n_columns=64, n_encoded=64, n_classes=10)
        >>> size.n_rows, size.describe()
        (1437, '1,437 rows, 64 columns, 10 classes')
    """

    n_labeled: int
    n_unlabeled: int
    n_test: int
    n_columns: int
    n_encoded: int = 0
    n_classes: int = 0

    @property
    def n_rows(self) -> int:
        """Training rows."""
        return self.n_labeled + self.n_unlabeled

    def describe(self) -> str:
        """Return the size as text."""
        classes = f", {self.n_classes} classes" if self.n_classes else ""
        return f"{self.n_rows:,} rows, {self.n_columns:,} columns{classes}"


@dataclass(frozen=True)
class Cost:
    """The estimate of a stage.

    Attributes:
        seconds: CPU seconds on the machine of the benchmark.
        gib: Peak memory in GiB.
        faster: Parameter on which most of the time depends, such as ``train.repeats``.
        smaller: Parameter on which most of the memory depends.

    Examples:
        >>> print(Cost(400, 3.4, "train.repeats", "train.max_rows_graph").describe())
        about 7 min of CPU time and 3.4 GiB; cheaper with another train.repeats (time) or \
train.max_rows_graph (memory)
        >>> print(Cost(5.2, 0.6, "train.repeats", "train.max_rows_graph").describe())
        about 5 s of CPU time and 0.6 GiB
    """

    seconds: float
    gib: float
    faster: str
    smaller: str

    def describe(self) -> str:
        """Return the estimate as text, with what makes the stage cheaper if it is expensive."""
        seconds, gib = self.seconds, self.gib
        time = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
        text = f"about {time} of CPU time and {gib:.1f} GiB"
        named = [f"{self.faster} (time)"] if seconds >= MIN_SECONDS else []
        named += [f"{self.smaller} (memory)"] if gib >= MIN_GIB else []
        return f"{text}; cheaper with another {' or '.join(named)}" if named else text

    def check(self, stage: str, memory_limit: float | None) -> None:
        """Compare the memory with a limit in GiB; None is no limit.

        Raises:
            UserError: If the estimate exceeds the limit.
        """
        if memory_limit is not None and self.gib > memory_limit:
            raise UserError(
                f"{stage}: needs about {self.gib:.1f} GiB, more than compute.memory_limit "
                f"({memory_limit:g} GiB); change {self.smaller}, use fewer rows, or raise the limit"
            )


def estimate(stage: str, size: TableSize, params: Params) -> Cost | None:
    """Return the estimate of a stage; None for stages that were not measured.

    Args:
        stage: Name of the stage.
        size: Size of the tables.
        params: Parameters of the run.
    """
    fitted = read_json(COEFFICIENTS)
    if stage not in fitted["seconds"]:
        return None
    times = _weighted(seconds_terms(stage, size, params), fitted["seconds"][stage])
    memory = _weighted(memory_terms(stage, size, params), fitted["gib"][stage])
    if stage == "train":
        pretraining = _weighted(_steps_terms(size, params), fitted["seconds"]["pretrain"])
        repeated = REPEATED_TRAINING.get(params.pretrain.generator, 0.0) * _n_fits(params)
        times["folds"] = repeated * sum(pretraining.values())
    return Cost(
        sum(times.values()),
        sum(memory.values()),
        _parameter(times, params),
        _parameter(memory, params),
    )


def _weighted(terms: Mapping[str, float], coefficients: Mapping[str, float]) -> dict[str, float]:
    return {name: value * coefficients[name] for name, value in terms.items()}


def seconds_terms(stage: str, size: TableSize, params: Params) -> dict[str, float]:
    """Return the terms of a stage's CPU time by name."""
    n, d, k = size.n_rows, size.n_encoded, size.n_classes
    terms = {"start": 1.0}
    if stage in ("validate", "preprocess"):
        terms |= {"columns": size.n_columns / MILLION, "cells": _cells(size)}
    elif stage == "pretrain":
        terms |= {"matrix": n * d / MILLION, **_steps_terms(size, params)}
    elif stage == "augment":
        n_synthetic = size.n_labeled * params.augment.ratio
        columns, synthetic = size.n_columns / MILLION, n_synthetic * (d + k) / MILLION
        terms |= {"columns": columns, "matrix": n * d / MILLION, "synthetic": synthetic}
    elif stage == "train":
        terms |= _comparison_terms(size, params)
    elif stage == "evaluate":
        terms |= {"test": size.n_test * (d + k) / MILLION, "trees": _leaves(size, params)}
    return terms


def memory_terms(stage: str, size: TableSize, params: Params) -> dict[str, float]:
    """Return the terms of a stage's peak memory by name."""
    terms, matrix = {"start": 1.0}, size.n_rows * size.n_encoded / MILLION
    if stage in ("validate", "preprocess"):
        terms |= {"cells": _cells(size)}
    elif stage in ("pretrain", "augment"):
        terms |= {"matrix": matrix}
    elif stage == "train":
        graph = _graph_rows(size, params) * size.n_encoded / MILLION
        terms |= {"matrix": matrix, "graph": graph, "trees": _leaves(size, params)}
    elif stage == "evaluate":
        terms |= {"trees": _leaves(size, params)}
    return terms


def _comparison_terms(size: TableSize, params: Params) -> dict[str, float]:
    """Return the terms of the cross-validation: of learners by the rows that they are fitted on."""
    train, d, k = params.train, size.n_encoded, size.n_classes
    n_fits = _n_fits(params)
    n_graph, n_synthetic = _graph_rows(size, params), size.n_labeled * params.augment.ratio
    widths = [d, *train.hidden_dims, k]
    weights = sum(a * b for a, b in pairwise(widths))
    terms = {
        "rows": n_fits * size.n_rows * d,
        "labeled": n_fits * size.n_labeled * (d * k),
        "graph": n_fits * n_graph * d,
        "graph_classes": n_fits * n_graph * k,
        "synthetic": n_fits * n_synthetic * (d + k),
        "network": n_fits * train.epochs * n_synthetic * weights / 1000,
    }
    return {name: value / MILLION for name, value in terms.items()}


def _steps_terms(size: TableSize, params: Params) -> dict[str, float]:
    """Return the work of all steps of the generator.

    The default is measured by rows times columns; a step of the other families costs much the same
    with any usual batch size.
    """
    generator, chosen = params.pretrain.generator, params.pretrain.chosen
    n_steps = chosen.n_steps(size.n_rows)
    if generator == "vae":
        return {generator: n_steps * chosen.batch_size * (size.n_encoded + 512) / MILLION}
    return {generator: n_steps * 64 * (size.n_encoded + 64) / MILLION}


def _n_fits(params: Params) -> int:
    return params.train.folds * params.train.repeats + 1


def _graph_rows(size: TableSize, params: Params) -> int:
    return size.n_labeled + min(size.n_unlabeled, params.train.max_rows_graph)


def _leaves(size: TableSize, params: Params) -> float:
    """Return the class probabilities in the leaves of a forest of each kind of rows."""
    n_synthetic = size.n_labeled * params.augment.ratio
    return (_graph_rows(size, params) + n_synthetic) * size.n_classes / MILLION


def _cells(size: TableSize) -> float:
    return (size.n_rows + size.n_test) * size.n_columns / MILLION


def _parameter(parts: Mapping[str, float], params: Params) -> str:
    """Return the parameter that the largest part depends on."""
    generator = params.pretrain.generator
    named = {
        "columns": "data.kinds",
        "cells": "data.kinds",
        "matrix": "preprocess.max_categories",
        "rows": "train.repeats",
        "labeled": "train.repeats",
        "graph": "train.max_rows_graph",
        "graph_classes": "train.max_rows_graph",
        "trees": "train.max_rows_graph",
        "synthetic": "augment.ratio",
        "network": "augment.ratio",
        "test": "data.kinds",
        generator: f"pretrain.{generator}.max_steps",
        "folds": "train.repeats",
    }
    largest = max((name for name in parts if name in named), key=parts.__getitem__, default=None)
    return named[largest] if largest else "data.kinds"
