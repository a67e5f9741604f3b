"""Encoding of tables with mixed columns as float32 matrices, with scikit-learn's transformers."""

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
    OneHotEncoder,
    OrdinalEncoder,
)

from semigen.artifacts import atomic_path, write_json
from semigen.errors import UserError
from semigen.params.config import ColumnKind, PreprocessParams
from semigen.storage.estimator_files import load_estimator, save_estimator
from semigen.storage.saved_files import read_saved_json, reading
from semigen.tables.far_numbers import far_numbers
from semigen.tables.saved_schema import check_blocks, check_schema, empty_row
from semigen.tables.scaling import limited, scaler_block, share_statistics, share_unit
from semigen.tables.schema import TableSchema
from semigen.wording import cell

BlockKind = Literal["numeric", "missing", "boolean", "category"]


@dataclass(frozen=True)
class Span:
    """Position of a column in an encoded row.

    Attributes:
        column: Name of the column.
        start: Index of the first feature.
        stop: Index after the last feature.
        kind: ``numeric`` (scaled), ``missing`` (1 if a numeric or boolean cell is missing),
            ``boolean`` (0 or 1) or ``category`` (one-hot; missing is a category).

    Examples:
        >>> ward = Span("ward", start=3, stop=6, kind="category")
        >>> np.arange(8)[ward.start : ward.stop].tolist()
        [3, 4, 5]
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
        y: Class indices, shape ``(n,)``, int64; -1 for unlabeled rows.

    Examples:
        >>> import tempfile
        >>> rows = Encoded(np.zeros((2, 3), np.float32), np.array([0, -1]))
        >>> path = Path(tempfile.mkdtemp()) / "rows.safetensors"
        >>> rows.save(path)
        >>> Encoded.load(path).x.shape
        (2, 3)
    """

    x: np.ndarray
    y: np.ndarray

    def save(self, path: Path) -> None:
        """Write both arrays to one safetensors file."""
        with atomic_path(path) as temporary:
            # safetensors assumes C order.
            arrays = {"x": np.ascontiguousarray(self.x), "y": np.ascontiguousarray(self.y)}
            save_file(arrays, temporary)

    @classmethod
    def load(cls, path: Path) -> Encoded:
        """Read the files that ``save`` wrote."""
        return cls(**load_file(path))


class TableEncoder:
    """Encodes the feature columns of a table as a matrix, and decodes them.

    Args:
        schema: Schema of the table.
        params: Scaling and grouping of rare categories; defaults if None.

    Attributes:
        scaling_: Scaler of the numeric columns: ``standard``, ``quantile`` or ``minmax``.
        transformer_: Fitted ``ColumnTransformer``.
        spans_: Position of every column in an encoded row, in order.

    Examples:
        >>> rows = pd.DataFrame({"age": [30.0, 40.0, 50.0], "smoker": ["yes", "no", "yes"]})
        >>> schema = TableSchema.infer(rows.assign(label="a"), rows, "label")
        >>> encoder = TableEncoder(schema).fit(rows)
        >>> [(span.column, span.kind) for span in encoder.spans_]
        [('age', 'numeric'), ('smoker', 'boolean')]
        >>> encoder.inverse_transform(encoder.transform(rows))["age"].tolist()
        [30, 40, 50]
    """

    def __init__(self, schema: TableSchema, params: PreprocessParams | None = None) -> None:
        self.schema = schema
        self.params = params or PreprocessParams()

    @property
    def n_features(self) -> int:
        """Number of features of an encoded row."""
        return self.spans_[-1].stop

    def fit(self, frame: pd.DataFrame, seed: int = 0) -> TableEncoder:
        """Fit the transformers.

        Args:
            frame: Labeled and unlabeled training rows, shape ``(n_rows, n_columns)``.
            seed: Seed of the quantile transformer.

        Raises:
            UserError: If a column is missing or a value has the wrong type.
        """
        self.scaling_ = self._choose_scaling()
        typed = self._without_none(self.schema.coerce(frame))
        kinds: tuple[ColumnKind, ...] = ("numeric", "boolean", "category")
        names = {kind: [c.name for c in self.schema.of_kind(kind)] for kind in kinds}
        with_gaps = [n for n in names["numeric"] + names["boolean"] if typed[n].isna().any()]
        blocks = [
            (
                "numeric",
                scaler_block(self.scaling_, len(typed), self.schema.min_rows, seed),
                names["numeric"],
            ),
            ("missing", MissingIndicator(features="all"), with_gaps),
            ("boolean", self._boolean_block(), names["boolean"]),
            ("category", self._category_block(), names["category"]),
        ]
        self.transformer_ = ColumnTransformer(
            [block for block in blocks if block[2]], sparse_threshold=0
        ).fit(typed)
        if self.schema.min_rows > 1 and names["numeric"]:
            numeric = self.transformer_.named_transformers_["numeric"]
            share_statistics(numeric, typed[names["numeric"]], self.schema)
        self.spans_ = self._find_spans()
        return self

    def transform(self, frame: pd.DataFrame) -> np.ndarray:
        """Return encoded rows, shape ``(n_rows, n_features)``, float32, without missing values.

        Raises:
            UserError: If a column is missing, a value has the wrong type, or a number is too far
                outside the range of the training rows.
        """
        x = self._encode(self.schema.coerce(frame))
        for row, reason in far_numbers(x, frame, self.spans_).items():
            raise UserError(f"table: row {row + 1}, {reason}")
        return x

    def transform_valid(self, frame: pd.DataFrame) -> tuple[np.ndarray, dict[int, str]]:
        """Encode the rows that can be encoded.

        Args:
            frame: Rows, shape ``(n_rows, n_columns)``.

        Returns:
            Encoded rows, shape ``(n_rows, n_features)``, zeros where a row cannot be encoded, and
            the reason for each of these rows by its position, in which the value of the cell is
            marked (``wording.cell``).

        Raises:
            UserError: If a column is missing.
        """
        typed, wrong = self.schema.coerce_cells(frame)
        x = self._encode(typed)
        reasons = far_numbers(x, frame, self.spans_)
        for name, is_wrong in wrong.items():
            for row in np.flatnonzero(is_wrong).tolist():
                reasons.setdefault(
                    row, f"column {name!r}: {cell(frame[name].iloc[row])} is no number"
                )
        x[list(reasons)] = 0.0
        return x, reasons

    def inverse_transform(self, x: np.ndarray) -> pd.DataFrame:
        """Decode rows as a table.

        Numbers are clipped to the range in the schema. A one-hot block decodes to its largest
        entry; grouped rare categories alternate.

        Args:
            x: Rows, shape ``(n, n_features)``; need not be an exact encoding.
        """
        if not len(x):  # scikit-learn's scalers need a row
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
        """Write the schema and the fitted transformer to a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self.schema.save(folder / "schema.json")
        write_json(folder / "encoder.json", {"scaling": self.scaling_})
        save_estimator(self.transformer_, folder / "transformer.skops")

    @classmethod
    def load(cls, folder: Path) -> TableEncoder:
        """Read the files that ``save`` wrote."""
        with reading(folder / "schema.json"):
            encoder = cls(TableSchema.load(folder / "schema.json"))
            check_schema(encoder.schema)
        with reading(folder / "encoder.json"):
            encoder.scaling_ = str(read_saved_json(folder / "encoder.json")["scaling"])
        encoder.transformer_ = load_estimator(folder / "transformer.skops")
        with reading(folder / "transformer.skops"):
            encoder._check()
        return encoder

    def _check(self) -> None:
        """Find the spans of a loaded transformer, and check that it fits the schema.

        Raises:
            ValueError: If it has other columns, or does not encode a row to finite numbers.
        """
        check_blocks(self.schema, {kind: names for kind, _, names in self._blocks()})
        self.spans_ = self._find_spans()
        x = self.transform(empty_row(self.schema))
        if x.shape != (1, self.n_features) or not np.isfinite(x).all():
            raise ValueError("a row is not encoded to finite numbers of the expected shape")

    def _encode(self, typed: pd.DataFrame) -> np.ndarray:
        if typed.empty:  # scikit-learn's transformers need a row
            return np.empty((0, self.n_features), np.float32)
        with np.errstate(over="ignore"):  # far_numbers finds these cells
            encoded = self.transformer_.transform(self._without_none(typed))
            return np.ascontiguousarray(encoded, dtype=np.float32)

    def _without_none(self, typed: pd.DataFrame) -> pd.DataFrame:
        typed = self.schema.merge_rare(typed)
        text = [c.name for c in self.schema.features if c.kind != "numeric"]
        if self.scaling_ == "minmax" and self.schema.min_rows > 1:
            for c in self.schema.of_kind("numeric"):
                typed[c.name] = limited(typed[c.name], c)
        # All transformers used here accept NaN as a missing value, but not None.
        return typed.assign(**{n: typed[n].where(typed[n].notna(), np.nan) for n in text})

    def _choose_scaling(self) -> str:
        if self.params.scaling != "auto":
            return self.params.scaling
        return "minmax" if share_unit(self.schema) else "standard"

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


def encode_rows(encoder: TableEncoder, frame: pd.DataFrame, y: np.ndarray | None = None) -> Encoded:
    """Encode the rows of a table.

    Args:
        encoder: Fitted encoder.
        frame: Rows, shape ``(n, n_columns)``.
        y: Class indices, shape ``(n,)``; None for unlabeled rows.
    """
    labels = np.full(len(frame), -1, dtype=np.int64) if y is None else y
    return Encoded(encoder.transform(frame), labels)
