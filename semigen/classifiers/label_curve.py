"""Fits of the label curve: the estimator, trained on part of the labels."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pandas as pd

from semigen.classifiers.semi_supervised import SemiSupervisedClassifier
from semigen.evaluation.label_curve import Fit, label_order
from semigen.params.config import Params, SearchParams
from semigen.tables.schema import TableSchema


@dataclass(frozen=True)
class LabelCurveTables:
    """Prepared tables of the label curve.

    Attributes:
        schema: Columns and classes of the tables.
        rows: Features of the labeled rows, followed by those of the unlabeled rows.
        y: Class indices of the labeled rows, shape ``(n_labeled,)``.
        test: Features of the test rows.
        y_test: Class indices of the test rows, shape ``(n_test,)``.

    Examples:
        >>> table = pd.DataFrame({"height": [1.5, 1.6, 1.8, 1.9], "group": list("aabb")})
        >>> schema = TableSchema.infer(table, table, "group")
        >>> LabelCurveTables.from_prepared(schema, table[:3], table[3:], table).y.tolist()
        [0, 0, 1]
    """

    schema: TableSchema
    rows: pd.DataFrame
    y: np.ndarray
    test: pd.DataFrame
    y_test: np.ndarray

    @classmethod
    def from_prepared(
        cls,
        schema: TableSchema,
        labeled: pd.DataFrame,
        unlabeled: pd.DataFrame,
        test: pd.DataFrame,
    ) -> LabelCurveTables:
        """Separate features and labels of the prepared tables."""
        names = [column.name for column in schema.features]
        return cls(
            schema,
            pd.concat([labeled[names], unlabeled[names]], ignore_index=True),
            schema.encode_labels(labeled[schema.target]),
            test[names],
            schema.encode_labels(test[schema.target]),
        )


def fit_once(tables: LabelCurveTables, n_labeled: int, draw: int, params: Params) -> Fit:
    """Train the estimator on part of the labels and predict the test rows.

    The other labeled rows are used as unlabeled rows. A search (``train.search``) is left out.

    Args:
        tables: Prepared tables.
        n_labeled: Number of labels to keep.
        draw: Number of the draw, from 0; added to the seed.
        params: Parameters of the run.
    """
    started = time.monotonic()
    seed = (params.seed + draw) % 2**32
    kept = label_order(tables.y, seed)[:n_labeled]
    y_masked = np.full(len(tables.rows), None, dtype=object)
    y_masked[kept] = np.array(tables.schema.classes, dtype=object)[tables.y[kept]]
    model = SemiSupervisedClassifier(
        pretrain=params.pretrain,
        augment=params.augment,
        train=params.train.model_copy(update={"search": SearchParams()}),
        compute=params.compute,
        schema=tables.schema,
        time_budget_s=params.train.time_budget_s,
        random_state=seed,
    ).fit(tables.rows, y_masked)
    hits = [
        classifier.predict_proba(tables.test).argmax(axis=1) == tables.y_test
        for classifier in (model.classifier_, model.labels_only_)
    ]
    return Fit(n_labeled, draw, time.monotonic() - started, np.array(hits))
