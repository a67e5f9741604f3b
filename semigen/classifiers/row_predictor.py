"""Predictions of the rows of a table, block by block, with a summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from semigen.classifiers.classifier import Classifier
from semigen.tables.misfits import Misfits
from semigen.wording import show_cells

MAX_REASONS = 5
"""Number of rows without a prediction whose reasons are kept for the message."""


@dataclass(frozen=True)
class PredictionSummary:
    """What was predicted for a table.

    Attributes:
        n_rows: Number of rows of the table.
        classes: For each predicted class ``prediction``, ``rows`` and ``mean_novelty`` (None for a
            classifier without a generator), the most frequent class first.
        n_failed: Number of rows without a prediction.
        reasons: The first of these rows with the reason, such as ``row 3: column 'age': 'old' is no
            number``.
        warnings: What the user should know about cells that do not fit the classifier's schema.

    Values of cells in reasons and warnings are marked (``wording.cell``).

    Examples:
        >>> classes = [{"prediction": "ill", "rows": 2, "mean_novelty": 0.5}]
        >>> PredictionSummary(3, classes, 1, ("row 3: column 'age': 'old' is no number",)).failures
        "1 of 3 rows without a prediction; row 3: column 'age': 'old' is no number"
    """

    n_rows: int
    classes: list[dict[str, Any]]
    n_failed: int
    reasons: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def failures(self) -> str | None:
        """One line about the rows without a prediction; None if there are none."""
        if not self.n_failed:
            return None
        more = self.n_failed - len(self.reasons)
        listed = "; ".join(self.reasons) + (f"; and {more} more" if more else "")
        return f"{self.n_failed} of {self.n_rows} rows without a prediction; {listed}"


class RowPredictor:
    """Predicts the blocks of a table, one after the other.

    Args:
        classifier: The classifier.

    Attributes:
        misfits: Cells of the blocks that do not fit the classifier's schema.
        types: Type of each column of the predictions.

    Examples:
        >>> from sklearn.naive_bayes import GaussianNB
        >>> from semigen.classifiers.classifier import Member
        >>> from semigen.tables.encoding import TableEncoder
        >>> from semigen.tables.schema import TableSchema
        >>> table = pd.DataFrame({"height": [1.5, 1.6, 1.8, 1.9], "group": list("aabb")})
        >>> encoder = TableEncoder(TableSchema.infer(table, table, "group")).fit(table)
        >>> estimator = GaussianNB().fit(encoder.transform(table), [0, 0, 1, 1])
        >>> classifier = Classifier(encoder, (Member("nb", estimator, "encoded", 1.0),))
        >>> predictor = RowPredictor(classifier)
        >>> rows = predictor.predict(pd.DataFrame({"height": [1.4, 1e40]}))
        >>> rows["prediction"].isna().tolist(), rows["error"].isna().tolist()
        ([False, True], [True, False])
        >>> predictor.summary().n_failed
        1
    """

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self._names = [f"probability_{label}" for label in classifier.schema.classes]
        label = pa.int64() if classifier.schema.integer_classes else pa.string()
        self.types: dict[str, pa.DataType] = {
            "prediction": label,
            **dict.fromkeys(self._names, pa.float64()),
            "novelty": pa.float64(),
            "error": pa.string(),
        }
        self.misfits = Misfits(classifier.schema)
        self._n_rows = self._n_failed = 0
        self._reasons: list[str] = []
        self._counts = np.zeros(len(self._names), dtype=np.int64)
        self._novelty = np.zeros(len(self._names))

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the predictions of the next rows; those of rows with an error are missing.

        Args:
            frame: Rows with all feature columns, shape ``(n, n_columns)``.
        """
        self.misfits.add(frame)
        x, errors = self.classifier.encoder.transform_valid(frame)
        probabilities = self.classifier.predict_encoded(x)
        novelty = np.full(len(x), np.nan)
        if self.classifier.generator is not None:
            novelty = self.classifier.novelty_encoded(x).round(4)
        is_valid = ~np.isin(np.arange(len(x)), list(errors))
        codes = probabilities.argmax(axis=1)
        self._count(codes[is_valid], novelty[is_valid], errors)
        reasons = [show_cells(errors[row]) if row in errors else None for row in range(len(x))]
        columns = {
            "prediction": self.classifier.classes_[codes].astype(object),
            **dict(zip(self._names, probabilities.round(6).T, strict=True)),
            "novelty": novelty,
        }
        table = pd.DataFrame(columns)
        table.loc[~is_valid] = np.nan
        return table.assign(error=pd.Series(reasons, dtype=object))

    def summary(self, source: str = "table") -> PredictionSummary:
        """Return what was predicted so far.

        Args:
            source: Name of the table in warnings and errors.

        Raises:
            UserError: If too many cells of a column do not fit the classifier's schema.
        """
        has_novelty = self.classifier.generator is not None
        classes = [
            {
                "prediction": self.classifier.classes_[code],
                "rows": int(self._counts[code]),
                "mean_novelty": round(float(self._novelty[code] / self._counts[code]), 4)
                if has_novelty
                else None,
            }
            for code in np.argsort(-self._counts, kind="stable").tolist()
            if self._counts[code]
        ]
        warnings = tuple(self.misfits.warnings(source)) if self._n_failed < self._n_rows else ()
        reasons = tuple(self._reasons)
        return PredictionSummary(self._n_rows, classes, self._n_failed, reasons, warnings)

    def _count(self, codes: np.ndarray, novelty: np.ndarray, errors: Mapping[int, str]) -> None:
        n_classes = len(self._counts)
        self._counts += np.bincount(codes, minlength=n_classes)
        self._novelty += np.bincount(codes, novelty, minlength=n_classes)
        for row in sorted(errors)[: MAX_REASONS - len(self._reasons)]:
            self._reasons.append(f"row {self._n_rows + row + 1}: {errors[row]}")
        self._n_failed += len(errors)
        self._n_rows += len(codes) + len(errors)
