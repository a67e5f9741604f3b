"""``SemiSupervisedClassifier``: a scikit-learn estimator for few labels and many unlabeled rows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from semigen.classifiers.callbacks import FitCallbacks
from semigen.classifiers.fitting import fit_committee
from semigen.classifiers.problem import LearningProblem
from semigen.errors import UserError
from semigen.estimators.base import ProbabilisticClassifier
from semigen.generators import make_generator
from semigen.params.config import AugmentParams, ComputeParams, PretrainParams, TrainParams
from semigen.tables.encoding import Encoded, TableEncoder
from semigen.tables.schema import TableSchema
from semigen.training.progress import Progress

TARGET = "label"
"""Name of the labels in an inferred schema, unless a feature has that name."""
PRETRAINING_FRACTION = 0.4
SEARCH_FRACTION = 0.5
STEPS_PER_SECOND = 120
"""Steps of the default VAE that even a slow core makes per second. The time budget limits the
number of steps by this constant instead of a clock, so that equal runs give equal results."""


class SemiSupervisedClassifier(ProbabilisticClassifier):
    """Classifier that learns from few labeled and many unlabeled rows of a table.

    A generative model is trained on all rows. Learners that use the columns, the generative
    features, synthetic rows or a graph of all rows are compared by cross-validation on the labeled
    rows, and their probabilities are averaged with weights from this comparison. If it is uncertain
    that unlabeled rows help, the labels-only learners are averaged instead.

    Args:
        pretrain: Generator and its parameters.
        augment: Number and filter of the synthetic rows.
        train: Parameters of learners, cross-validation and selection; ``train.search`` adds a
            search for learner settings. ``max_rows_graph`` limits the memory.
        compute: Device, precision and number of threads.
        time_budget_s: Seconds after which no further learner is evaluated. Pretraining is limited
            to 0.4 of this time, and a search to half of what pretraining leaves. The final fits on
            all labeled rows come on top.
        random_state: Seed of all random steps.
        verbose: Whether to print progress.
        schema: Column kinds and classes of the table; inferred from ``X`` and ``y`` if None.
            Features of the schema are matched by name, other columns are ignored.

    Attributes:
        classes_: Labels, shape ``(n_classes,)``; all classes of ``schema`` if it is given.
        classifier_: Classifier that predicts. ``save`` writes it and ``semigen.load`` reads it.
        labels_only_: Classifier of the labels-only learners.
        selection_: Weight and evidence of every learner, and the reason of the selection.
        trials_: A row per trial of the search; empty without a search.
        n_features_in_: Number of columns of ``X``.
        fit_seconds_: Wall-clock seconds of the steps ``pretrain``, ``compare`` and ``fit``.

    Examples:
        >>> import numpy as np
        >>> from semigen.params.config import PretrainParams, TrainParams
        >>> from semigen.params.generators import VAEParams
        >>> rng = np.random.default_rng(0)
        >>> truth = rng.integers(0, 2, 60)
        >>> X = rng.normal(truth[:, None], 0.3, (60, 3))
        >>> y = np.where(np.arange(60) < 8, truth, -1)
        >>> model = SemiSupervisedClassifier(
        ...     pretrain=PretrainParams(vae=VAEParams(latent_dim=2, hidden_dims=(8,), epochs=2)),
        ...     train=TrainParams(folds=2, repeats=1, epochs=2),
        ...     time_budget_s=1.0,
        ... )
        >>> model.fit(X, y).score(X[8:], truth[8:]) > 0.8
        True
        >>> model.predict_proba(X).shape
        (60, 2)
    """

    def __init__(
        self,
        pretrain: PretrainParams | None = None,
        augment: AugmentParams | None = None,
        train: TrainParams | None = None,
        compute: ComputeParams | None = None,
        time_budget_s: float = 90.0,
        random_state: int = 0,
        verbose: bool = False,
        schema: TableSchema | None = None,
    ) -> None:
        self.pretrain = pretrain
        self.augment = augment
        self.train = train
        self.compute = compute
        self.time_budget_s = time_budget_s
        self.random_state = random_state
        self.verbose = verbose
        self.schema = schema

    def fit(self, X: pd.DataFrame | np.ndarray, y: Any) -> Self:
        """Fit on labeled and unlabeled rows.

        Args:
            X: Table of ``n`` rows with numbers, categories and booleans; cells may be missing. An
                array is treated as a table of numbers.
            y: Labels, shape ``(n,)``; unlabeled rows have the number -1 or a missing value (the
                text ``"-1"`` is a label). Classes with only one label are never held out, so two
                labels per class are better.

        Raises:
            UserError: If no column can be used, lengths differ, no class has two labels, or a label
                is no class of ``schema``.
        """
        started = time.monotonic()
        table, labels = as_table(X), as_labels(y)
        _check(table, labels)
        is_labeled = labels.notna().to_numpy()
        schema = self.schema or infer_schema(table, labels)
        encoder = TableEncoder(schema).fit(table, self.random_state)
        rows = Encoded(encoder.transform(table), schema.encode_labels(labels))
        generator = make_generator(
            encoder, self.pretrain_params(), self.compute or ComputeParams(), self.random_state
        )
        generator.fit(rows, progress=Progress("pretrain") if self.verbose else None)
        pretrain_seconds = time.monotonic() - started
        params = self._train_params(pretrain_seconds)
        problem = LearningProblem.from_encoded(
            Encoded(rows.x[is_labeled], rows.y[is_labeled]),
            Encoded(rows.x[~is_labeled], rows.y[~is_labeled]),
            generator,
            self.augment or AugmentParams(),
            self.random_state,
            max_rows=params.max_rows_graph,
        )
        callbacks = PrintedProgress() if self.verbose else FitCallbacks()
        committee = fit_committee(problem, params, callbacks=callbacks)
        self.selection_, self.trials_ = committee.selection, committee.trials
        self.classifier_ = committee.classifier(self.selection_.selected, encoder, generator)
        self.labels_only_ = committee.classifier(self.selection_.labels_only, encoder)
        if self.schema is None:
            self.classes_ = np.array(sorted(pd.unique(labels.dropna()), key=_sort_key))
        else:
            self.classes_ = self.classifier_.classes_
        self.n_features_in_ = table.shape[1]
        self.fit_seconds_ = {"pretrain": pretrain_seconds, **committee.seconds}
        if self.verbose:
            print(f"semigen: {self.selection_.reason}", flush=True)
        return self

    def predict_proba(self, X: pd.DataFrame | np.ndarray) -> np.ndarray:
        """Return calibrated class probabilities, shape ``(n, n_classes)``."""
        check_is_fitted(self, "classifier_")
        columns = self.classifier_.schema.encode_labels(pd.Series(self.classes_, dtype=object))
        return self.classifier_.predict_proba(as_table(X))[:, columns]

    def evidence(self) -> pd.DataFrame:
        """Return a row per learner: rows used, out-of-fold accuracy and log loss, and weight."""
        check_is_fitted(self, "selection_")
        selected = self.selection_.selected
        weights = {
            m.learner.name: w for m, w in zip(selected.members, selected.weights, strict=True)
        }
        return pd.DataFrame(
            {
                "learner": candidate.name,
                "uses": ", ".join(candidate.uses) or "labels only",
                "accuracy": candidate.hits.mean(),
                "log_loss": candidate.losses.mean(),
                "weight": weights.get(candidate.name, 0.0),
            }
            for candidate in self.selection_.candidates
        )

    def save(self, folder: str | Path) -> None:
        """Write the classifier, without training rows, for ``semigen.load``."""
        check_is_fitted(self, "classifier_")
        self.classifier_.save(Path(folder))

    def pretrain_params(self) -> PretrainParams:
        """Return the generator's parameters with the number of steps that the budget allows."""
        params = self.pretrain or PretrainParams()
        limit = max(200, int(PRETRAINING_FRACTION * self.time_budget_s * STEPS_PER_SECOND))
        chosen = params.chosen.model_copy(update={"max_steps": min(params.chosen.max_steps, limit)})
        return params.model_copy(update={params.generator: chosen})

    def _train_params(self, elapsed: float) -> TrainParams:
        """Return the training parameters with what is left of the time budget.

        Args:
            elapsed: Seconds since the start of the fit.
        """
        params = self.train or TrainParams()
        remaining = max(1.0, self.time_budget_s - elapsed)
        if params.search.trials == 0:
            return params.model_copy(update={"time_budget_s": remaining})
        limit = min(params.search.time_budget_s, SEARCH_FRACTION * remaining)
        search = params.search.model_copy(update={"time_budget_s": limit})
        return params.model_copy(update={"time_budget_s": remaining - limit, "search": search})


class PrintedProgress(FitCallbacks):
    """Prints a line per trial and learner.

    Examples:
        >>> PrintedProgress().on_learner_start("extra_trees")
        semigen: evaluating extra_trees
    """

    def on_trial(self, summary: str) -> None:
        print(f"semigen: {summary}", flush=True)

    def on_learner_start(self, name: str) -> None:
        print(f"semigen: evaluating {name}", flush=True)


def as_table(X: pd.DataFrame | np.ndarray) -> pd.DataFrame:
    """Return rows as a table; the columns of an array are named ``column_0``, ``column_1``, ..."""
    if isinstance(X, pd.DataFrame):
        return X.reset_index(drop=True)
    array = np.asarray(X)
    if array.ndim != 2:
        raise UserError(f"expected a table or an array of rows and columns, got {array.shape=}")
    return pd.DataFrame(array, columns=[f"column_{i}" for i in range(array.shape[1])])


def as_labels(y: Any) -> pd.Series:
    """Return labels, missing where unlabeled; the text "-1" is a label."""
    labels = pd.Series(np.asarray(y, dtype=object), name=TARGET)
    return labels.where(labels.notna() & ~labels.isin([-1]), None)


def infer_schema(table: pd.DataFrame, labels: pd.Series) -> TableSchema:
    """Infer the schema of a table; its target gets a name that no feature has.

    Args:
        table: Feature columns of all rows.
        labels: Label of each row, missing where unlabeled.
    """
    target = TARGET
    while target in table:
        target += "_"
    is_labeled = labels.notna()
    return TableSchema.infer(
        table[is_labeled].assign(**{target: labels[is_labeled]}), table, target
    )


def _check(table: pd.DataFrame, labels: pd.Series) -> None:
    if len(table) != len(labels):
        raise UserError(f"{len(table)} rows, but {len(labels)} labels")
    counts = labels.value_counts()
    if len(counts) < 2:
        raise UserError(f"labels of at least two classes are needed, got {list(counts.index)}")
    if counts.max() < 2:
        raise UserError(
            "every class has only one label; at least one class needs two, so that learners can be "
            "evaluated on held-out rows"
        )


def _sort_key(label: Any) -> tuple[bool, Any]:
    return isinstance(label, str), label
