"""Train on synthetic, test on real: the utility of synthetic rows for a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

from semigen.evaluation.estimates import Estimate, Gain
from semigen.evaluation.metrics import evaluate
from semigen.tables.schema import TableSchema

UTILITY_METRICS = ("accuracy", "macro_f1", "roc_auc")
MAX_LEVELS = 254
"""Maximum number of categories of a column; scikit-learn's boosting accepts 255 codes."""
MIN_ROWS_EARLY_STOPPING = 10_000


@dataclass(frozen=True)
class Utility:
    """Metrics on real test rows of one learner, trained on synthetic and on real rows.

    Attributes:
        synthetic: Metrics of the learner trained on synthetic rows: ``accuracy``, ``macro_f1`` and
            ``roc_auc`` (with several classes, the mean of each class against the rest).
        real: Metrics of the learner trained on real rows.
        gap: Paired difference ``synthetic - real``, by metric.
        missing_classes: Classes without a synthetic row. Their predicted probability is 0, so all
            their test rows are errors.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> rows = pd.DataFrame({"age": rng.normal(size=200)})
        >>> rows = rows.assign(label=np.where(rows["age"] > 0, "old", "young"))
        >>> schema = TableSchema.infer(rows, rows, "label")
        >>> utility(rows[:100], rows[:100], rows[100:], schema).gap["accuracy"].value
        0.0
    """

    synthetic: Mapping[str, Estimate]
    real: Mapping[str, Estimate]
    gap: Mapping[str, Gain]
    missing_classes: tuple[str, ...]


def utility(
    synthetic: pd.DataFrame,
    real: pd.DataFrame,
    test: pd.DataFrame,
    schema: TableSchema,
    *,
    seed: int = 0,
    n_bootstrap: int = 2000,
    confidence: float = 0.95,
) -> Utility:
    """Compare gradient boosting trained on synthetic rows with that trained on real rows.

    The protocol of Esteban et al. (2017, "TSTR"). The learner is scikit-learn's histogram gradient
    boosting with its defaults, which handles categories and missing values. Intervals are those of
    ``metrics.evaluate``: they cover the random choice of the test rows, not that of the training.

    Args:
        synthetic: Synthetic rows with their labels, at least one.
        real: Real training rows with their labels, at least one.
        test: Real test rows with their labels, used neither for ``synthetic`` nor in ``real``.
        schema: Schema of the three tables.
        seed: Seed of the learner and of the resamples.
        n_bootstrap: Number of resamples.
        confidence: Coverage of the intervals.

    Raises:
        ValueError: If a table has no row, or a row has no label.
        UserError: If a column is missing, or a value or label does not fit the schema.
    """
    levels = _levels(schema.coerce(real), schema)
    x_test, y_test = _problem(test, schema, levels, "test")
    probabilities, missing = [], set(range(len(schema.classes)))
    for table, name in ((synthetic, "synthetic"), (real, "real")):
        x, y = _problem(table, schema, levels, name)
        probabilities.append(_fit_predict(x, y, x_test, schema, seed))
        if name == "synthetic":
            missing -= set(y.tolist())
    found = evaluate(y_test, *probabilities, n_bootstrap=n_bootstrap, confidence=confidence)
    return Utility(
        synthetic={metric: found.test[metric] for metric in UTILITY_METRICS},
        real={metric: found.baseline[metric] for metric in UTILITY_METRICS},
        gap={metric: found.gain[metric] for metric in UTILITY_METRICS},
        missing_classes=tuple(schema.classes[code] for code in sorted(missing)),
    )


def _levels(typed: pd.DataFrame, schema: TableSchema) -> dict[str, pd.Index]:
    return {
        c.name: typed[c.name].value_counts().index[:MAX_LEVELS]
        for c in schema.features
        if c.kind != "numeric"
    }


def _problem(
    table: pd.DataFrame, schema: TableSchema, levels: Mapping[str, pd.Index], name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return features as numbers and class indices; categories not in the levels are missing."""
    y = schema.encode_labels(table[schema.target])
    if not len(y) or (y < 0).any():
        raise ValueError(
            f"{name} rows: expected labeled rows, {(y < 0).sum()} of {len(y)} have no label"
        )
    typed = schema.coerce(table, f"{name} rows")
    columns = [
        levels[c.name].get_indexer(pd.Index(typed[c.name])).astype(float)
        if c.name in levels
        else typed[c.name].to_numpy(float)
        for c in schema.features
    ]
    x = np.column_stack(columns)
    is_category = [c.name in levels for c in schema.features]
    x[:, is_category] = np.where(x[:, is_category] < 0, np.nan, x[:, is_category])
    return x, y


def _fit_predict(
    x: np.ndarray, y: np.ndarray, x_test: np.ndarray, schema: TableSchema, seed: int
) -> np.ndarray:
    """Return probabilities of all classes, shape ``(len(x_test), n_classes)``."""
    probabilities = np.zeros((len(x_test), len(schema.classes)))
    present, counts = np.unique(y, return_counts=True)
    if len(present) == 1:
        probabilities[:, present] = 1.0
        return probabilities
    learner = HistGradientBoostingClassifier(
        categorical_features=[c.kind != "numeric" for c in schema.features],
        # scikit-learn's rule, except for classes with one row, which cannot be stratified.
        early_stopping=bool(len(y) > MIN_ROWS_EARLY_STOPPING and counts.min() > 1),
        random_state=seed,
    )
    probabilities[:, present] = learner.fit(x, y).predict_proba(x_test)
    return probabilities
