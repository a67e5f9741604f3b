"""A generative model of a table, by itself: readable rows in, readable new rows out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from semigen.artifacts import atomic_path, read_json, write_json
from semigen.errors import UserError
from semigen.generators import load_generator, make_generator
from semigen.generators.base import GenerativeModel
from semigen.outputs import check_output_folder
from semigen.params.config import ColumnKind, ComputeParams, PretrainParams
from semigen.params.generators import Family
from semigen.tables.columns import as_text
from semigen.tables.encoding import TableEncoder, encode_rows
from semigen.tables.schema import TableSchema
from semigen.training.plan import History
from semigen.training.progress import Progress

FORMAT = 1
"""Version of the files that ``save`` writes."""
MARKER = "synthesizer.json"
"""File of a saved folder that describes the others."""


class Synthesizer:
    """Learns the rows of a table and draws new ones of the classes asked for.

    Args:
        generator: Model family; ``autoregressive`` gives the most faithful rows.
        params: Parameters of the families, for those that the defaults do not suit.
        compute: Device, precision and threads.
        seed: Seed of weights, batches and noise.

    Attributes:
        encoder_: Encodes the table's rows.
        generator_: The trained model.
        history_: Losses of its training; None for a loaded synthesizer.
        columns_: Columns of the rows that it draws, in the table's order.
        class_shares_: Shares of the labels among the labeled rows.
    """

    encoder_: TableEncoder
    generator_: GenerativeModel
    columns_: list[str]
    class_shares_: dict[str, float]
    history_: History | None = None

    def __init__(
        self,
        generator: Family = "autoregressive",
        *,
        params: PretrainParams | None = None,
        compute: ComputeParams | None = None,
        seed: int = 0,
    ) -> None:
        self.params = (params or PretrainParams()).model_copy(update={"generator": generator})
        self.compute, self.seed = compute or ComputeParams(), seed

    def fit(
        self,
        table: pd.DataFrame,
        target: str,
        *,
        kinds: Mapping[str, ColumnKind] | None = None,
        checkpoint: Path | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Learn a table's rows.

        Args:
            table: Rows; identifiers, dates and free text among the columns are left out.
            target: Name of the label column. Rows where it is missing are unlabeled: they teach
                what rows look like, not which class they are.
            kinds: Column kinds that inference should not decide.
            checkpoint: Folder for checkpoints; a fit that was killed goes on from there.
            progress: Shows the epochs.

        Raises:
            UserError: If the label column is absent or empty, or a column cannot be used.
        """
        if target not in table:
            raise UserError(f"column {target!r} is not in the table: {', '.join(table.columns)}")
        if table[target].isna().all():
            raise UserError(f"column {target!r}: every label is missing; at least one is needed")
        features = table.drop(columns=target)
        schema = TableSchema.infer(table, features, target, kinds)
        kept = {target, *(column.name for column in schema.features)}
        self.columns_ = [name for name in table.columns if name in kept]
        self.encoder_ = TableEncoder(schema).fit(features, self.seed)
        y = schema.encode_labels(table[target])
        shares = np.bincount(y[y >= 0], minlength=len(schema.classes)) / (y >= 0).sum()
        self.class_shares_ = dict(zip(schema.classes, shares.tolist(), strict=True))
        self.generator_ = make_generator(self.encoder_, self.params, self.compute, self.seed)
        rows = encode_rows(self.encoder_, features, y)
        self.history_ = self.generator_.fit(rows, checkpoint=checkpoint, progress=progress)
        return self

    def sample(self, rows: int | Mapping[object, int], seed: int = 0) -> pd.DataFrame:
        """Return new rows with their labels, classes one after the other.

        Args:
            rows: How many; classes then have the shares of the labeled rows, to the row. Or how
                many of each class, by label.
            seed: Seed of the draws.

        Raises:
            UserError: If a class is unknown or a number is negative.
        """
        counts = self._counts(rows)
        y = np.repeat(np.arange(len(counts)), counts)
        x = self.generator_.sample(y, seed) if len(y) else np.empty((0, self.encoder_.n_features))
        schema = self.encoder_.schema
        drawn = self.encoder_.inverse_transform(x).assign(
            **{schema.target: schema.decode_labels(y)}
        )
        return drawn[self.columns_]

    def score(self, table: pd.DataFrame) -> np.ndarray:
        """Return how well the model explains each row, shape ``(n_rows,)``; higher is typical."""
        return self.generator_.score(self.encoder_.transform(table))

    def features(self, table: pd.DataFrame) -> np.ndarray:
        """Return learned features of rows, shape ``(n_rows, n_latent)``."""
        return self.generator_.features(self.encoder_.transform(table))

    def save(self, folder: str | Path) -> None:
        """Write model and encoder into a folder: safetensors, skops and JSON; no training row.

        Raises:
            UserError: If the folder holds anything but an earlier synthesizer.
        """
        check_output_folder(Path(folder), MARKER)
        with atomic_path(Path(folder)) as temporary:
            self.encoder_.save(temporary / "encoder")
            self.generator_.save(temporary / "generator")
            facts = {
                "format": FORMAT,
                "seed": self.seed,
                "params": self.params.model_dump(mode="json"),
                "columns": self.columns_,
                "class_shares": self.class_shares_,
            }
            write_json(temporary / MARKER, facts)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what ``save`` wrote; no pickle is loaded.

        Raises:
            UserError: If the folder holds no synthesizer, or one of another version.
        """
        folder = Path(folder)
        facts = read_json(folder / MARKER)
        if facts.get("format") != FORMAT:
            raise UserError(
                f"{folder}: written by another version of semigen (format {facts.get('format')}, "
                f"here {FORMAT}); fit it again"
            )
        params = PretrainParams(**facts["params"])
        loaded = cls(params.generator, params=params, seed=facts["seed"])
        loaded.columns_, loaded.class_shares_ = facts["columns"], facts["class_shares"]
        loaded.encoder_ = TableEncoder.load(folder / "encoder")
        loaded.generator_ = load_generator(folder / "generator")
        return loaded

    def _counts(self, rows: int | Mapping[object, int]) -> np.ndarray:
        classes = self.encoder_.schema.classes
        if isinstance(rows, Mapping):
            asked = dict(zip(as_text(pd.Series(list(rows))), rows.values(), strict=True))
            unknown = [label for label in asked if label not in classes]
            if unknown:
                raise UserError(f"unknown class {unknown[0]!r}; known: {', '.join(classes)}")
            counts = [asked.get(label, 0) for label in classes]
        else:
            counts = list(apportion(rows, np.array(list(self.class_shares_.values()))))
        if min(counts) < 0:
            raise UserError(f"the number of rows must not be negative: {rows}")
        return np.array(counts)


def apportion(n: int, shares: np.ndarray) -> np.ndarray:
    """Return whole numbers that add up to ``n`` in the proportions of ``shares``.

    What is left after rounding down goes to the largest remainders (Hamilton's method).
    """
    exact = n * shares
    counts = np.floor(exact).astype(int)
    order = np.argsort(counts - exact, kind="stable")
    counts[order[: n - counts.sum()]] += 1
    return counts
