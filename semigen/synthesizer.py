"""``Synthesizer``: a generative model that is fitted to a table and samples new rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pandas as pd

from semigen.artifacts import atomic_path, write_json
from semigen.errors import UserError
from semigen.estimators.nested_params import NestedParams
from semigen.generators import load_generator, make_generator
from semigen.generators.base import GenerativeModel
from semigen.generators.saved_generator import check_generator
from semigen.outputs import check_output_folder
from semigen.params.base import Section
from semigen.params.config import ColumnKind, ComputeParams, PretrainParams, PrivacyParams
from semigen.params.generators import Family
from semigen.saved_synthesizer import FORMAT, MARKER, check_facts, read_facts
from semigen.storage.manifest import verify_saved, write_manifest
from semigen.storage.saved_files import reading
from semigen.tables.columns import as_text
from semigen.tables.encoding import TableEncoder, encode_rows
from semigen.tables.schema import TableSchema
from semigen.training.plan import History
from semigen.training.progress import Progress
from semigen.training.progress_bar import ProgressBar


class Synthesizer(NestedParams):
    """Generative model of a table that samples new rows of given classes.

    Args:
        generator: Model family; ``autoregressive`` gives the most realistic rows.
        params: Parameters of the model families; the defaults if None. They can be set one by one
            too, as in ``set_params(params__vae__epochs=10)``.
        compute: Device, precision and number of threads.
        seed: Seed of weights, batches and noise.
        verbose: Whether to show a progress bar (``tqdm.auto``).
        privacy: Minimum number of rows of a category; rarer ones are merged.

    Attributes:
        encoder_: Encoder of the table's rows.
        generator_: Trained model.
        history_: Losses of the training; None if an earlier version saved the synthesizer.
        columns_: Columns of the sampled rows, in the order of the table.
        class_shares_: Fraction of each label among the labeled rows.

    Examples:
        >>> from semigen.params.generators import VAEParams
        >>> rng = np.random.default_rng(0)
        >>> table = pd.DataFrame({"height": rng.normal(1.7, 0.1, 50)})
        >>> table["ward"] = rng.choice(["north", "south"], 50)
        >>> table["group"] = np.where(table["height"] > 1.7, "tall", "short")
        >>> params = PretrainParams(vae=VAEParams(latent_dim=2, hidden_dims=(8,), epochs=2))
        >>> synthesizer = Synthesizer("vae", params=params).fit(table, target="group")
        >>> rows = synthesizer.sample({"tall": 2, "short": 1})
        >>> rows.columns.tolist(), rows["group"].tolist()
        (['height', 'ward', 'group'], ['short', 'tall', 'tall'])
    """

    sections: ClassVar[dict[str, type[Section]]] = {
        "params": PretrainParams,
        "compute": ComputeParams,
        "privacy": PrivacyParams,
    }
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
        verbose: bool = False,
        privacy: PrivacyParams | None = None,
    ) -> None:
        self.generator, self.params, self.compute = generator, params, compute
        self.seed, self.verbose, self.privacy = seed, verbose, privacy

    def fit(
        self,
        table: pd.DataFrame,
        target: str,
        *,
        kinds: Mapping[str, ColumnKind] | None = None,
        checkpoint: Path | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Fit the model to the rows of a table.

        Args:
            table: Rows; columns with identifiers, dates or free text are ignored.
            target: Name of the label column. Rows without a label are unlabeled: they contribute to
                the distribution of the features but not to that of the classes.
            kinds: Column kinds that override inference, by column name.
            checkpoint: Folder of checkpoints; an interrupted fit resumes from there.
            progress: Reports the epochs; if None, ``verbose`` decides.

        Raises:
            UserError: If the label column is absent or empty, or no column can be used.
        """
        if target not in table:
            raise UserError(f"column {target!r} is not in the table: {', '.join(table.columns)}")
        if table[target].isna().all():
            raise UserError(f"column {target!r}: every label is missing; at least one is needed")
        features = table.drop(columns=target)
        min_rows = (self.privacy or PrivacyParams()).min_rows
        schema = TableSchema.infer(table, features[:0], target, kinds, min_rows)
        kept = {target, *(column.name for column in schema.features)}
        self.columns_ = [name for name in table.columns if name in kept]
        self.encoder_ = TableEncoder(schema).fit(features, self.seed)
        y = schema.encode_labels(table[target])
        fractions = np.bincount(y[y >= 0], minlength=len(schema.classes)) / (y >= 0).sum()
        self.class_shares_ = dict(zip(schema.classes, fractions.tolist(), strict=True))
        compute = self.compute or ComputeParams()
        self.generator_ = make_generator(self.encoder_, self._pretrain_params(), compute, self.seed)
        if progress is None and self.verbose:
            progress = ProgressBar("fit")
        rows = encode_rows(self.encoder_, features, y)
        self.history_ = self.generator_.fit(rows, checkpoint=checkpoint, progress=progress)
        return self

    def sample(self, rows: int | Mapping[object, int], seed: int = 0) -> pd.DataFrame:
        """Return new rows with their labels, sorted by class.

        Args:
            rows: Number of rows, divided between the classes in the proportions of the labeled
                rows; or the number of rows of each class, by label.
            seed: Seed of the sample.

        Raises:
            UserError: If a class is unknown or a number is negative.
        """
        counts = self._counts(rows)
        y = np.repeat(np.arange(len(counts)), counts)
        x = self.generator_.sample(y, seed) if len(y) else np.empty((0, self.encoder_.n_features))
        schema = self.encoder_.schema
        sampled = self.encoder_.inverse_transform(x).assign(
            **{schema.target: schema.decode_labels(y)}
        )
        return sampled[self.columns_]

    def score(self, table: pd.DataFrame) -> np.ndarray:
        """Return the score of each row, shape ``(n_rows,)``; higher is more typical."""
        return self.generator_.score(self.encoder_.transform(table))

    def features(self, table: pd.DataFrame) -> np.ndarray:
        """Return the learned features of rows, shape ``(n_rows, latent_dim)``."""
        return self.generator_.features(self.encoder_.transform(table))

    def save(self, folder: str | Path) -> None:
        """Write model and encoder, without training rows, into a folder.

        Raises:
            UserError: If the folder contains anything but an earlier synthesizer.
        """
        check_output_folder(Path(folder), MARKER)
        with atomic_path(Path(folder)) as temporary:
            self.encoder_.save(temporary / "encoder")
            self.generator_.save(temporary / "generator")
            facts = {
                "format": FORMAT,
                "seed": self.seed,
                "params": self._pretrain_params().model_dump(mode="json"),
                "compute": self.compute and self.compute.model_dump(mode="json"),
                "privacy": self.privacy and self.privacy.model_dump(mode="json"),
                "history": None if self.history_ is None else asdict(self.history_),
                "columns": self.columns_,
                "class_shares": self.class_shares_,
            }
            write_json(temporary / MARKER, facts)
            write_manifest(temporary)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a synthesizer that ``save`` wrote; no pickle is loaded.

        Raises:
            UserError: If the folder contains no synthesizer, or one of another format version, or
                is damaged.
        """
        folder = Path(folder)
        if not (folder / MARKER).exists():
            raise UserError(f"{folder / MARKER}: not found, so the folder has no synthesizer")
        verify_saved(folder)
        facts = read_facts(folder)
        loaded = cls(
            facts.params.generator,
            params=facts.params,
            compute=facts.compute,
            seed=facts.seed,
            privacy=facts.privacy,
        )
        loaded.history_ = facts.history
        loaded.columns_, loaded.class_shares_ = facts.columns, facts.class_shares
        loaded.encoder_ = TableEncoder.load(folder / "encoder")
        loaded.generator_ = load_generator(folder / "generator")
        with reading(folder / MARKER):
            check_facts(facts, loaded.encoder_.schema)
        with reading(folder / "generator"):
            check_generator(loaded.encoder_, loaded.generator_)
            loaded.sample(1)
        return loaded

    def _pretrain_params(self) -> PretrainParams:
        params = self.params or PretrainParams()
        return params.model_copy(update={"generator": self.generator})

    def _counts(self, rows: int | Mapping[object, int]) -> np.ndarray:
        classes = self.encoder_.schema.classes
        if isinstance(rows, Mapping):
            requested = dict(zip(as_text(pd.Series(list(rows))), rows.values(), strict=True))
            unknown = [label for label in requested if label not in classes]
            if unknown:
                raise UserError(f"unknown class {unknown[0]!r}; known: {', '.join(classes)}")
            counts = [requested.get(label, 0) for label in classes]
        else:
            counts = list(apportion(rows, np.array(list(self.class_shares_.values()))))
        if min(counts) < 0:
            raise UserError(f"the number of rows must not be negative: {rows}")
        return np.array(counts)


def apportion(n: int, proportions: np.ndarray) -> np.ndarray:
    """Return integers that sum to ``n`` in given proportions (largest remainder method).

    Args:
        n: Sum of the integers.
        proportions: Proportions, which sum to 1, shape ``(n_classes,)``.

    Returns:
        Shape ``(n_classes,)``.

    Examples:
        >>> apportion(10, np.array([0.57, 0.43]))
        array([6, 4])
    """
    exact = n * proportions
    counts = np.floor(exact).astype(int)
    order = np.argsort(counts - exact, kind="stable")
    counts[order[: n - counts.sum()]] += 1
    return counts
