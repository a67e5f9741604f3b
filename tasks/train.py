"""Stage ``train``: evaluate the learners, select a committee and fit it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from semigen.artifacts import Layout, atomic_path, remove, write_json
from semigen.classifiers.callbacks import FitCallbacks
from semigen.classifiers.fitting import FittedCommittee, fit_committee
from semigen.classifiers.problem import LearningProblem
from semigen.generators import load_generator
from semigen.generators.base import GenerativeModel
from semigen.params.config import Params
from semigen.tables.encoding import Encoded, TableEncoder
from semigen.tables.sources import write_csv
from semigen.training.compute import limit_threads
from semigen.training.progress import write_progress

PLOTTED_LEARNER = "mlp_synthetic"
"""Learner whose training loss is plotted: the network of the founding article."""


def run(params: Params, layout: Layout) -> None:
    """Write the selected classifier, the classifiers for comparison, and the evidence."""
    limit_threads(params.compute)
    encoder = TableEncoder.load(layout.encoder)
    generator = load_generator(layout.generator)
    problem = LearningProblem.from_encoded(
        Encoded.load(layout.encoded("labeled")),
        Encoded.load(layout.encoded("unlabeled")),
        generator,
        params.augment,
        params.seed,
        synthetic=Encoded.load(layout.synthetic_encoded),
        max_rows=params.train.max_rows_graph,
    )
    committee = fit_committee(
        problem,
        params.train,
        journal=layout.checkpoint("train") / "search.log",
        callbacks=StageProgress(layout.progress("train")),
        with_ablation=True,
        also_fit=(PLOTTED_LEARNER,),
    )
    selection = committee.selection
    written: dict[str, Path] = {}
    selected = committee.classifier(selection.selected, encoder, generator)
    selected.save(layout.classifier, written=written)
    labels_only = committee.classifier(selection.labels_only, encoder)
    labels_only.save(layout.labels_only, written=written)
    save_ablation(committee, encoder, generator, layout, written)
    write_json(layout.selection, selection.to_json_dict())
    losses = committee.estimators[PLOTTED_LEARNER].loss_curve_
    with atomic_path(layout.plot("train")) as temporary:
        write_csv(learning_curve(losses), temporary)
    with atomic_path(layout.plot("search")) as temporary:
        write_csv(committee.trials, temporary)
    shutil.rmtree(layout.checkpoint("train"), ignore_errors=True)
    remove(layout.progress("train"))
    print(f"train: {selection.selected.name}: {selection.reason}")


class StageProgress(FitCallbacks):
    """Prints a line per trial and learner, and writes the stage's progress file.

    Args:
        file: Progress file, see ``semigen.training.progress.write_progress``.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.names: list[str] = []
        self.log_loss: dict[str, float] = {}

    def on_trial(self, summary: str) -> None:
        print(f"train: {summary}", flush=True)

    def on_learners(self, names: Sequence[str]) -> None:
        self.names = list(names)

    def on_learner_start(self, name: str) -> None:
        self._write(self.names.index(name), name)

    def on_learner_end(self, name: str, log_loss: float) -> None:
        done = self.names.index(name) + 1
        print(f"train: {done}/{len(self.names)} {name}, log loss {log_loss:.3f}", flush=True)
        self.log_loss[name] = round(log_loss, 5)
        self._write(done, name)

    def _write(self, done: int, name: str) -> None:
        more = {"at": name, "log_loss": self.log_loss}
        write_progress(self.file, done, len(self.names), "learner", **more)


def save_ablation(
    committee: FittedCommittee,
    encoder: TableEncoder,
    generator: GenerativeModel,
    layout: Layout,
    written: dict[str, Path],
) -> None:
    """Write the classifiers of the ablation; the generator only where members need features.

    Args:
        committee: Committees and fitted estimators.
        encoder: Encoder of the rows.
        generator: Generator of the problem.
        layout: Paths of the project.
        written: Files of members that other classifiers wrote, see ``Classifier.save``.
    """
    with atomic_path(layout.ablation) as folder:
        folder.mkdir()
        for name, part in committee.selection.ablation.items():
            needs_generator = any(m.learner.space != "encoded" for m in part.members)
            classifier = committee.classifier(part, encoder, generator if needs_generator else None)
            classifier.save(folder / name, written=written)


def learning_curve(losses: Sequence[float]) -> pd.DataFrame:
    """Return a network's training loss by epoch, rounded to six digits."""
    return pd.DataFrame({"epoch": np.arange(1, len(losses) + 1), "loss": losses}).round(6)
