"""Statement of a stage's estimated time and memory before it starts."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
from pyarrow import ArrowException
from safetensors import SafetensorError, safe_open

from semigen.artifacts import Layout
from semigen.costs import TableSize, estimate
from semigen.errors import UserError
from semigen.params.config import Params
from semigen.tables.schema import TableSchema

RAW_STAGES = ("validate", "preprocess")
SAMPLE_BYTES = 2**16
UNREADABLE = (OSError, ArrowException, SafetensorError, UserError)


def announce(stage: str, params: Params, layout: Layout) -> None:
    """Print the estimate of a stage, and compare its memory with ``compute.memory_limit``.

    Raises:
        UserError: If the estimate exceeds the limit.
    """
    try:
        size = table_size(params, layout, stage)
    except UNREADABLE:
        return  # the stage reports the file
    cost = estimate(stage, size, params) if size else None
    if size is None or cost is None:
        return
    print(f"{stage}: {cost.describe()} ({size.describe()})", flush=True)
    cost.check(stage, params.compute.memory_limit)


def table_size(params: Params, layout: Layout, stage: str) -> TableSize | None:
    """Return the size of the tables without reading them; None if it cannot be told.

    ``validate`` and ``preprocess`` get the size of the user's files, later stages that of the
    prepared tables.
    """
    if stage in RAW_STAGES:
        return _raw_size(params, layout)
    encoded = [layout.encoded(part) for part in ("labeled", "unlabeled")]
    if not all(path.exists() for path in (*encoded, layout.schema, layout.prepared("test"))):
        return None
    (n_labeled, n_encoded), (n_unlabeled, _) = map(_matrix_shape, encoded)
    schema = TableSchema.load(layout.schema)
    return TableSize(
        n_labeled,
        n_unlabeled,
        pq.read_metadata(layout.prepared("test")).num_rows,
        len(schema.features),
        n_encoded,
        len(schema.classes),
    )


def _raw_size(params: Params, layout: Layout) -> TableSize | None:
    data = params.data
    paths = [data.labeled, data.unlabeled, data.test_table]
    found = [(0, 0) if path is None else _file_shape(layout.source(path)) for path in paths]
    shapes = [shape for shape in found if shape is not None]
    if len(shapes) < len(found):
        return None
    labeled, unlabeled, test = (n_rows for n_rows, _ in shapes)
    return TableSize(labeled, unlabeled, test, max(n_columns for _, n_columns in shapes))


def _file_shape(path: Path) -> tuple[int, int] | None:
    """Return rows and columns of a CSV or Parquet file, estimated from the first lines of a CSV."""
    if not path.is_file():
        return None
    if path.suffix == ".parquet":
        metadata = pq.read_metadata(path)
        return metadata.num_rows, metadata.num_columns
    if path.suffix not in (".csv", ".tsv", ".txt"):
        return None
    with path.open("rb") as file:
        lines = file.read(SAMPLE_BYTES).splitlines(keepends=True)
    if len(lines) < 2:
        return None
    n_rows = path.stat().st_size * len(lines) / sum(map(len, lines)) - 1
    delimiter = max((b",", b";", b"\t", b"|"), key=lines[0].count)
    return round(n_rows), lines[0].count(delimiter) + 1


def _matrix_shape(path: Path) -> tuple[int, int]:
    with safe_open(path, framework="np") as file:
        n_rows, n_columns = file.get_slice("x").get_shape()
    return n_rows, n_columns
