"""``train``: compare learners on the labeled rows, and fit the selected and the fallback one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from semigen.artifacts import Layout, atomic_path, write_json
from semigen.classifiers.classifier import Classifier, Member
from semigen.classifiers.learners import Learner, make_learners
from semigen.classifiers.rows import TrainingRows
from semigen.classifiers.selection import Committee, Selection, fit_quietly, select
from semigen.compute import limit_threads
from semigen.config import Params
from semigen.encoding import Encoded, TableEncoder
from semigen.generators import load_generator
from semigen.sources import write_csv

CURVE = "mlp_synthetic"
"""Learner whose training is plotted: the founding article's network."""


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
    learners = make_learners(params.train, generator)
    selection = select(learners, rows, params.train, lambda name: print(f"train: trying {name}"))
    network = next(learner for learner in learners if learner.name == CURVE)
    fitted = fit_learners(selection, network, rows)
    baseline = members(selection.labels_only, fitted)
    Classifier(encoder, baseline).save(layout.labels_only)
    Classifier(encoder, members(selection.selected, fitted), generator).save(layout.classifier)
    write_json(layout.selection, selection.to_json_dict())
    with atomic_path(layout.plot("train")) as temporary:
        write_csv(learning_curve(fitted[CURVE].loss_curve_), temporary)
    print(f"train: {selection.selected.name} selected; {selection.reason}")


def fit_learners(selection: Selection, network: Learner, rows: TrainingRows) -> dict[str, Any]:
    """Fit on all labeled rows, once each, what was selected, the fallback, and a network."""
    committees = (selection.selected, selection.labels_only)
    chosen = [member.learner for committee in committees for member in committee.members]
    learners = {learner.name: learner for learner in (*chosen, network)}
    return {name: fit_quietly(learner, rows) for name, learner in learners.items()}


def members(committee: Committee, fitted: Mapping[str, Any]) -> tuple[Member, ...]:
    """Return a committee's fitted models with what calibrates them."""
    return tuple(
        Member(c.learner.name, fitted[c.learner.name], c.learner.space, c.temperature)
        for c in committee.members
    )


def learning_curve(losses: Sequence[float]) -> pd.DataFrame:
    """Return a network's training losses by epoch, with the digits that are worth reading."""
    return pd.DataFrame({"epoch": np.arange(1, len(losses) + 1), "loss": losses}).round(6)
