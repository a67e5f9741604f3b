"""Mixed tables as float32 matrices and back; all statistics are scikit-learn's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    QuantileTransformer,
    StandardScaler,
)

from semigen.artifacts import atomic_path, read_json, write_json
from semigen.estimator_files import load_estimator, save_estimator
from semigen.params.config import ColumnKind, PreprocessParams
from semigen.tables.schema import TableSchema

BlockKind = Literal["numeric", "missing", "boolean", "category"]
MAX_QUANTILES = 1000
MIN_COLUMNS_OF_UNIT = 4


@dataclass(frozen=True)
class Span:
    """Where a column lies in an encoded row.

    Attributes:
        column: The table's column.
        start: First feature.
        stop: One past the last feature.
        kind: ``numeric`` (scaled), ``missing`` (1 where a numeric or boolean cell was missing),
            ``boolean`` (0 or 1) or ``category`` (one-hot; a missing cell is a category).
    """

    column: str
    start: int
    stop: int
    kind: BlockKind


@dataclass(frozen=True)
class Encoded:
    """Encoded rows.

    Attributes:
        x: Shape ``(n, n_features)``, float32.
        y: Class indices, shape ``(n,)``, int64; -1 where unlabeled.
    """

    x: np.ndarray
    y: np.ndarray

    def save(self, path: Path) -> None:
        """Write both arrays to one safetensors file."""
        with atomic_path(path) as temporary:
            # safetensors takes the bytes of an array in any other order for C order.
            arrays = {"x": np.ascontiguousarray(self.x), "y": np.ascontiguousarray(self.y)}
            save_file(arrays, temporary)

    @classmethod
    def load(cls, path: Path) -> Encoded:
        """Read what ``save`` wrote."""
        return cls(**load_file(path))


class TableEncoder:
    """Turns the typed feature columns of a ``TableSchema`` into a matrix, and back.

    Attributes:
        schema: The table's columns.
        scaling_: Scaler of the numeric columns: ``standard``, ``quantile`` or ``minmax``.
        transformer_: Fitted ``ColumnTransformer``.
        spans_: Every column's place in an encoded row, in order.
    """

    def __init__(self, schema: TableSchema, params: PreprocessParams | None = None) -> None:
        self.schema = schema
        self.params = params or PreprocessParams()

    @property
    def n_features(self) -> int:
        """Width of an encoded row."""
        return self.spans_[-1].stop

    def fit(self, frame: pd.DataFrame, seed: int = 0) -> TableEncoder:
        """Learn all statistics from training and unlabeled rows, shape ``(n_rows, n_columns)``."""
        typed = self._typed(frame)
        self.scaling_ = self._choose_scaling()
        kinds: tuple[ColumnKind, ...] = ("numeric", "boolean", "category")
        names = {kind: [c.name for c in self.schema.of_kind(kind)] for kind in kinds}
        with_gaps = [n for n in names["numeric"] + names["boolean"] if typed[n].isna().any()]
        blocks = [
            ("numeric", self._numeric_block(len(typed), seed), names["numeric"]),
            ("missing", MissingIndicator(features="all"), with_gaps),
            ("boolean", self._boolean_block(), names["boolean"]),
            ("category", self._category_block(), names["category"]),
        ]
        self.transformer_ = ColumnTransformer(
            [block for block in blocks if block[2]], sparse_threshold=0
        ).fit(typed)
        self.spans_ = self._find_spans()
        return self

    def transform(self, frame: pd.DataFrame) -> np.ndarray:
        """Return encoded rows, shape ``(n_rows, n_features)``, float32, without missing values.

        Raises:
            UserError: If a column is absent or a value has the wrong type.
        """
        return np.ascontiguousarray(
            self.transformer_.transform(self._typed(frame)), dtype=np.float32
        )

    def inverse_transform(self, x: np.ndarray) -> pd.DataFrame:
        """Return a readable table of encoded rows; numbers are clipped to the schema's range.

        A one-hot block decodes to its largest entry. Categories too rare for a column of their own
        take turns where their shared column wins.

        Args:
            x: Shape ``(n, n_features)``; need not be an exact encoding.
        """
        if not len(x):  # scikit-learn's scalers want a row
            return self.inverse_transform(np.zeros((1, self.n_features), np.float32))[:0]
        columns = self._decode_numeric(x) | self._decode_boolean(x) | self._decode_category(x)
        for span in self._spans_of("missing"):
            columns[span.column] = np.where(x[:, span.start] > 0.5, np.nan, columns[span.column])
        table = pd.DataFrame({c.name: columns[c.name] for c in self.schema.features})
        for column in self.schema.of_kind("boolean"):
            codes = table[column.name]
            table[column.name] = codes.map(dict(enumerate(column.categories))).astype(object)
        for column in self.schema.of_kind("numeric"):
            if column.integer:
                table[column.name] = table[column.name].round().astype("Int64")
        return table

    def save(self, folder: Path) -> None:
        """Write schema and fitted transformer into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self.schema.save(folder / "schema.json")
        write_json(folder / "encoder.json", {"scaling": self.scaling_})
        save_estimator(self.transformer_, folder / "transformer.skops")

    @classmethod
    def load(cls, folder: Path) -> TableEncoder:
        """Read what ``save`` wrote."""
        encoder = cls(TableSchema.load(folder / "schema.json"))
        encoder.scaling_ = read_json(folder / "encoder.json")["scaling"]
        encoder.transformer_ = load_estimator(folder / "transformer.skops")
        encoder.spans_ = encoder._find_spans()
        return encoder

    def _typed(self, frame: pd.DataFrame) -> pd.DataFrame:
        typed = self.schema.coerce(frame)
        text = [c.name for c in self.schema.features if c.kind != "numeric"]
        # scikit-learn knows NaN, but not None, as a missing value in every transformer used here.
        return typed.assign(**{n: typed[n].where(typed[n].notna(), np.nan) for n in text})

    def _choose_scaling(self) -> str:
        if self.params.scaling != "auto":
            return self.params.scaling
        return "minmax" if share_unit(self.schema) else "standard"

    def _numeric_block(self, n_rows: int, seed: int) -> object:
        scaler = {
            "standard": StandardScaler(),
            "minmax": MinMaxScaler(),
            "quantile": QuantileTransformer(
                n_quantiles=min(MAX_QUANTILES, n_rows),
                output_distribution="normal",
                random_state=seed,
            ),
        }[self.scaling_]
        return make_pipeline(SimpleImputer(strategy="median"), scaler)

    def _boolean_block(self) -> object:
        pairs = [np.array(c.categories, dtype=object) for c in self.schema.of_kind("boolean")]
        to_numbers = OrdinalEncoder(
            categories=pairs, handle_unknown="use_encoded_value", unknown_value=np.nan
        )
        return make_pipeline(to_numbers, SimpleImputer(strategy="most_frequent"))

    def _category_block(self) -> OneHotEncoder:
        return OneHotEncoder(
            handle_unknown="infrequent_if_exist",
            min_frequency=self.params.min_frequency,
            max_categories=self.params.max_categories,
            sparse_output=False,
            dtype=np.float32,
        )

    def _blocks(self) -> list[tuple[BlockKind, object, Sequence[str]]]:
        return [block for block in self.transformer_.transformers_ if block[0] != "remainder"]

    def _find_spans(self) -> tuple[Span, ...]:
        spans: list[Span] = []
        for kind, _, names in self._blocks():
            widths = self._one_hot_widths() if kind == "category" else [1] * len(names)
            for name, width in zip(names, widths, strict=True):
                start = spans[-1].stop if spans else 0
                spans.append(Span(name, start, start + width, kind))
        return tuple(spans)

    def _one_hot_widths(self) -> list[int]:
        one_hot = self.transformer_.named_transformers_["category"]
        return [
            len(categories) if rare is None else len(categories) - len(rare) + 1
            for categories, rare in zip(
                one_hot.categories_, one_hot.infrequent_categories_, strict=True
            )
        ]

    def _spans_of(self, kind: BlockKind) -> list[Span]:
        return [span for span in self.spans_ if span.kind == kind]

    def _decode_numeric(self, x: np.ndarray) -> dict[str, np.ndarray]:
        spans = self._spans_of("numeric")
        if not spans:
            return {}
        scaler = self.transformer_.named_transformers_["numeric"][-1]
        values = scaler.inverse_transform(x[:, [span.start for span in spans]].astype(np.float64))
        return {
            column.name: np.clip(values[:, i], column.minimum, column.maximum)
            for i, column in enumerate(self.schema.of_kind("numeric"))
        }

    def _decode_boolean(self, x: np.ndarray) -> dict[str, np.ndarray]:
        return {s.column: (x[:, s.start] > 0.5).astype(float) for s in self._spans_of("boolean")}

    def _decode_category(self, x: np.ndarray) -> dict[str, np.ndarray]:
        columns = {}
        for i, span in enumerate(self._spans_of("category")):
            one_hot = self.transformer_.named_transformers_["category"]
            rare = one_hot.infrequent_categories_[i]
            frequent = one_hot.categories_[i]
            if rare is not None:
                frequent = frequent[~pd.Index(frequent).isin(rare)]
            winner = x[:, span.start : span.stop].argmax(axis=1)
            is_rare = winner >= len(frequent)
            values = np.empty(len(x), dtype=object)
            values[~is_rare] = frequent[winner[~is_rare]]
            if rare is not None:
                values[is_rare] = np.resize(rare, int(is_rare.sum()))
            columns[span.column] = values
        return columns


def share_unit(schema: TableSchema) -> bool:
    """Return whether the numeric columns seem to be measured in one unit, as pixels are.

    They do if at least half of them (and at least four) span half of the range of all. Scaling such
    columns to unit variance would blow up those that hardly vary.
    """
    ranges = [(c.minimum, c.maximum) for c in schema.of_kind("numeric")]
    bounds = np.array(ranges, dtype=float).reshape(-1, 2)
    if len(bounds) < MIN_COLUMNS_OF_UNIT:
        return False
    spans, overall = bounds[:, 1] - bounds[:, 0], bounds[:, 1].max() - bounds[:, 0].min()
    return bool((spans >= 0.5 * overall).mean() >= 0.5)


def encode_rows(encoder: TableEncoder, frame: pd.DataFrame, y: np.ndarray | None = None) -> Encoded:
    """Encode a table's rows; without ``y`` they are unlabeled."""
    labels = np.full(len(frame), -1, dtype=np.int64) if y is None else y
    return Encoded(encoder.transform(frame), labels)
