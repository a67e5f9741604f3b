"""``predict``: label new rows with the champion, or another classifier."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import semigen
from semigen.artifacts import Layout
from semigen.errors import UserError
from semigen.registry.registry import Registry
from semigen.tables.sources import read_table, write_table


@dataclass(frozen=True)
class Model:
    """A classifier and what to call it.

    Attributes:
        folder: Where it lies.
        name: The champion's version, or the folder.
    """

    folder: Path
    name: str


def resolve_model(model: str | None, layout: Layout) -> Model:
    """Return the classifier that labels rows.

    The folder of a champion never changes, so that a promotion meanwhile does no harm.

    Args:
        model: Folder; None takes the champion or, before the first promotion, the latest one.
        layout: The project's files.
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
