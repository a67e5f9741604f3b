"""Predict the labels of the rows of a table, with the champion or another classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from semigen.artifacts import Layout
from semigen.classifiers.classifier import Classifier
from semigen.errors import UserError
from semigen.outputs import check_output_file
from semigen.registry.question import Lineage, describe
from semigen.registry.registry import Registry
from semigen.registry.versions import is_version_name
from semigen.tables.sources import read_columns, read_table, write_table
from semigen.wording import first_few


@dataclass(frozen=True)
class Model:
    """A saved classifier.

    Attributes:
        folder: Folder of the classifier.
        name: Name for messages: the champion, or the folder.

    Examples:
        >>> resolve_model("models/classifier", Layout()).folder
        PosixPath('models/classifier')
    """

    folder: Path
    name: str


def resolve_model(model: str | None, layout: Layout, source: Path | None = None) -> Model:
    """Return the classifier to predict with.

    The folder of a champion never changes, so that a promotion at the same time does no harm.

    Args:
        model: Folder of a classifier, or name of a version in the registry; None takes the champion
            or, before the first promotion, the latest classifier.
        layout: Files of the project.
        source: The table. If the registry has champions of several questions, the one whose feature
            columns are in this table is taken.

    Raises:
        UserError: If the feature columns of no champion, or of several ones, are in the table.
    """
    registry = Registry(layout.registry)
    if model is not None:
        if is_version_name(model) and not Path(model).exists():
            return Model(registry.version(model).classifier, f"version {model}")
        return Model(Path(model), model)
    known = registry.lineages()
    if not known:
        return Model(layout.classifier, layout.classifier.relative_to(layout.root).as_posix())
    if len(known) == 1:
        champion = known[0].champion
        return Model(champion.classifier, f"champion {champion.name}")
    fitting = fitting_lineage(known, source)
    return Model(fitting.champion.classifier, f"champion {fitting}")


def fitting_lineage(known: Sequence[Lineage], source: Path | None) -> Lineage:
    """Return the champion whose feature columns are in a table.

    Args:
        known: The champions of all questions.
        source: The table; None if there is none.

    Raises:
        UserError: If no champion or several ones fit. The message names all champions and the
            columns that the table lacks.
    """
    advice = "name one with --model VERSION"
    if source is None:
        raise UserError(f"the registry has several champions ({describe(known)}); {advice}")
    columns = read_columns(source, str(source))
    fitting = [one for one in known if not one.question.lacking(columns)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise UserError(
            f"{source}: has the columns of several champions ({describe(fitting)}); {advice}"
        )
    reasons = [f"{one} lacks {first_few(one.question.lacking(columns), 3)}" for one in known]
    raise UserError(
        f"{source}: does not have the columns of any champion ({'; '.join(reasons)}); add them, or "
        f"{advice}"
    )


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
        source: Table with the classifier's feature columns, in any order.
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
    frame, classifier = read_table(source), Classifier.load(model)
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
