"""Predict the labels of the rows of a table, with the champion or another classifier."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import semigen
from semigen.artifacts import Layout
from semigen.errors import UserError
from semigen.outputs import check_output_file
from semigen.registry.registry import Registry
from semigen.tables.sources import read_table, write_table


@dataclass(frozen=True)
class Model:
    """A saved classifier.

    Attributes:
        folder: Folder of the classifier.
        name: Name for messages: the champion's version, or the folder.
    """

    folder: Path
    name: str


def resolve_model(model: str | None, layout: Layout) -> Model:
    """Return the classifier to predict with.

    The folder of a champion never changes, so that a promotion at the same time does no harm.

    Args:
        model: Folder of a classifier; None takes the champion or, before the first promotion, the
            latest classifier.
        layout: Files of the project.
    """
    if model is not None:
        return Model(Path(model), model)
    champion = Registry(layout.registry).champion()
    if champion is not None:
        return Model(champion.classifier, f"champion {champion.name}")
    return Model(layout.classifier, layout.classifier.relative_to(layout.root).as_posix())


def predict_table(
    source: Path,
    destination: Path,
    model: Path,
    *,
    keep_columns: bool = False,
    impute_missing_columns: bool = False,
    overwrite: bool = False,
) -> pd.DataFrame:
    """Write predictions for every row of a table, in the order of its rows.

    The columns are ``prediction``, ``probability_<class>`` for every class, and ``novelty``: the
    fraction of held-out training rows that are more typical than the row.

    Args:
        source: CSV or Parquet table with the classifier's feature columns, in any order.
        destination: CSV or Parquet table to write.
        model: Folder of the classifier.
        keep_columns: Whether to write the columns of the input before the predictions.
        impute_missing_columns: Whether to treat absent feature columns as missing values.
        overwrite: Whether an existing file may be replaced.

    Returns:
        The predictions, shape ``(n_rows, n_classes + 2)``, without the columns of the input.

    Raises:
        UserError: If a file cannot be read or written, or a feature column is absent.
    """
    check_output_file(destination, inputs=[source], overwrite=overwrite)
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
    return predictions


def count_predictions(predictions: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the number of rows and the mean novelty of each predicted class.

    Args:
        predictions: Table with the columns ``prediction`` and ``novelty``.

    Returns:
        A dictionary a class (``prediction``, ``rows``, ``mean_novelty``), the most frequent first.

    Examples:
        >>> import pandas as pd
        >>> table = pd.DataFrame({"prediction": ["a", "b", "b"], "novelty": [0.5, 0.1, 0.2]})
        >>> count_predictions(table)[0]
        {'prediction': 'b', 'rows': 2, 'mean_novelty': 0.15}
    """
    by_class = predictions.groupby("prediction", sort=True)["novelty"].agg(["size", "mean"])
    ordered = by_class.sort_values("size", ascending=False, kind="stable")
    return [
        {"prediction": label, "rows": int(n), "mean_novelty": round(float(novelty), 4)}
        for label, n, novelty in ordered.itertuples()
    ]
