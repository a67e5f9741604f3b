"""``SemiSupervisedClassifier``: a scikit-learn estimator for few labels and many unlabeled rows."""

from __future__ import annotations

import contextlib
import html
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score
from sklearn.utils import Tags, check_random_state, estimator_html_repr
from sklearn.utils.validation import check_is_fitted

from semigen.classifiers.callbacks import LearnerProgressBar
from semigen.classifiers.classifier import Classifier
from semigen.classifiers.fitting import fit_committee
from semigen.classifiers.importances import permutation_importances
from semigen.classifiers.inputs import (
    as_labels,
    as_table,
    check_labels,
    distinct_labels,
    infer_schema,
    labeled_rows,
)
from semigen.classifiers.problem import LearningProblem
from semigen.classifiers.saved_estimator import ESTIMATOR, EstimatorFacts, read_estimator
from semigen.classifiers.selection import Selection
from semigen.classifiers.summary import SelectionSummary
from semigen.estimators.base import ProbabilisticClassifier
from semigen.estimators.nested_params import NestedParams
from semigen.generators import make_generator
from semigen.params.base import Section
from semigen.params.config import (
    AugmentParams,
    ComputeParams,
    PretrainParams,
    PrivacyParams,
    TrainParams,
)
from semigen.tables.encoding import Encoded, TableEncoder
from semigen.tables.misfits import find_misfits
from semigen.tables.schema import TableSchema
from semigen.training.compute import cpu_seconds
from semigen.training.progress_bar import ProgressBar
from semigen.wording import show_cells

PRETRAINING_FRACTION = 0.4
SEARCH_FRACTION = 0.5
STEPS_PER_SECOND = 120
"""Steps of the default VAE that even a slow core makes per second. The time budget limits the
number of steps by this constant instead of a clock, so that equal runs give equal results."""


class SemiSupervisedClassifier(ProbabilisticClassifier, NestedParams):
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
        time_budget_s: CPU seconds after which no further learner is evaluated. Pretraining is
            limited to 0.4 of this time, and a search to half of what pretraining leaves. The final
            fits on all labeled rows come on top. If learners are left out, the result is not
            reproducible on another machine, which ``selection_.reason`` says.
        random_state: Seed of all random steps. None draws a seed from NumPy's global generator, and
            a ``RandomState`` draws one from itself.
        verbose: Whether to show progress bars (``tqdm.auto``), and the reason of the selection.
        schema: Column kinds and classes of the table; inferred from ``X`` and ``y`` if None.
            Features of the schema are matched by name, other columns are ignored.
        privacy: Minimum number of rows of a category in an inferred schema.

    Attributes:
        classes_: Labels, shape ``(n_classes,)``; all classes of ``schema`` if it is given.
        classifier_: Classifier that predicts. ``save`` writes it and ``semigen.load`` reads it.
        labels_only_: Classifier of the labels-only learners.
        selection_: Committees, evidence and the reason of the selection; after ``load``, the
            ``SelectionSummary``, which has no out-of-fold predictions.
        trials_: A row per trial of the search; empty without a search.
        n_features_in_: Number of columns of ``X``.
        feature_names_in_: Names of these columns, if ``X`` is a data frame with text names.
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
        >>> model.leaderboard().columns.tolist()[:5]
        ['name', 'kind', 'uses', 'weight', 'accuracy']
    """

    sections: ClassVar[dict[str, type[Section]]] = {
        "pretrain": PretrainParams,
        "augment": AugmentParams,
        "train": TrainParams,
        "compute": ComputeParams,
        "privacy": PrivacyParams,
    }

    selection_: Selection | SelectionSummary

    def __init__(
        self,
        pretrain: PretrainParams | None = None,
        augment: AugmentParams | None = None,
        train: TrainParams | None = None,
        compute: ComputeParams | None = None,
        time_budget_s: float = 90.0,
        random_state: int | np.random.RandomState | None = 0,
        verbose: bool = False,
        schema: TableSchema | None = None,
        privacy: PrivacyParams | None = None,
    ) -> None:
        self.pretrain = pretrain
        self.augment = augment
        self.train = train
        self.compute = compute
        self.time_budget_s = time_budget_s
        self.random_state = random_state
        self.verbose = verbose
        self.schema = schema
        self.privacy = privacy

    def fit(self, X: pd.DataFrame | np.ndarray, y: Any) -> Self:
        """Fit on labeled and unlabeled rows.

        Args:
            X: Data frame or array, shape ``(n, n_features)``, with numbers, categories and
                booleans; cells may be missing.
            y: Labels, shape ``(n,)``; unlabeled rows have the number -1 or a missing value (the
                text ``"-1"`` is a label). Classes with only one label are never held out, so two
                labels per class are better.

        Raises:
            UserError: If no column can be used, lengths differ, no class has two labels, or a label
                is no class of ``schema``.
        """
        started, cpu_started = time.monotonic(), cpu_seconds()
        table, labels = as_table(self, X, reset=True), as_labels(y)
        check_labels(labels, len(table))
        is_labeled, seed = labels.notna().to_numpy(), self._seed()
        privacy = self.privacy or PrivacyParams()
        schema = self.schema or infer_schema(table, labels, privacy.min_rows)
        encoder = TableEncoder(schema).fit(table, seed)
        rows = Encoded(encoder.transform(table), schema.encode_labels(labels))
        generator = make_generator(
            encoder, self.pretrain_params(), self.compute or ComputeParams(), seed
        )
        generator.fit(rows, progress=ProgressBar("pretrain") if self.verbose else None)
        pretrain_seconds = time.monotonic() - started
        params = self._train_params(cpu_seconds() - cpu_started)
        problem = LearningProblem.from_encoded(
            Encoded(rows.x[is_labeled], rows.y[is_labeled]),
            Encoded(rows.x[~is_labeled], rows.y[~is_labeled]),
            generator,
            self.augment or AugmentParams(),
            seed,
            max_rows=params.max_rows_graph,
        )
        with LearnerProgressBar() if self.verbose else contextlib.nullcontext() as progress:
            committee = fit_committee(problem, params, callbacks=progress)
        selection = committee.selection
        self.selection_, self.trials_ = selection, committee.trials
        self.classifier_ = committee.classifier(selection.selected, encoder, generator)
        self.labels_only_ = committee.classifier(selection.labels_only, encoder)
        if self.schema is None:
            self.classes_ = distinct_labels(labels)
        else:
            self.classes_ = self.classifier_.classes_
        self.fit_seconds_ = {"pretrain": pretrain_seconds, **committee.seconds}
        if self.verbose:
            print(f"semigen: {self.selection_.reason}", flush=True)
        return self

    def predict_proba(self, X: pd.DataFrame | np.ndarray) -> np.ndarray:
        """Return calibrated class probabilities, shape ``(n, n_classes)``.

        Args:
            X: Rows with the columns of the fit, in the same order; other columns are ignored.

        Raises:
            UserError: If too many cells of a column do not fit the schema; fewer give a warning.
        """
        check_is_fitted(self, "classifier_")
        columns = self.classifier_.schema.encode_labels(pd.Series(self.classes_, dtype=object))
        table = as_table(self, X, reset=False)
        for note in find_misfits(table, self.classifier_.schema, "X"):
            warnings.warn(show_cells(note), UserWarning, stacklevel=2)
        return self.classifier_.predict_proba(table)[:, columns]

    def score(
        self, X: pd.DataFrame | np.ndarray, y: Any, sample_weight: np.ndarray | None = None
    ) -> float:
        """Return the accuracy on the labeled rows; unlabeled rows are ignored.

        Args:
            X: Rows with the columns of the fit.
            y: Labels, shape ``(n,)``, -1 or missing where unlabeled.
            sample_weight: Weight of each row in the accuracy, shape ``(n,)``.

        Raises:
            UserError: If no row has a label.
        """
        rows, labels, is_labeled = labeled_rows(X, y)
        weights = None if sample_weight is None else np.asarray(sample_weight)[is_labeled]
        return float(accuracy_score(labels, self.predict(rows), sample_weight=weights))

    def novelty(self, X: pd.DataFrame | np.ndarray) -> np.ndarray:
        """Return the novelty of rows, shape ``(n,)``, from 0 (typical) to 1 (never seen).

        See ``Classifier.novelty``.
        """
        check_is_fitted(self, "classifier_")
        return self.classifier_.novelty(as_table(self, X, reset=False))

    def evidence(self) -> pd.DataFrame:
        """Return a row per learner: rows used, out-of-fold accuracy and log loss, and weight."""
        return self._summary().evidence()

    def leaderboard(self) -> pd.DataFrame:
        """Return learners and committees with their out-of-fold scores, lowest log loss first.

        The columns are ``name``, ``kind`` (learner or committee), ``uses``, ``weight`` in the
        selected committee, ``accuracy`` and ``log_loss`` (in nats), each with the bounds of its
        95 % interval (``accuracy_low`` and so on). The weights of the committees were chosen on the
        same predictions, so the scores of committees are slightly optimistic.
        """
        return self._summary().leaderboard.copy()

    def feature_importances(
        self,
        X: pd.DataFrame | np.ndarray,
        y: Any,
        *,
        scoring: str | Callable[..., float] | None = None,
        n_repeats: int = 5,
    ) -> pd.DataFrame:
        """Return the permutation importance of every column on the labeled rows.

        The importance is the mean decrease of a score when the values of one column are permuted
        (``sklearn.inspection.permutation_importance``). On the rows of the fit it says what the
        classifier relies on, and on other labeled rows also what generalizes. Of two columns with
        the same information, each may seem unimportant.

        Args:
            X: Rows with the columns of the fit.
            y: Labels, shape ``(n,)``, -1 or missing where unlabeled; unlabeled rows are ignored.
            scoring: Score of scikit-learn or function ``scoring(estimator, X, y)``. None takes the
                mean log-likelihood of the labels in nats, which is more sensitive than accuracy.
            n_repeats: Number of permutations of each column.

        Returns:
            A row per column, the most important first: ``feature``, ``importance`` and ``std``, the
            standard deviation over the permutations.

        Raises:
            UserError: If no row has a label.
        """
        check_is_fitted(self, "classifier_")
        rows, labels, _ = labeled_rows(X, y)
        names = as_table(self, X, reset=False).columns.tolist()
        return permutation_importances(
            self, rows, labels, names, scoring=scoring, n_repeats=n_repeats, seed=self._seed()
        )

    def save(self, folder: str | Path) -> None:
        """Write the estimator, without training rows, for ``semigen.load``.

        ``labels_only_`` and the out-of-fold predictions in ``selection_`` are not saved.

        Raises:
            UserError: If the folder holds anything but an earlier classifier.
        """
        check_is_fitted(self, "classifier_")
        facts = EstimatorFacts.of(self, self._summary())
        self.classifier_.save(Path(folder), {ESTIMATOR: facts.model_dump(mode="json")})

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read an estimator that ``save`` wrote; no pickle is loaded.

        Raises:
            UserError: If the folder is absent, incomplete or damaged, or holds no estimator.
        """
        folder = Path(folder)
        classifier = Classifier.load(folder)
        facts = read_estimator(folder)
        loaded = cls(**facts.params())
        loaded.classifier_, loaded.classes_ = classifier, facts.class_labels()
        loaded.selection_ = facts.summary()
        loaded.trials_, loaded.fit_seconds_ = pd.DataFrame(facts.trials), facts.fit_seconds
        loaded.n_features_in_ = facts.n_features_in
        if facts.feature_names_in is not None:
            loaded.feature_names_in_ = np.array(facts.feature_names_in, dtype=object)
        return loaded

    def pretrain_params(self) -> PretrainParams:
        """Return the generator's parameters with the number of steps that the budget allows."""
        params = self.pretrain or PretrainParams()
        limit = max(200, int(PRETRAINING_FRACTION * self.time_budget_s * STEPS_PER_SECOND))
        chosen = params.chosen.model_copy(update={"max_steps": min(params.chosen.max_steps, limit)})
        return params.model_copy(update={params.generator: chosen})

    def _train_params(self, elapsed: float) -> TrainParams:
        """Return the training parameters with what is left of the time budget.

        Args:
            elapsed: CPU seconds since the start of the fit.
        """
        params = self.train or TrainParams()
        remaining = max(0.0, self.time_budget_s - elapsed)
        if params.search.trials == 0:
            return params.model_copy(update={"time_budget_s": remaining})
        limit = min(params.search.time_budget_s, SEARCH_FRACTION * remaining)
        search = params.search.model_copy(update={"time_budget_s": limit})
        return params.model_copy(update={"time_budget_s": remaining - limit, "search": search})

    def _seed(self) -> int:
        state = self.random_state
        if state is None or isinstance(state, np.random.RandomState):
            return int(check_random_state(state).randint(np.iinfo(np.int32).max))
        return int(state)

    def _summary(self) -> SelectionSummary:
        check_is_fitted(self, "selection_")
        if isinstance(self.selection_, SelectionSummary):
            return self.selection_
        return SelectionSummary.of(self.selection_)

    def _html_repr(self) -> str:
        """Return scikit-learn's diagram and, after the fit, the leaderboard, for notebooks."""
        diagram: str = estimator_html_repr(self)
        if not hasattr(self, "classifier_"):
            return diagram
        summary = self._summary()
        board = summary.leaderboard.to_html(index=False, float_format="{:.3f}".format)
        return f"{diagram}<p>{html.escape(summary.reason)}</p>{board}"

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        inputs = tags.input_tags
        inputs.allow_nan = inputs.string = inputs.categorical = True
        return tags
