"""``label_curve``: how accuracy grows with labels, and what more of them would be worth."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from semigen import SemiSupervisedClassifier
from semigen.artifacts import Layout, atomic_path, write_json
from semigen.errors import UserError
from semigen.evaluation.estimates import to_json
from semigen.evaluation.label_curve import (
    default_budgets,
    forecast,
    label_order,
    least_budget,
    mean_estimate,
)
from semigen.params.config import Params
from semigen.tables.schema import TableSchema
from semigen.tables.sources import write_csv
from semigen.training.compute import limit_threads

LEARNERS = ("semigen", "labels only")
PARTS = ("labeled", "unlabeled", "test")


@dataclass(frozen=True)
class Problem:
    """The prepared tables, as features and class indices.

    Attributes:
        rows: Labeled rows and, after them, unlabeled ones.
        y: Class indices of the labeled rows.
        asked: Test rows.
        truth: Their class indices.
    """

    rows: pd.DataFrame
    y: np.ndarray
    asked: pd.DataFrame
    truth: np.ndarray


@dataclass(frozen=True)
class Fit:
    """What came of one number of labels and one draw of them.

    Attributes:
        n_labeled: Rows that kept their label.
        draw: Number of the draw, from 0.
        seconds: Of training and asking.
        hits: Whether each of ``LEARNERS`` was right on each test row, shape ``(2, n_test)``.
    """

    n_labeled: int
    draw: int
    seconds: float
    hits: np.ndarray

    def __str__(self) -> str:
        both, alone = (f"{100 * hits.mean():.1f} %" for hits in self.hits)
        return (
            f"{self.n_labeled} labels, draw {self.draw + 1}: {both}, labels only {alone} "
            f"({self.seconds:.0f} s)"
        )


class Journal:
    """Finished fits, a line each, of the same tables and parameters.

    Lines of other tables or parameters are passed over, and so is one that a kill cut short.

    Args:
        layout: The project's files.
        params: Parameters of the run.
    """

    def __init__(self, layout: Layout, params: Params) -> None:
        self.path = layout.label_curve_fits
        self.inputs = input_hash(layout, params)

    def read(self) -> list[Fit]:
        """Return the fits that were kept."""
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        found = []
        for line in lines:
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if entry.pop("inputs") == self.inputs:
                    hits = np.array([[mark == "1" for mark in row] for row in entry.pop("hits")])
                    found.append(Fit(**entry, hits=hits))
        return found

    def append(self, fit: Fit) -> None:
        """Keep a fit."""
        entry = {
            "inputs": self.inputs,
            "n_labeled": fit.n_labeled,
            "draw": fit.draw,
            "seconds": round(fit.seconds, 2),
            "hits": ["".join("01"[hit] for hit in row.astype(int)) for row in fit.hits],
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        is_cut = self.path.exists() and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" * is_cut + json.dumps(entry) + "\n")


def input_hash(layout: Layout, params: Params) -> str:
    """Return a hash of all that a fit depends on, but for its number of labels and its draw."""
    total = hashlib.sha256()
    for path in (layout.schema, *(layout.prepared(part) for part in PARTS)):
        total.update(path.read_bytes())
    sections = params.model_dump(mode="json", include={"seed", "pretrain", "augment", "train"})
    total.update(json.dumps(sections, sort_keys=True).encode())
    return total.hexdigest()


def label_curve(
    params: Params,
    layout: Layout,
    *,
    budgets: Sequence[int] | None = None,
    draws: int = 3,
    on_fit: Callable[[int, int], object] = lambda _done, _total: None,
) -> dict[str, Any]:
    """Train on fewer labels and ask the test rows; write ``label_curve.csv``, ``.json``, ``.png``.

    Labels are hidden, not rows: those without theirs are unlabeled ones. Files are written after
    each fit. Finished fits are kept and not made again while tables, seed and the parameters of
    ``pretrain``, ``augment`` and ``train`` stay the same; a search (``train.search``) is left out.

    Args:
        params: Parameters of the run.
        layout: The project's files.
        budgets: Numbers of labels; a quarter, a half, three quarters and all if None.
        draws: How often the labels that are kept are drawn. With all labels kept, draws differ only
            in what is random in training.
        on_fit: Called after each fit, and once before the first, with the number of those that are
            finished and of all.

    Returns:
        What ``label_curve.json`` holds: the sizes, ``points`` by learner and number of labels, the
        ``forecast`` (None with one number of labels) and a ``sentence``.

    Raises:
        UserError: If the pipeline has not prepared the tables, or a number of labels is out of
            range.
    """
    if draws < 1:
        raise UserError(f"draws: must be at least 1, not {draws}")
    limit_threads(params.compute)
    problem = read_problem(layout)
    wanted = check_budgets(budgets, problem.y)
    journal = Journal(layout, params)
    cells = [(n_labeled, draw) for draw in range(draws) for n_labeled in wanted]
    fits = [fit for fit in journal.read() if (fit.n_labeled, fit.draw) in cells]
    finished = {(fit.n_labeled, fit.draw) for fit in fits}
    found = write_curve(fits, problem, layout) if fits else {}
    on_fit(len(fits), len(cells))
    for n_labeled, draw in cells:
        if (n_labeled, draw) in finished:
            continue
        fits.append(fit_once(problem, n_labeled, draw, params))
        journal.append(fits[-1])
        found = write_curve(fits, problem, layout)
        print(f"label curve, {len(fits)} of {len(cells)}: {fits[-1]}", flush=True)
        on_fit(len(fits), len(cells))
    return found


def read_problem(layout: Layout) -> Problem:
    """Read the prepared tables.

    Raises:
        UserError: If one is absent.
    """
    absent = [part for part in PARTS if not layout.prepared(part).exists()]
    if absent or not layout.schema.exists():
        raise UserError(
            "the tables are not prepared yet (data/prepared); run the pipeline first: "
            "python -m flows.train"
        )
    schema = TableSchema.load(layout.schema)
    labeled, unlabeled, test = (pd.read_parquet(layout.prepared(part)) for part in PARTS)
    rows = pd.concat([as_features(labeled, schema), as_features(unlabeled, schema)])
    y, truth = (schema.encode_labels(table[schema.target]) for table in (labeled, test))
    return Problem(rows.reset_index(drop=True), y, as_features(test, schema), truth)


def as_features(table: pd.DataFrame, schema: TableSchema) -> pd.DataFrame:
    """Return feature columns that a classifier takes for what the schema says they are.

    It infers kinds itself: categories that are written as numbers get a sign before them, and no
    column has the name that it gives to the labels.
    """
    typed = schema.coerce(table)
    categories = {c.name: "=" + typed[c.name] for c in schema.of_kind("category")}
    return typed.assign(**categories).add_prefix("column ")


def check_budgets(budgets: Sequence[int] | None, y: np.ndarray) -> tuple[int, ...]:
    """Return the numbers of labels to try, sorted.

    Raises:
        UserError: If there are fewer than two labels of a class in one, or more than there are.
    """
    if not budgets:
        return default_budgets(y)
    least = least_budget(y)
    for n_labeled in budgets:
        if not least <= n_labeled <= len(y):
            raise UserError(
                f"budgets: {n_labeled} is not between {least} (two labels of each class) and "
                f"{len(y)} (all labels)"
            )
    return tuple(sorted(set(budgets)))


def fit_once(problem: Problem, n_labeled: int, draw: int, params: Params) -> Fit:
    """Train on so many labels and ask the test rows."""
    started = time.monotonic()
    seed = (params.seed + draw) % 2**32
    shown = label_order(problem.y, seed)[:n_labeled]
    y = np.full(len(problem.rows), -1)
    y[shown] = problem.y[shown]
    classifier = SemiSupervisedClassifier(
        pretrain=params.pretrain,
        augment=params.augment,
        train=params.train,
        compute=params.compute,
        time_budget_s=params.train.time_budget_s,
        random_state=seed,
    ).fit(problem.rows, y)
    hits = [
        asked.classes_[asked.predict_proba(problem.asked).argmax(axis=1)] == problem.truth
        for asked in (classifier, classifier.labels_only_)
    ]
    return Fit(n_labeled, draw, time.monotonic() - started, np.array(hits))


def write_curve(fits: Sequence[Fit], problem: Problem, layout: Layout) -> dict[str, Any]:
    """Write the files from the fits that there are, and return what the JSON file holds."""
    from semigen.report.plots import label_curve_png

    found = summarize(fits, problem)
    points = [{**point, **point["accuracy"]} for point in found["points"]]
    table = pd.DataFrame(points).drop(columns="accuracy").rename(columns={"value": "accuracy"})
    with atomic_path(layout.label_curve("csv")) as temporary:
        write_csv(table, temporary)
    with atomic_path(layout.label_curve("png")) as temporary:
        temporary.write_bytes(label_curve_png(layout.label_curve("csv")))
    write_json(layout.label_curve("json"), found)
    return found


def summarize(fits: Sequence[Fit], problem: Problem) -> dict[str, Any]:
    """Return the points of the curve with intervals, and what more labels would be worth."""
    ordered = sorted(fits, key=lambda fit: (fit.n_labeled, fit.draw))
    hits = {  # of each number of labels, shape (n_draws, n_learners, n_test)
        n: np.array([fit.hits for fit in group], float)
        for n, group in itertools.groupby(ordered, key=lambda fit: fit.n_labeled)
    }
    points = [
        {
            "learner": learner,
            "n_labeled": n,
            "n_draws": len(found),
            "accuracy": to_json(mean_estimate(found[:, i])),
        }
        for i, learner in enumerate(LEARNERS)
        for n, found in hits.items()
    ]
    gains = [
        {"n_labeled": n, "gain": to_json(mean_estimate(found[:, 0] - found[:, 1]))}
        for n, found in hits.items()
    ]
    most = max(hits)
    n_draws = min(map(len, hits.values()))  # while it runs, some numbers of labels are ahead
    committees = {n: found[:n_draws, 0] for n, found in hits.items()}
    more = forecast(committees, n_more=most, n_all=len(problem.y))
    reached = f"{100 * hits[most][:, 0].mean():.1f} % accuracy with {most} labels"
    return {
        "n_labeled": len(problem.y),
        "n_unlabeled": len(problem.rows) - len(problem.y),
        "n_test": len(problem.truth),
        "points": points,
        "gains": gains,
        "forecast": to_json(more),
        "sentence": f"{reached}; {more}" if more else reached,
    }
