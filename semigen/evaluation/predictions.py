"""Labels and class probabilities of a table, in the class order of one schema."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pandas as pd

from semigen.errors import UserError
from semigen.tables.schema import TableSchema


class TableClassifier(Protocol):
    """What scoring needs of a classifier of tables, such as ``Classifier``."""

    @property
    def schema(self) -> TableSchema:
        """Feature columns and classes that the classifier was trained with."""

    @property
    def learner_name(self) -> str:
        """Name of the selected learner or committee."""

    @property
    def classes_(self) -> np.ndarray:
        """Class labels in the order of the columns of ``predict_proba``."""

    def predict_proba(self, frame: pd.DataFrame, /) -> np.ndarray:
        """Return class probabilities, shape ``(n, n_classes)``."""


def labels_of(test: pd.DataFrame, schema: TableSchema) -> np.ndarray:
    """Return the class index of every test row, shape ``(n,)``.

    Raises:
        UserError: If a test row has no label, or its label is not one of the classes.
    """
    y = schema.encode_labels(test[schema.target])
    if (y < 0).any():
        row = int(np.flatnonzero(y < 0)[0])
        raise UserError(
            f"test table: column {schema.target!r}, row {row + 1}: no label "
            f"({int((y < 0).sum())} such row(s)); give every test row a label or remove it"
        )
    return y


def class_probabilities(
    classifier: TableClassifier, test: pd.DataFrame, schema: TableSchema
) -> np.ndarray:
    """Return probabilities in the order of the schema's classes, shape ``(n, n_classes)``.

    A class that the classifier does not know has probability 0.

    Args:
        classifier: The classifier.
        test: Test rows with the label column, shape ``(n, n_columns)``.
        schema: Schema whose classes give the order.

    Raises:
        UserError: If a feature column of the classifier is missing, or the schema lacks a class of
            the classifier.
    """
    probabilities = classifier.predict_proba(test.drop(columns=schema.target))
    ordered = np.zeros((len(test), len(schema.classes)))
    ordered[:, schema.encode_labels(pd.Series(classifier.classes_))] = probabilities
    return ordered
