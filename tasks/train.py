"""``train``: compare learners on the labeled rows, and fit the selected and the fallback one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from semigen.artifacts import Layout, atomic_path, write_json
from semigen.classifiers.classifier import Classifier, Member
from semigen.classifiers.learners import Learner, make_learners
from semigen.classifiers.rows import TrainingRows
from semigen.classifiers.selection import Committee, fit_quietly, select
from semigen.compute import limit_threads
from semigen.config import Params
from semigen.encoding import Encoded, TableEncoder
from semigen.generators import load_generator
from semigen.sources import write_csv


def run(params: Params, layout: Layout) -> None:
    """Write the selected classifier, the labels-only one, and the evidence for the choice."""
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
    rows = TrainingRows.of(labeled, unlabeled, generator, params.augment, params.seed, synthetic)
    learners = make_learners(params.train)
    selection = select(learners, rows, params.train, lambda name: print(f"train: trying {name}"))
    members = fit_members((selection.selected, selection.labels_only), rows)
    Classifier(encoder, members[1]).save(layout.labels_only)
    Classifier(encoder, members[0], generator).save(layout.classifier)
    write_json(layout.selection, selection.to_json_dict())
    with atomic_path(layout.plot("train")) as temporary:
        write_csv(learning_curve(learners, rows), temporary)
    print(f"train: {selection.selected.name} selected; {selection.reason}")


def fit_members(committees: Sequence[Committee], rows: TrainingRows) -> list[tuple[Member, ...]]:
    """Fit the learners of each committee on all labeled rows, one that both have only once."""
    fitted: dict[str, Member] = {}
    for candidate in (c for committee in committees for c in committee.members):
        learner = candidate.learner
        if learner.name not in fitted:
            model = fit_quietly(learner, rows)
            fitted[learner.name] = Member(learner.name, model, learner.space, candidate.temperature)
    return [tuple(fitted[c.learner.name] for c in committee.members) for committee in committees]


def learning_curve(learners: Sequence[Learner], rows: TrainingRows) -> pd.DataFrame:
    """Return the neural classifier's training loss by epoch, on labeled and synthetic rows."""
    network = next(learner for learner in learners if learner.name == "mlp_synthetic")
    losses = fit_quietly(network, rows).loss_curve_
    return pd.DataFrame({"epoch": np.arange(1, len(losses) + 1), "loss": losses}).round(6)
