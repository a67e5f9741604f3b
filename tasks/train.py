"""``train``: compare learners on the labeled rows, and fit the selected and the fallback one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from semigen.artifacts import Layout, atomic_path, write_json
from semigen.classifiers.classifier import Classifier, quantiles_of
from semigen.classifiers.learners import make_learners
from semigen.classifiers.rows import TrainingRows
from semigen.classifiers.selection import Candidate, fit_quietly, select
from semigen.compute import limit_threads
from semigen.config import Params
from semigen.encoding import Encoded, TableEncoder
from semigen.generators import load_generator
from semigen.sources import write_csv


def run(params: Params, layout: Layout) -> None:
    """Write the selected classifier, the labels-only one, and the evidence for the choice."""
    n_threads = limit_threads(params.compute)
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
    rows = TrainingRows.of(labeled, unlabeled, generator, params.augment, params.seed, synthetic)
    learners = make_learners(params.train)
    selection = select(
        learners, rows, params.train, n_threads, lambda name: print(f"train: trying {name}")
    )
    models = {
        c.learner.name: fit_quietly(c.learner, rows)
        for c in (selection.selected, selection.labels_only)
    }
    scores = generator.score(np.concatenate([labeled.x, unlabeled.x]))
    wrap(selection.labels_only, models, encoder).save(layout.labels_only)
    wrap(selection.selected, models, encoder, generator, quantiles_of(scores)).save(
        layout.classifier
    )
    write_json(layout.selection, selection.to_json_dict())
    with atomic_path(layout.plot("train")) as temporary:
        write_csv(learning_curve(learners, rows), temporary)
    print(f"train: {selection.selected.learner.name} selected; {selection.reason}")


def wrap(
    candidate: Candidate, models: dict[str, Any], encoder: TableEncoder, *novelty: Any
) -> Classifier:
    """Return a candidate's fitted model as a classifier of readable tables."""
    learner = candidate.learner
    model = models[learner.name]
    return Classifier(encoder, model, learner.space, candidate.temperature, learner.name, *novelty)


def learning_curve(learners: Any, rows: TrainingRows) -> pd.DataFrame:
    """Return the neural classifier's training loss by epoch, on labeled and synthetic rows."""
    network = next(learner for learner in learners if learner.name == "mlp_synthetic")
    losses = fit_quietly(network, rows).loss_curve_
    return pd.DataFrame({"epoch": np.arange(1, len(losses) + 1), "loss": losses}).round(6)
