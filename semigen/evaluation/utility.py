"""Train on synthetic, test on real: what synthetic rows are worth to a classifier."""

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
"""Categories of a column that the judge tells apart, the most frequent ones; it takes 255 codes."""
MIN_ROWS_EARLY_STOPPING = 10_000


@dataclass(frozen=True)
class Utility:
    """Figures on real test rows of one learner, trained on synthetic and on real rows.

    Attributes:
        synthetic: Of the learner trained on synthetic rows, by metric: ``accuracy``, ``macro_f1``
            and ``roc_auc`` (of several classes the mean of each against the rest).
        real: Of the same learner trained on real rows.
        gap: ``synthetic - real``, paired on the test rows.
        missing_classes: Classes without a synthetic row. The learner gives them probability 0: all
            their test rows count as errors.
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
    """Compare gradient boosting trained on synthetic rows with the same trained on real ones.

    The protocol of Esteban et al. (2017, "TSTR"). The learner is scikit-learn's histogram gradient
    boosting with its defaults; it is given numbers as they are and categories as categories, both
    possibly missing. Intervals are those of ``metrics.evaluate``: they cover the chance of drawing
    the test rows, not that of another training.

    Args:
        synthetic: Synthetic rows with their labels, at least one.
        real: Real training rows with their labels, at least one.
        test: Real rows that neither was made from, with their labels.
        schema: Columns and target of all three.
        seed: Seed of the learner and of the resamples.
        n_bootstrap: Resamples.
        confidence: Coverage of the intervals.

    Raises:
        ValueError: If a table has no row, or a row no label.
        UserError: If a column is absent, or a value or label is not the schema's.
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
    """Return columns as numbers and class indices; categories not among the levels are missing."""
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
        # scikit-learn's own rule, but for classes of one row, which its held-out part cannot split.
        early_stopping=bool(len(y) > MIN_ROWS_EARLY_STOPPING and counts.min() > 1),
        random_state=seed,
    )
    probabilities[:, present] = learner.fit(x, y).predict_proba(x_test)
    return probabilities
