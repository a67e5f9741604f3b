"""``augment``: synthetic labeled rows, readable, and how much they resemble real ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from semigen.artifacts import Layout, atomic_path, write_json
from semigen.augmentation import fit_agreement_classifier, synthesize
from semigen.evaluation.diversity import diversity
from semigen.evaluation.estimates import to_json
from semigen.evaluation.fidelity import fidelity
from semigen.evaluation.privacy import MIN_HELD_OUT, privacy
from semigen.evaluation.space import DistanceSpace
from semigen.generators import load_generator
from semigen.params.config import Params
from semigen.tables.encoding import Encoded, TableEncoder
from semigen.tables.sources import write_csv
from semigen.training.compute import limit_threads
from tasks.pretrain import read_training_rows

MAX_ROWS_COMPARED = 10_000
"""Rows of each kind whose distances are looked at, drawn by seed: seconds on a large table, and
figures good to a hundredth."""


def run(params: Params, layout: Layout) -> None:
    """Draw synthetic rows class by class; write them encoded, readable, and what they are like."""
    limit_threads(params.compute)
    encoder = TableEncoder.load(layout.encoder)
    labeled = Encoded.load(layout.encoded("labeled"))
    generator = load_generator(layout.generator)
    classifier = fit_agreement_classifier(labeled.x, labeled.y, params.seed)
    made = synthesize(generator, labeled.y, params.augment, params.seed, classifier)
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
    real = read_training_rows(layout)
    nearness = compare(encoder, features, real.x, generator.held_out(real.y), params.seed)
    write_json(layout.fidelity, facts | fidelity(read_real(layout), features, schema) | nearness)
    print(
        f"augment: {len(table)} synthetic rows, {made.accepted_share:.0%} of {made.n_drawn} drawn"
    )


def read_real(layout: Layout) -> pd.DataFrame:
    """Return the features of the labeled and unlabeled rows."""
    parts = [pd.read_parquet(layout.prepared(part)) for part in ("labeled", "unlabeled")]
    return pd.concat(parts, join="inner", ignore_index=True)


def compare(
    encoder: TableEncoder, features: pd.DataFrame, real: np.ndarray, held_out: np.ndarray, seed: int
) -> dict[str, Any]:
    """Return diversity and privacy of synthetic rows, each None where rows are too few for it.

    What is judged is the readable table, with its rounded numbers: it is what others will see.

    Args:
        encoder: Encoder of all rows.
        features: Synthetic rows, readable.
        real: Encoded real rows, shape ``(n, n_features)``.
        held_out: Indices of those that the generator was not trained on, the non-members.
        seed: Seed of all draws of rows.
    """
    has_one_unit = encoder.scaling_ == "minmax"  # as inferred, or as somebody decided
    space = DistanceSpace.fit(real, encoder.spans_, shared_unit=has_one_unit)
    rng = np.random.default_rng(seed)
    synthetic = (
        space(encoder.transform(features)) if len(features) else np.empty((0, real.shape[1]))
    )
    n_compared = min(len(synthetic), len(real), MAX_ROWS_COMPARED)
    can_attack = len(synthetic) > 0 and MIN_HELD_OUT <= len(held_out) <= len(real) - MIN_HELD_OUT
    few = (rng.permutation(rows)[:n_compared] for rows in (synthetic, space(real)))
    rows = (synthetic, space(np.delete(real, held_out, axis=0)), space(real[held_out]))
    return {
        "diversity": to_json(diversity(*few)) if n_compared > 1 else None,
        "privacy": to_json(privacy(*rows, seed=seed, max_rows=MAX_ROWS_COMPARED))
        if can_attack
        else None,
    }
