"""From a learning problem to a fitted committee: the steps of stage and estimator alike."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from semigen.classifiers.callbacks import FitCallbacks
from semigen.classifiers.classifier import Classifier, Member
from semigen.classifiers.cross_validation import cross_validate, fit_learner
from semigen.classifiers.learner_table import make_learners
from semigen.classifiers.problem import LearningProblem
from semigen.classifiers.search import Search, search
from semigen.classifiers.selection import NOT_REPRODUCIBLE, Committee, Selection, select
from semigen.generators.base import GenerativeModel
from semigen.params.config import TrainParams
from semigen.tables.encoding import TableEncoder


@dataclass(frozen=True)
class FittedCommittee:
    """The selection, and estimators that were fitted on all labeled rows.

    Attributes:
        selection: Selected committee, labels-only committee, ablation and evidence.
        estimators: Fitted estimators by learner name.
        trials: A row per trial of the search, see ``Search.trials``.
        seconds: Wall-clock seconds of the steps ``compare`` (search and cross-validation) and
            ``fit``.

    Examples:
        >>> from semigen.params.config import AugmentParams
        >>> x, none = np.linspace(0, 1, 6)[:, None], np.zeros((0, 1))
        >>> problem = LearningProblem(
        ...     x, np.array([0, 0, 0, 1, 1, 1]), none, x, none, None, AugmentParams(), seed=0
        ... )
        >>> params = TrainParams(folds=2, repeats=1, epochs=1, time_budget_s=1e-9)
        >>> committee = fit_committee(problem, params)  # no time for learners of unlabeled rows
        >>> committee.selection.is_fallback
        True
        >>> committee.estimators["logistic_regression"].predict([[0.1], [0.9]]).tolist()
        [0, 1]
    """

    selection: Selection
    estimators: Mapping[str, Any]
    trials: pd.DataFrame
    seconds: Mapping[str, float]

    def classifier(
        self,
        committee: Committee,
        encoder: TableEncoder,
        generator: GenerativeModel | None = None,
    ) -> Classifier:
        """Return a committee of ``selection`` as a classifier of tables.

        Args:
            committee: Committee whose members were fitted.
            encoder: Encoder of the rows.
            generator: Generator of the problem; may be None if no member needs its features.
        """
        members = tuple(
            Member(
                name=candidate.learner.name,
                estimator=self.estimators[candidate.learner.name],
                space=candidate.learner.space,
                temperature=candidate.temperature,
                weight=weight,
            )
            for candidate, weight in zip(committee.members, committee.weights, strict=True)
        )
        return Classifier(encoder, members, generator)


def fit_committee(
    problem: LearningProblem,
    params: TrainParams,
    *,
    journal: Path | None = None,
    callbacks: FitCallbacks | None = None,
    with_ablation: bool = False,
    also_fit: Collection[str] = (),
) -> FittedCommittee:
    """Search, cross-validate and select learners, and fit the committees on all labeled rows.

    Args:
        problem: Labeled and unlabeled rows, and the generator.
        params: Section ``train`` of the parameters.
        journal: File of the search's finished trials; an interrupted search resumes from it.
        callbacks: Called after each trial, and before and after each learner.
        with_ablation: Whether to fit the members of the ablation's committees too.
        also_fit: Names of further learners to fit.

    Raises:
        UserError: If no class has two labeled rows, or a search needs Optuna, which is absent.
    """
    started = time.monotonic()
    callbacks = callbacks or FitCallbacks()
    found = search(problem, params, journal, callbacks.on_trial)
    n_rows_per_class = len(problem.y) / len(np.unique(problem.y))
    learners = (
        *make_learners(params, problem.generator, n_rows_per_class=n_rows_per_class),
        *found.learners,
    )
    has_unlabeled = len(problem.x_unlabeled) > 0
    candidates = [learner for learner in learners if has_unlabeled or not learner.uses]
    callbacks.on_learners([learner.name for learner in candidates])
    evidence = cross_validate(candidates, problem, params, callbacks)
    selection = select(evidence, params, problem.seed)
    if found.n_left_out:
        selection = replace(selection, reason=f"{selection.reason}; {_cut_search(found, params)}")
    compared = time.monotonic()
    committees = [selection.selected, selection.labels_only]
    if with_ablation:
        committees += selection.ablation.values()
    names = {m.learner.name for committee in committees for m in committee.members} | set(also_fit)
    estimators = {
        learner.name: fit_learner(learner, problem) for learner in learners if learner.name in names
    }
    seconds = {"compare": compared - started, "fit": time.monotonic() - compared}
    return FittedCommittee(selection, estimators, found.trials, seconds)


def _cut_search(found: Search, params: TrainParams) -> str:
    """Return what the time budget of the search means for the result."""
    budget = f"train.search.time_budget_s ({params.search.time_budget_s:g} s of CPU time)"
    n_left_out, n_trials = found.n_left_out, params.search.trials
    return f"{NOT_REPRODUCIBLE}, because {budget} left out {n_left_out} of {n_trials} trials"
