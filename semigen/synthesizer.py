"""``Synthesizer``: a generative model that is fitted to a table and samples new rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pandas as pd

from semigen.artifacts import atomic_path, write_json
from semigen.errors import UserError
from semigen.estimators.nested_params import NestedParams
from semigen.evaluation.leaks import LeakCheck, check_leaks
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
from semigen.synthesis.apportion import apportion
from semigen.synthesis.conditions import Where, check_where
from semigen.synthesis.constraints import Constraints
from semigen.synthesis.formats import (
    ColumnFormat,
    dates_as_numbers,
    learn_dates,
    learn_formats,
    restore,
)
from semigen.synthesis.sampler import RowSampler
from semigen.tables.cells import as_text
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
        privacy: Minimum number of rows of a category; rarer ones are merged. Whether rows are
            returned although they contain rare values of real rows.
        constraints: Constraints that every row fulfills, in addition to those that the table shows:
            ``"start <= end"``, or the names of two columns whose combinations are fixed.

    Attributes:
        encoder_: Encoder of the table's rows.
        generator_: Trained model.
        history_: Losses of the training; None if an earlier version saved the synthesizer.
        columns_: Columns of the sampled rows, in the order of the table.
        formats_: How the cells of each column look, by name.
        constraints_: Constraints that every sampled row fulfills.
        leaks_: Leak check of the latest sample; None without a sample, or after ``load``.
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
        >>> rows.columns.tolist(), sorted(rows["group"])
        (['height', 'ward', 'group'], ['short', 'tall', 'tall'])
        >>> set(synthesizer.sample(9, where={"ward": "north"})["ward"])
        {'north'}
        >>> synthesizer.leaks_.passed
        True
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
    formats_: dict[str, ColumnFormat]
    constraints_: Constraints
    leaks_: LeakCheck | None = None
    _real: tuple[pd.DataFrame, np.ndarray] | None = None
    """The rows of ``fit`` and the positions of those held out, for leak checks; never saved."""

    def __init__(
        self,
        generator: Family = "autoregressive",
        *,
        params: PretrainParams | None = None,
        compute: ComputeParams | None = None,
        seed: int = 0,
        verbose: bool = False,
        privacy: PrivacyParams | None = None,
        constraints: Sequence[str | Sequence[str]] | None = None,
    ) -> None:
        self.generator, self.params, self.compute = generator, params, compute
        self.seed, self.verbose, self.privacy = seed, verbose, privacy
        self.constraints = constraints

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
        privacy, kinds = self.privacy or PrivacyParams(), dict(kinds or {})
        raw = table.drop(columns=target).reset_index(drop=True)
        dates = learn_dates(raw, kinds)
        features = dates_as_numbers(raw, dates)
        labeled = features.assign(**{target: table[target].to_numpy()})
        kinds_of_dates: dict[str, ColumnKind] = dict.fromkeys(dates, "numeric")
        schema = TableSchema.infer(
            labeled, features[:0], target, kinds | kinds_of_dates, privacy.min_rows
        )
        self.formats_ = {f.name: f for f in learn_formats(raw, schema, dates, kinds)}
        kept = {target, *(name for name, f in self.formats_.items() if f.role != "left_out")}
        self.columns_ = [name for name in table.columns if name in kept]
        self.encoder_ = TableEncoder(schema).fit(features, self.seed)
        self.constraints_ = Constraints.learn(
            schema.merge_rare(schema.coerce(features)), schema, self.constraints or ()
        )
        y = schema.encode_labels(labeled[target])
        fractions = np.bincount(y[y >= 0], minlength=len(schema.classes)) / (y >= 0).sum()
        self.class_shares_ = dict(zip(schema.classes, fractions.tolist(), strict=True))
        compute = self.compute or ComputeParams()
        self.generator_ = make_generator(self.encoder_, self._pretrain_params(), compute, self.seed)
        if progress is None and self.verbose:
            progress = ProgressBar("fit")
        rows = encode_rows(self.encoder_, features, y)
        self.history_ = self.generator_.fit(rows, checkpoint=checkpoint, progress=progress)
        self._real = raw, self.generator_.held_out(y)
        return self

    def sample(
        self,
        rows: int | Mapping[object, int],
        seed: int = 0,
        where: Where | None = None,
    ) -> pd.DataFrame:
        """Return new rows with their labels, in random order.

        After ``fit``, the rows are searched for rare values of the real rows; ``leaks_`` has the
        result. A loaded synthesizer has no real rows, see ``check_leaks``.

        Args:
            rows: Number of rows, divided between the classes in the proportions of the labeled
                rows; or the number of rows of each class, by label.
            seed: Seed of the sample.
            where: Conditions by column, such as ``{"region": "north", "age": "30..40"}``: a value,
                a list of values, or ``low..high`` for numbers and dates.

        Raises:
            UserError: If a class or a value is unknown, a number is negative, too few rows fit the
                conditions, or the leak check fails and ``privacy.allow_leaks`` is not set.
        """
        schema, where = self.encoder_.schema, where or {}
        counts = self._counts(rows)
        check_where(where, schema, self.formats_)
        sampler = RowSampler(self.generator_, self.encoder_, self.formats_, self.constraints_)
        is_divided = not isinstance(rows, Mapping) and bool(where)
        found = sampler.sample(counts, seed, where, has_fixed_classes=not is_divided)
        sampled = restore(found, self.formats_, len(found))
        sampled = sampled.assign(**{schema.target: found[schema.target]})[self.columns_]
        self.leaks_ = None
        if self._real is not None:
            self.leaks_ = self._check_leaks(*self._real, sampled)
            if self.leaks_.problem and not (self.privacy or PrivacyParams()).allow_leaks:
                raise UserError(
                    f"{self.leaks_.problem}; no row is returned (to get them all the same, set "
                    "allow_leaks)"
                )
        return sampled

    def check_leaks(self, table: pd.DataFrame, rows: pd.DataFrame) -> LeakCheck:
        """Search synthetic rows for rare values of the table that the model was fitted to.

        Args:
            table: The table of ``fit``, with all its rows in the same order.
            rows: Rows that ``sample`` returned.
        """
        schema = self.encoder_.schema
        y = schema.encode_labels(table[schema.target])
        return self._check_leaks(table, self.generator_.held_out(y), rows)

    @property
    def left_out_(self) -> dict[str, str]:
        """Columns that are not generated, with the reason."""
        return {n: str(f.reason) for n, f in self.formats_.items() if f.role == "left_out"}

    def _check_leaks(
        self, real: pd.DataFrame, held_out: np.ndarray, rows: pd.DataFrame
    ) -> LeakCheck:
        schema = self.encoder_.schema
        return check_leaks(
            real.drop(columns=schema.target, errors="ignore"),
            rows,
            min_rows=schema.min_rows,
            ordered=[column.name for column in schema.of_kind("numeric")],
            held_out=held_out,
            whole_rows=[column.name for column in schema.features],
        )

    def score(self, table: pd.DataFrame) -> np.ndarray:
        """Return the score of each row, shape ``(n_rows,)``; higher is more typical."""
        return self.generator_.score(self._encode(table))

    def features(self, table: pd.DataFrame) -> np.ndarray:
        """Return the learned features of rows, shape ``(n_rows, latent_dim)``."""
        return self.generator_.features(self._encode(table))

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
                "formats": [f.model_dump(exclude_defaults=True) for f in self.formats_.values()],
                "constraints": self.constraints_.model_dump(mode="json"),
                "given_constraints": self.constraints
                and [c if isinstance(c, str) else list(c) for c in self.constraints],
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
            constraints=facts.given_constraints,
        )
        loaded.history_ = facts.history
        loaded.columns_, loaded.class_shares_ = facts.columns, facts.class_shares
        loaded.encoder_ = TableEncoder.load(folder / "encoder")
        loaded.generator_ = load_generator(folder / "generator")
        loaded.formats_ = facts.format_of(loaded.encoder_.schema)
        loaded.constraints_ = facts.constraints
        with reading(folder / MARKER):
            check_facts(facts, loaded.encoder_.schema)
        with reading(folder / "generator"):
            check_generator(loaded.encoder_, loaded.generator_)
            loaded.sample(1)
        return loaded

    def _encode(self, table: pd.DataFrame) -> np.ndarray:
        return self.encoder_.transform(dates_as_numbers(table, self.formats_))

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
