"""Predict the labels of the rows of a table, with the champion or another classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from semigen.artifacts import Layout
from semigen.classifiers.classifier import Classifier
from semigen.classifiers.row_predictor import PredictionSummary, RowPredictor
from semigen.errors import UserError
from semigen.generators.network_model import CHUNK_ROWS
from semigen.outputs import check_output_file
from semigen.params.config import Params
from semigen.params.reading import ReadParams
from semigen.registry.question import Lineage, describe
from semigen.registry.registry import Registry
from semigen.registry.versions import is_version_name
from semigen.tables.blocks import BLOCK_ROWS, TableBlocks
from semigen.tables.sources import read_columns
from semigen.tables.writer import table_writer
from semigen.wording import first_few

MAX_BLOCK_CELLS = 2**24
"""Maximum number of encoded cells of a block; a float32 matrix of 64 MB."""


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
    fitting = fitting_lineage(known, source, read_params(layout))
    return Model(fitting.champion.classifier, f"champion {fitting}")


def read_params(layout: Layout) -> ReadParams:
    """Return how the text files of a project are read; outside of projects, the defaults."""
    return Params.load(layout.params).data.read if layout.params.exists() else ReadParams()


def fitting_lineage(
    known: Sequence[Lineage], source: Path | None, read: ReadParams | None = None
) -> Lineage:
    """Return the champion whose feature columns are in a table.

    Args:
        known: The champions of all questions.
        source: The table; None if there is none.
        read: How text files are read; detected if None.

    Raises:
        UserError: If no champion or several ones fit. The message names all champions and the
            columns that the table lacks.
    """
    advice = "name one with --model VERSION"
    if source is None:
        raise UserError(f"the registry has several champions ({describe(known)}); {advice}")
    columns = read_columns(source, str(source), read)
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
    guard: bool = True,
    progress: Callable[[int, int], None] | None = None,
    read: ReadParams | None = None,
    n_rows: int | None = None,
) -> PredictionSummary:
    """Write predictions for every row of a table, in the order of its rows.

    The columns are ``prediction``, ``probability_<class>`` for every class, ``novelty`` (the
    fraction of held-out training rows that are more typical than the row; empty without a
    generator) and ``error``: the reason why a row has no prediction. The table is read and written
    in blocks, so memory does not grow with it.

    Args:
        source: Table with the classifier's feature columns, in any order.
        destination: CSV or Parquet table to write.
        model: Folder of the classifier.
        keep_columns: Whether to write the columns of the input before the predictions.
        impute_missing_columns: Whether to treat absent feature columns as missing values.
        overwrite: Whether an existing file may be replaced.
        guard: Whether text that a spreadsheet would take for a formula is guarded in CSV files.
        progress: Called with the number of finished rows and of all rows after each block.
        read: How text files are read; detected if None.
        n_rows: Number of rows of a block, a multiple of 8,192; chosen by the number of features if
            None. The predictions do not depend on it.

    Raises:
        UserError: If a file cannot be read or written, a feature column is absent, no row can be
            predicted, or too many cells of a column do not fit the classifier's schema.
    """
    check_output_file(destination, inputs=[source], overwrite=overwrite)
    columns = read_columns(source, str(source), read)
    classifier = Classifier.load(model)
    names = [column.name for column in classifier.schema.features]
    absent = [name for name in names if name not in columns]
    if absent and not impute_missing_columns:
        raise UserError(
            f"{source}: missing column(s) {', '.join(map(repr, absent))}; add them, or pass "
            "--impute-missing-columns to treat them as missing values"
        )
    blocks = TableBlocks(source, n_rows=n_rows or _block_rows(classifier), read=read)
    kept = blocks.arrow_types() if keep_columns else {}
    predictor = RowPredictor(classifier)
    repeated = sorted(kept.keys() & predictor.types.keys())
    if repeated:
        raise UserError(
            f"{source}: column {repeated[0]!r} has the name of a column of the predictions; rename "
            "it, or leave out --keep-columns"
        )
    wanted = None if keep_columns else [name for name in names if name in blocks.columns]
    n_done = 0
    with table_writer(destination, kept | predictor.types, guard=guard) as write:
        for block in blocks.read(wanted):
            predictions = predictor.predict(block.assign(**dict.fromkeys(absent, np.nan)))
            write(pd.concat([block, predictions], axis=1) if keep_columns else predictions)
            n_done += len(block)
            if progress is not None:
                progress(n_done, blocks.n_rows)
        summary = predictor.summary(str(source))
        if summary.n_failed == n_done:
            raise UserError(f"{source}: no row can be predicted; {summary.reasons[0]}")
    return summary


def _block_rows(classifier: Classifier) -> int:
    """Return the number of rows of a block, smaller for wide tables."""
    n_chunks = MAX_BLOCK_CELLS // (classifier.encoder.n_features * CHUNK_ROWS)
    return min(max(1, n_chunks) * CHUNK_ROWS, BLOCK_ROWS)
