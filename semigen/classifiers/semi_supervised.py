"""``SemiSupervisedClassifier``: few labels and many rows in, the best safe classifier out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from semigen.classifiers.classifier import Classifier
from semigen.classifiers.cross_validation import cross_validate
from semigen.classifiers.fitting import fit_members, learners_for, members
from semigen.classifiers.problem import TrainingRows
from semigen.classifiers.selection import select
from semigen.errors import UserError
from semigen.estimators.base import ProbabilisticClassifier
from semigen.generators import make_generator
from semigen.params.config import AugmentParams, ComputeParams, PretrainParams, TrainParams
from semigen.tables.encoding import Encoded, TableEncoder
from semigen.tables.schema import TableSchema
from semigen.training.progress import Progress

TARGET = "label"
SHARE_OF_PRETRAINING = 0.4
STEPS_PER_SECOND = 120
"""Steps of the default VAE that a slow core surely makes; the number of steps is bounded by it and
not by a clock, so that equal runs stay equal."""


class SemiSupervisedClassifier(ProbabilisticClassifier):
    """A generator, learners and their weights, all chosen from the rows given.

    A generative model is trained on all rows. Learners on the columns, on its features, on its
    synthetic rows and on graphs of all rows are compared by cross-validation on the labeled ones.
    They are averaged by that evidence: all of them if it is sure that unlabeled rows help, else
    those that use labels alone.

    Args:
        pretrain: The generator and its parameters.
        augment: How synthetic rows are made.
        train: Learners' parameters, folds, repeats, most rows in a graph (``max_rows_graph``,
            which bounds the memory), and how sure a gain from unlabeled rows must be
            (``min_gain_probability``).
        compute: Device, precision and threads.
        time_budget_s: Seconds after which no further learner is tried. Longer pretraining is cut
            short beforehand. What is fitted on all labels in the end takes a little more.
        random_state: Seed of everything random.
        verbose: Whether to show progress.

    Attributes:
        classes_: Labels, shape ``(n_classes,)``.
        classifier_: What answers; ``save`` writes it, ``semigen.load`` reads it.
        labels_only_: What labels alone would have given.
        selection_: Every learner's weight and evidence, and the reason.
        n_features_in_: Columns of the rows.
        fit_seconds_: Of pretraining, comparing and fitting.
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
    ) -> None:
        self.pretrain = pretrain
        self.augment = augment
        self.train = train
        self.compute = compute
        self.time_budget_s = time_budget_s
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: pd.DataFrame | np.ndarray, y: Any) -> Self:
        """Learn from rows, labeled or not.

        Args:
            X: Table of ``n`` rows; numbers, categories and booleans, missing cells allowed. Arrays
                are taken for tables of numbers.
            y: Labels, shape ``(n,)``; the number -1 or missing where unlabeled (a class of that
                name must be text). Two of each class are better than one, which no learner can be
                tried on.

        Raises:
            UserError: If no column can be used, lengths differ, or no class has two labels.
        """
        started = time.monotonic()
        table, labels = as_table(X), as_labels(y)
        _check(table, labels)
        is_labeled = labels.notna().to_numpy()
        schema = TableSchema.infer(
            table[is_labeled].assign(**{TARGET: labels[is_labeled]}), table, TARGET
        )
        encoder = TableEncoder(schema).fit(table, self.random_state)
        rows = Encoded(encoder.transform(table), schema.encode_labels(labels))
        generator = make_generator(
            encoder, self.pretrain_params(), self.compute or ComputeParams(), self.random_state
        )
        generator.fit(rows, progress=Progress("pretrain") if self.verbose else None)
        pretrained = time.monotonic()
        params = (self.train or TrainParams()).model_copy(
            update={"time_budget_s": max(1.0, self.time_budget_s - (pretrained - started))}
        )
        problem = TrainingRows.of(
            Encoded(rows.x[is_labeled], rows.y[is_labeled]),
            Encoded(rows.x[~is_labeled], rows.y[~is_labeled]),
            generator,
            self.augment or AugmentParams(),
            self.random_state,
            max_rows=params.max_rows_graph,
        )
        evidence = cross_validate(learners_for(problem, params), problem, params, self._say)
        compared = time.monotonic()
        self.selection_ = select(evidence, params, self.random_state)
        fitted = fit_members(self.selection_, problem, with_ablation=False)
        self.classifier_ = Classifier(encoder, members(self.selection_.selected, fitted), generator)
        self.labels_only_ = Classifier(encoder, members(self.selection_.labels_only, fitted))
        self.classes_ = np.array(sorted(pd.unique(labels.dropna()), key=_rank))
        self.n_features_in_ = table.shape[1]
        self.fit_seconds_ = {
            "pretrain": pretrained - started,
            "compare": compared - pretrained,
            "fit": time.monotonic() - compared,
        }
        self._say(self.selection_.reason)
        return self

    def predict_proba(self, X: pd.DataFrame | np.ndarray) -> np.ndarray:
        """Return calibrated class probabilities, shape ``(n, n_classes)``."""
        check_is_fitted(self, "classifier_")
        order = self.classifier_.schema.encode_labels(pd.Series(self.classes_, dtype=object))
        return self.classifier_.predict_proba(as_table(X))[:, order]

    def evidence(self) -> pd.DataFrame:
        """Return a row for each learner: what it uses, how right it was, and how much it counts."""
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
        """Write the classifier; ``semigen.load`` reads it. No training row is inside."""
        check_is_fitted(self, "classifier_")
        self.classifier_.save(Path(folder))

    def pretrain_params(self) -> PretrainParams:
        """Return the generator's parameters, with no more steps than the budget allows for."""
        params = self.pretrain or PretrainParams()
        most = max(200, int(SHARE_OF_PRETRAINING * self.time_budget_s * STEPS_PER_SECOND))
        chosen = params.chosen.model_copy(update={"max_steps": min(params.chosen.max_steps, most)})
        return params.model_copy(update={params.generator: chosen})

    def _say(self, text: str) -> None:
        if self.verbose:
            print(f"semigen: {text}", flush=True)


def as_table(X: pd.DataFrame | np.ndarray) -> pd.DataFrame:
    """Return rows as a table; columns of an array are named by their place."""
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


def _check(table: pd.DataFrame, labels: pd.Series) -> None:
    if len(table) != len(labels):
        raise UserError(f"{len(table)} rows, but {len(labels)} labels")
    if TARGET in table:
        raise UserError(f"column {TARGET!r}: the rows must not hold the labels")
    counts = labels.value_counts()
    if len(counts) < 2:
        raise UserError(f"labels of two classes at least are needed, got {list(counts.index)}")
    if counts.max() < 2:
        raise UserError(
            "every class has a single label; one at least must have two, so that learners can be "
            "tried on rows that they have not seen"
        )


def _rank(label: Any) -> tuple[bool, Any]:
    return isinstance(label, str), label
