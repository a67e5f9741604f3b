"""``train``: compare learners on the labeled rows, and fit the committees that come of it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from semigen.artifacts import Layout, atomic_path, remove, write_json
from semigen.classifiers.classifier import Classifier
from semigen.classifiers.cross_validation import cross_validate, fit_quietly
from semigen.classifiers.fitting import fit_members, learners_for, members
from semigen.classifiers.problem import TrainingRows
from semigen.classifiers.search import search
from semigen.classifiers.selection import Selection, select
from semigen.generators import load_generator
from semigen.generators.base import GenerativeModel
from semigen.params.config import Params
from semigen.tables.encoding import Encoded, TableEncoder
from semigen.tables.sources import write_csv
from semigen.training.compute import limit_threads
from semigen.training.progress import write_progress

CURVE = "mlp_synthetic"
"""Learner whose training is plotted: the founding article's network."""


def run(params: Params, layout: Layout) -> None:
    """Write the selected classifier, those that it is compared with, and the evidence."""
    limit_threads(params.compute)
    encoder = TableEncoder.load(layout.encoder)
    generator = load_generator(layout.generator)
    labeled, unlabeled, synthetic = (
        Encoded.load(path)
        for path in (
            layout.encoded("labeled"),
            layout.encoded("unlabeled"),
            layout.synthetic_encoded,
        )
    )
    rows = TrainingRows.of(
        labeled,
        unlabeled,
        generator,
        params.augment,
        params.seed,
        synthetic,
        params.train.max_rows_graph,
    )
    journal = layout.checkpoint("train") / "search.log"
    found = search(rows, params.train, journal, lambda line: print(f"train: {line}", flush=True))
    learners = (*learners_for(rows, params.train), *found.learners)
    announcer = Announcer([learner.name for learner in learners], layout.progress("train"))
    evidence = cross_validate(
        learners, rows, params.train, announcer.before_learner, announcer.after_learner
    )
    selection = select(evidence, params.train, params.seed)
    network = next(learner for learner in learners if learner.name == CURVE)
    fitted = fit_members(selection, rows, with_ablation=True) | {CURVE: fit_quietly(network, rows)}
    Classifier(encoder, members(selection.selected, fitted), generator).save(layout.classifier)
    Classifier(encoder, members(selection.labels_only, fitted)).save(layout.labels_only)
    save_ablation(selection, encoder, generator, fitted, layout)
    write_json(layout.selection, selection.to_json_dict())
    with atomic_path(layout.plot("train")) as temporary:
        write_csv(learning_curve(fitted[CURVE].loss_curve_), temporary)
    with atomic_path(layout.plot("search")) as temporary:
        write_csv(found.trials, temporary)
    shutil.rmtree(journal.parent, ignore_errors=True)
    remove(layout.progress("train"))
    print(f"train: {selection.selected.name} selected; {selection.reason}")


class Announcer:
    """Says which learner is tried, and keeps the file for those who watch from elsewhere.

    Args:
        names: Of the learners, in their order.
        file: See ``semigen.training.progress.write_progress``.
    """

    def __init__(self, names: Sequence[str], file: Path) -> None:
        self.names, self.file = list(names), file
        self.log_loss: dict[str, float] = {}

    def before_learner(self, name: str) -> None:
        print(f"train: trying {name}", flush=True)
        self._write(self.names.index(name), name)

    def after_learner(self, name: str, log_loss: float) -> None:
        self.log_loss[name] = round(log_loss, 5)
        self._write(self.names.index(name) + 1, name)

    def _write(self, done: int, name: str) -> None:
        more = {"at": name, "log_loss": self.log_loss}
        write_progress(self.file, done, len(self.names), "learner", **more)


def save_ablation(
    selection: Selection,
    encoder: TableEncoder,
    generator: GenerativeModel,
    fitted: Mapping[str, Any],
    layout: Layout,
) -> None:
    """Write the classifiers between labels only and all; a generator only where it is needed."""
    with atomic_path(layout.ablation) as folder:
        folder.mkdir()
        for name, committee in selection.ablation.items():
            parts = members(committee, fitted)
            needs_it = any(member.space != "encoded" for member in parts)
            Classifier(encoder, parts, generator if needs_it else None).save(folder / name)


def learning_curve(losses: Sequence[float]) -> pd.DataFrame:
    """Return a network's training losses by epoch, with the digits that are worth reading."""
    return pd.DataFrame({"epoch": np.arange(1, len(losses) + 1), "loss": losses}).round(6)
