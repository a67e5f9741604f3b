"""``label-curve``: train on parts of the labels; write accuracy by number of labels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from semigen.artifacts import Layout, atomic_path, write_json
from semigen.classifiers.label_curve import LabelCurveTables, fit_once
from semigen.errors import UserError
from semigen.evaluation.fit_journal import FitJournal
from semigen.evaluation.label_curve import Fit, check_budgets, summarize
from semigen.params.config import Params
from semigen.report.label_curve import curve_json, curve_table, fit_text
from semigen.tables.schema import TableSchema
from semigen.tables.sources import write_csv
from semigen.training.compute import limit_threads
from tasks.inputs import check_recorded

PARTS = ("labeled", "unlabeled", "test")


def label_curve(
    params: Params,
    layout: Layout,
    *,
    budgets: Sequence[int] | None = None,
    draws: int = 3,
    on_fit: Callable[[int, int], object] = lambda _done, _total: None,
) -> dict[str, Any]:
    """Fit the estimator with fewer labels; write ``label_curve.csv``, ``.json`` and ``.png``.

    Files are written after each fit. Finished fits are reused as long as the tables, the seed and
    the parameters of ``pretrain``, ``augment`` and ``train`` stay the same.

    Args:
        params: Parameters of the run.
        layout: Paths of the project.
        budgets: Numbers of labels; a quarter, a half, three quarters and all of them if None.
        draws: Number of random draws of the labels. With all labels, draws differ only in the
            randomness of training.
        on_fit: Called once before the first fit and after each fit, with the number of finished
            fits and the number of all fits.

    Returns:
        The content of ``label_curve.json``.

    Raises:
        UserError: If the tables are not prepared or damaged, or a number of labels or draws is out
            of range.
    """
    if draws < 1:
        raise UserError(f"draws: must be at least 1, not {draws}")
    limit_threads(params.compute)
    names = [path.relative_to(layout.root).as_posix() for path in table_files(layout)]
    check_recorded(names, layout)
    tables = read_problem(layout)
    budgets = check_budgets(budgets, tables.y)
    journal = FitJournal(layout.label_curve_fits, input_hash(layout, params))
    cells = [(n_labeled, draw) for draw in range(draws) for n_labeled in budgets]
    fits = [fit for fit in journal.read() if (fit.n_labeled, fit.draw) in cells]
    finished = {(fit.n_labeled, fit.draw) for fit in fits}
    content = write_curve(fits, tables, layout) if fits else {}
    on_fit(len(fits), len(cells))
    for n_labeled, draw in cells:
        if (n_labeled, draw) in finished:
            continue
        fits.append(fit_once(tables, n_labeled, draw, params))
        journal.append(fits[-1])
        content = write_curve(fits, tables, layout)
        print(f"label curve, {len(fits)} of {len(cells)}: {fit_text(fits[-1])}", flush=True)
        on_fit(len(fits), len(cells))
    return content


def table_files(layout: Layout) -> list[Path]:
    """Return the files that the curve is computed from."""
    return [layout.schema, *(layout.prepared(part) for part in PARTS)]


def read_problem(layout: Layout) -> LabelCurveTables:
    """Read the prepared tables.

    Raises:
        UserError: If a table is absent.
    """
    if not all(path.exists() for path in table_files(layout)):
        raise UserError(
            "the tables are not prepared yet (data/prepared); run the pipeline first: semigen run"
        )
    schema = TableSchema.load(layout.schema)
    labeled, unlabeled, test = (pd.read_parquet(layout.prepared(part)) for part in PARTS)
    return LabelCurveTables.from_prepared(schema, labeled, unlabeled, test)


def input_hash(layout: Layout, params: Params) -> str:
    """Return a hash of everything a fit depends on, except its number of labels and draw."""
    total = hashlib.sha256()
    for path in table_files(layout):
        total.update(path.read_bytes())
    sections = params.model_dump(mode="json", include={"seed", "pretrain", "augment", "train"})
    total.update(json.dumps(sections, sort_keys=True).encode())
    return total.hexdigest()


def write_curve(fits: Sequence[Fit], tables: LabelCurveTables, layout: Layout) -> dict[str, Any]:
    """Write the files from the finished fits; return the content of the JSON file."""
    from semigen.report.plots import label_curve_png

    curve = summarize(fits, n_labels=len(tables.y))
    n_unlabeled = len(tables.rows) - len(tables.y)
    content = curve_json(curve, len(tables.y), n_unlabeled, len(tables.y_test))
    with atomic_path(layout.label_curve("csv")) as temporary:
        write_csv(curve_table(curve), temporary)
    with atomic_path(layout.label_curve("png")) as temporary:
        temporary.write_bytes(label_curve_png(layout.label_curve("csv")))
    write_json(layout.label_curve("json"), content)
    return content
