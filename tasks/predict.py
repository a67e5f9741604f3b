"""``predict``: label new rows with the trained classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

import semigen
from semigen.errors import UserError
from semigen.sources import read_table, write_table


def predict_table(
    source: Path,
    destination: Path,
    model: Path,
    *,
    keep_columns: bool = False,
    impute_missing_columns: bool = False,
) -> int:
    """Write predictions for every row of a table, in its order.

    Columns written: ``prediction``, ``probability_<class>`` for every class, and ``novelty`` (the
    share of held-out rows that look more typical).

    Args:
        source: CSV or Parquet table with the classifier's feature columns, in any order.
        destination: CSV or Parquet table to write.
        model: Folder of the classifier.
        keep_columns: Write the input's own columns before the predictions.
        impute_missing_columns: Treat absent feature columns as missing values.

    Returns:
        Number of rows.

    Raises:
        UserError: If a file cannot be read, or a feature column is absent.
    """
    frame, classifier = read_table(source), semigen.load(model)
    absent = [c.name for c in classifier.schema.features if c.name not in frame]
    if absent and not impute_missing_columns:
        raise UserError(
            f"{source}: missing column(s) {', '.join(map(repr, absent))}; add them, or pass "
            "--impute-missing-columns to treat them as missing values"
        )
    features = frame.assign(**dict.fromkeys(absent, np.nan))
    try:
        probabilities = classifier.predict_proba(features)
    except UserError as error:
        raise UserError(f"{source}: {str(error).removeprefix('table: ')}") from error
    predictions = pd.DataFrame(
        {
            "prediction": classifier.classes_[probabilities.argmax(axis=1)],
            **{
                f"probability_{label}": probabilities[:, i].round(6)
                for i, label in enumerate(classifier.classes_)
            },
            "novelty": classifier.novelty(features).round(4),
        }
    )
    result = pd.concat([frame, predictions], axis=1) if keep_columns else predictions
    write_table(result, destination)
    return len(result)
