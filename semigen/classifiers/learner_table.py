"""The table of learners: name, rows used, input space, estimator and search space."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from semigen.classifiers import factories
from semigen.classifiers.factories import FitContext
from semigen.classifiers.learners import (
    GraphLearner,
    Learner,
    PosteriorLearner,
    SemiSupervisedLearner,
    SyntheticLearner,
    Use,
)
from semigen.classifiers.problem import Space
from semigen.classifiers.search_space import Choice, LogFloat, LogInt, SearchSpace
from semigen.generators.base import ClassifyingModel, GenerativeModel
from semigen.params.config import TrainParams

MIN_ROWS_PER_CLASS_BOOSTING = 5
"""With fewer labeled rows per class, boosted trees are the weakest learner and a slow one."""


@dataclass(frozen=True)
class LearnerSpec:
    """A row of the table of learners.

    Attributes:
        name: Name of the learner in reports.
        uses: Rows that the learner depends on besides the labeled ones.
        space: Input space.
        factory: ``factory(context, **settings)`` returns an unfitted estimator.
        search_space: Settings that ``train.search`` may try; None if the search leaves it out.
        learner: Class of the learner, which decides the training rows.

    Examples:
        >>> spec = next(spec for spec in LEARNERS if spec.name == "extra_trees")
        >>> learner = spec.build(TrainParams(), max_features=0.5)
        >>> learner.make(0, 100).max_features
        0.5
    """

    name: str
    uses: tuple[Use, ...]
    space: Space
    factory: Callable[..., Any]
    search_space: SearchSpace | None = None
    learner: type[Learner] = Learner

    def build(
        self,
        params: TrainParams,
        *,
        name: str | None = None,
        space: Space | None = None,
        **settings: Any,
    ) -> Learner:
        """Return the learner.

        Args:
            params: Section ``train`` of the parameters.
            name: Name of the learner; that of the table if None.
            space: Input space; that of the table if None.
            **settings: Keyword arguments of the factory.
        """
        space = space or self.space
        uses = self.uses or (() if space == "encoded" else ("unlabeled",))
        make = partial(_make, self.factory, params, settings)
        return self.learner(name or self.name, uses, space, make)


def _make(
    factory: Callable[..., Any],
    params: TrainParams,
    settings: Mapping[str, Any],
    seed: int,
    n_rows: int,
) -> Any:
    """Return an unfitted estimator; a closure would keep fitted estimators from being pickled."""
    return factory(FitContext(params, seed, n_rows), **settings)


COLUMNS_OR_BOTH = Choice(("encoded", "both"))
LABELS: tuple[Use, ...] = ()
UNLABELED: tuple[Use, ...] = ("unlabeled",)
SYNTHETIC: tuple[Use, ...] = ("unlabeled", "synthetic")
labels_only_naive_bayes = partial(factories.naive_bayes, unlabeled_weight=0.0, tempering=0.25)
tempered_naive_bayes = partial(factories.naive_bayes, unlabeled_weight=0.02, tempering=0.25)
wide_extra_trees = partial(factories.extra_trees, max_features=0.5)
"""Trees whose splits consider half of the columns: better where few columns are informative."""
spreading, diffusion = (partial(factories.graph, n_diffusions=n) for n in (0, 20))
adversarial = partial(factories.consistency, smoothness=1.0, information=0.3)

LEARNERS = (
    LearnerSpec("logistic_regression", LABELS, "encoded", factories.logistic),
    LearnerSpec(
        "logistic_regression_standard",
        LABELS,
        "encoded",
        factories.standard_logistic,
        SearchSpace("logistic_regression", {"space": COLUMNS_OR_BOTH, "C": LogFloat(0.01, 100.0)}),
    ),
    LearnerSpec("logistic_regression_l1", LABELS, "encoded", factories.sparse_logistic),
    LearnerSpec("naive_bayes", LABELS, "encoded", labels_only_naive_bayes),
    LearnerSpec(
        "extra_trees",
        LABELS,
        "encoded",
        factories.extra_trees,
        SearchSpace(
            "extra_trees",
            {
                "space": COLUMNS_OR_BOTH,
                "max_features": LogFloat(0.05, 1.0),
                "min_samples_leaf": LogInt(1, 5),
            },
        ),
    ),
    LearnerSpec("extra_trees_wide", LABELS, "encoded", wide_extra_trees),
    LearnerSpec("random_forest", LABELS, "encoded", factories.random_forest),
    LearnerSpec(
        "kernel_machine",
        LABELS,
        "encoded",
        factories.kernel_machine,
        SearchSpace(
            "kernel_machine",
            {"space": COLUMNS_OR_BOTH, "C": LogFloat(0.01, 100.0)},
        ),
    ),
    LearnerSpec(
        "mlp",
        LABELS,
        "encoded",
        factories.mlp,
        SearchSpace(
            "mlp",
            {
                "space": COLUMNS_OR_BOTH,
                "width": LogInt(16, 256),
                "alpha": LogFloat(1e-5, 1.0),
                "max_iter": 60,
                "n_iter_no_change": 10,
            },
        ),
    ),
    LearnerSpec(
        "boosted_trees",
        LABELS,
        "encoded",
        factories.boosted_trees,
        SearchSpace(
            "boosted_trees",
            {
                "space": COLUMNS_OR_BOTH,
                "learning_rate": LogFloat(0.02, 0.3),
                "min_samples_leaf": LogInt(2, 20),
            },
        ),
    ),
    LearnerSpec("logistic_regression_latent", UNLABELED, "both", factories.logistic),
    LearnerSpec("extra_trees_latent", UNLABELED, "both", wide_extra_trees),
    LearnerSpec(
        "self_training",
        UNLABELED,
        "encoded",
        factories.self_training,
        learner=SemiSupervisedLearner,
    ),
    LearnerSpec(
        "latent_mixture",
        UNLABELED,
        "latent",
        factories.latent_mixture,
        learner=SemiSupervisedLearner,
    ),
    LearnerSpec(
        "naive_bayes_em",
        UNLABELED,
        "encoded",
        factories.naive_bayes,
        SearchSpace(
            "naive_bayes",
            {
                "n_bins": LogInt(2, 16),
                "unlabeled_weight": LogFloat(1e-3, 1.0),
                "tempering": LogFloat(0.1, 1.0),
            },
        ),
        SemiSupervisedLearner,
    ),
    LearnerSpec(
        "naive_bayes_em_tempered",
        UNLABELED,
        "encoded",
        tempered_naive_bayes,
        learner=SemiSupervisedLearner,
    ),
    LearnerSpec("label_spreading", UNLABELED, "encoded", spreading, learner=GraphLearner),
    LearnerSpec("label_spreading_latent", UNLABELED, "latent", spreading, learner=GraphLearner),
    LearnerSpec(
        "label_diffusion",
        UNLABELED,
        "encoded",
        diffusion,
        SearchSpace(
            "label_diffusion",
            {
                "space": Choice(("encoded", "latent")),
                "n_neighbors": LogInt(3, 30),
                "n_diffusions": Choice((0, 5, 20)),
            },
        ),
        GraphLearner,
    ),
    LearnerSpec("label_diffusion_latent", UNLABELED, "latent", diffusion, learner=GraphLearner),
    LearnerSpec("mlp_synthetic", SYNTHETIC, "encoded", factories.mlp, learner=SyntheticLearner),
    LearnerSpec(
        "extra_trees_synthetic",
        SYNTHETIC,
        "encoded",
        factories.extra_trees,
        learner=SyntheticLearner,
    ),
    LearnerSpec(
        "consistency", UNLABELED, "encoded", factories.consistency, learner=SemiSupervisedLearner
    ),
    LearnerSpec("adversarial", UNLABELED, "encoded", adversarial, learner=SemiSupervisedLearner),
    LearnerSpec("generator", UNLABELED, "posterior", factories.posterior, learner=PosteriorLearner),
)
"""All learners, labels-only ones first; the order breaks ties between equally good learners."""
EXTRA_LEARNERS = frozenset({"consistency", "adversarial"})
"""Learners that take part only if ``train.extra_learners`` names them."""


def make_learners(
    params: TrainParams,
    generator: GenerativeModel | None = None,
    *,
    n_rows_per_class: float = np.inf,
) -> tuple[Learner, ...]:
    """Return the learners of the table that apply to a problem, labels-only ones first.

    Args:
        params: Section ``train`` of the parameters.
        generator: A generator that classifies is a learner of its own.
        n_rows_per_class: Mean number of labeled rows per class.
    """
    excluded = set(EXTRA_LEARNERS) - set(params.extra_learners)
    if n_rows_per_class < MIN_ROWS_PER_CLASS_BOOSTING:
        excluded.add("boosted_trees")
    if not isinstance(generator, ClassifyingModel):
        excluded.add("generator")
    return tuple(spec.build(params) for spec in LEARNERS if spec.name not in excluded)
