"""From training rows to fitted members: what the ``train`` stage and the estimator share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from semigen.classifiers.classifier import Member
from semigen.classifiers.cross_validation import fit_quietly
from semigen.classifiers.learners import Learner, make_learners
from semigen.classifiers.problem import TrainingRows
from semigen.classifiers.selection import Committee, Selection
from semigen.params.config import TrainParams


def learners_for(rows: TrainingRows, params: TrainParams) -> tuple[Learner, ...]:
    """Return the learners that these rows allow."""
    n_rows_per_class = len(rows.y) / len(np.unique(rows.y))
    return make_learners(params, rows.generator, n_rows_per_class=n_rows_per_class)


def fit_members(selection: Selection, rows: TrainingRows, *, with_ablation: bool) -> dict[str, Any]:
    """Fit on all labeled rows, once each, the learners of the committees."""
    committees = [selection.selected, selection.labels_only]
    if with_ablation:
        committees += selection.ablation.values()
    learners = {m.learner.name: m.learner for c in committees for m in c.members}
    return {name: fit_quietly(learner, rows) for name, learner in learners.items()}


def members(committee: Committee, fitted: Mapping[str, Any]) -> tuple[Member, ...]:
    """Return a committee's fitted models with what calibrates and weighs them."""
    return tuple(
        Member(
            member.learner.name,
            fitted[member.learner.name],
            member.learner.space,
            member.temperature,
            weight,
        )
        for member, weight in zip(committee.members, committee.weights, strict=True)
    )
