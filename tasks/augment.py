"""``augment``: synthetic labeled rows, readable, and how much they resemble real ones."""

from __future__ import annotations

import pandas as pd

from semigen.artifacts import Layout, atomic_path, write_json
from semigen.augmentation import synthesize
from semigen.classifiers.rows import fit_judge
from semigen.compute import limit_threads
from semigen.config import Params
from semigen.encoding import Encoded, TableEncoder
from semigen.evaluation.fidelity import fidelity
from semigen.generators import load_generator
from semigen.sources import write_csv


def run(params: Params, layout: Layout) -> None:
    """Draw synthetic rows class by class; write them encoded, readable, and their fidelity."""
    limit_threads(params.compute)
    encoder = TableEncoder.load(layout.encoder)
    labeled = Encoded.load(layout.encoded("labeled"))
    generator = load_generator(layout.generator)
    judge = fit_judge(labeled.x, labeled.y, params.seed)
    made = synthesize(generator, labeled.y, params.augment, params.seed, judge)
    schema = encoder.schema
    features = encoder.inverse_transform(made.rows.x)
    table = features.assign(
        **{schema.target: schema.decode_labels(made.rows.y)},
        source=f"synthetic: {params.pretrain.generator}",
    )
    with atomic_path(layout.synthetic_table) as temporary:
        write_csv(table, temporary)
    made.rows.save(layout.synthetic_encoded)
    facts = {
        "n_synthetic": len(table),
        "n_drawn": made.n_drawn,
        "accepted_share": round(made.accepted_share, 6),
    }
    write_json(layout.fidelity, facts | fidelity(read_real(layout), features, schema))
    print(
        f"augment: {len(table)} synthetic rows, {made.accepted_share:.0%} of {made.n_drawn} drawn"
    )


def read_real(layout: Layout) -> pd.DataFrame:
    """Return the features of the labeled and unlabeled rows."""
    parts = [pd.read_parquet(layout.prepared(part)) for part in ("labeled", "unlabeled")]
    return pd.concat(parts, join="inner", ignore_index=True)
