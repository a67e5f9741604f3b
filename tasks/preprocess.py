"""Stage ``preprocess``: write typed tables, the fitted encoder and encoded rows."""

from __future__ import annotations

import pandas as pd

from semigen.artifacts import Layout, atomic_path
from semigen.params.config import Params
from semigen.tables.cells import as_text
from semigen.tables.encoding import TableEncoder, encode_rows
from semigen.tables.schema import TableSchema
from semigen.tables.splits import Tables, read_tables


def run(params: Params, layout: Layout) -> None:
    """Write the typed tables, the encoder, and the encoded labeled and unlabeled rows.

    Raises:
        UserError: If a table cannot be read or does not fit the schema.
    """
    schema = TableSchema.load(layout.schema)
    tables = read_tables(params.data, layout)
    prepared = {
        part: prepare(getattr(tables, part), schema, tables, part)
        for part in ("labeled", "unlabeled", "test")
    }
    for part, frame in prepared.items():
        with atomic_path(layout.prepared(part)) as temporary:
            frame.to_parquet(temporary, index=False)
    training = pd.concat([prepared["labeled"], prepared["unlabeled"]], ignore_index=True)
    encoder = TableEncoder(schema, params.preprocess).fit(training, params.seed)
    with atomic_path(layout.encoder) as temporary:
        encoder.save(temporary)
    y = schema.encode_labels(prepared["labeled"][schema.target])
    encode_rows(encoder, prepared["labeled"], y).save(layout.encoded("labeled"))
    encode_rows(encoder, prepared["unlabeled"]).save(layout.encoded("unlabeled"))
    print(
        f"preprocess: {len(schema.features)} columns encoded as {encoder.n_features} features "
        f"({encoder.scaling_} scaling)"
    )


def prepare(frame: pd.DataFrame, schema: TableSchema, tables: Tables, part: str) -> pd.DataFrame:
    """Return a part's typed features and, unless it is unlabeled, its labels as text."""
    typed = schema.coerce(frame, source=tables.files[part])
    if part == "unlabeled":
        return typed
    schema.encode_labels(frame[schema.target])
    return typed.assign(**{schema.target: as_text(frame[schema.target])})
