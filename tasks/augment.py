"""Stage ``augment``: sample synthetic labeled rows and evaluate their quality."""

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
from semigen.tables.formulas import guard_formulas
from semigen.tables.sources import write_csv
from semigen.training.compute import limit_threads
from tasks.pretrain import read_training_rows

MAX_ROWS_COMPARED = 10_000
"""Maximum number of rows of each kind in comparisons of distances, drawn by the seed. A comparison
of a large table then takes seconds, and its errors are below 0.01."""


def run(params: Params, layout: Layout) -> None:
    """Sample synthetic rows of every class; write them, encoded and as a table, and their quality.

    Args:
        params: Parameters of the run.
        layout: Paths of the project.
    """
    limit_threads(params.compute)
    encoder = TableEncoder.load(layout.encoder)
    labeled = Encoded.load(layout.encoded("labeled"))
    generator = load_generator(layout.generator)
    classifier = fit_agreement_classifier(labeled.x, labeled.y, params.seed)
    synthetic = synthesize(generator, labeled.y, params.augment, params.seed, classifier)
    schema = encoder.schema
    features = encoder.inverse_transform(synthetic.rows.x)
    table = features.assign(
        **{schema.target: schema.decode_labels(synthetic.rows.y)},
        source=f"synthetic: {params.pretrain.generator}",
    )
    with atomic_path(layout.synthetic_table) as temporary:
        write_csv(guard_formulas(table), temporary)
    synthetic.rows.save(layout.synthetic_encoded)
    facts = {
        "n_synthetic": len(table),
        "n_drawn": synthetic.n_drawn,
        "accepted_share": round(synthetic.accepted_share, 6),
    }
    real = read_training_rows(layout)
    held_out = generator.held_out(real.y)
    comparison = evaluate_distances(encoder, features, real.x, held_out, params.seed)
    write_json(
        layout.fidelity,
        facts | fidelity(schema.merge_rare(read_real(layout)), features, schema) | comparison,
    )
    print(
        f"augment: kept {len(table)} synthetic rows, {synthetic.accepted_share:.0%} of "
        f"{synthetic.n_drawn} sampled rows"
    )


def read_real(layout: Layout) -> pd.DataFrame:
    """Return the features of the labeled and unlabeled rows."""
    parts = [pd.read_parquet(layout.prepared(part)) for part in ("labeled", "unlabeled")]
    return pd.concat(parts, join="inner", ignore_index=True)


def evaluate_distances(
    encoder: TableEncoder, features: pd.DataFrame, real: np.ndarray, held_out: np.ndarray, seed: int
) -> dict[str, Any]:
    """Return diversity and privacy of synthetic rows, each None if there are too few rows.

    The decoded table with its rounded numbers is evaluated, because this table is published.

    Args:
        encoder: Encoder of all rows.
        features: Synthetic rows, decoded, without labels.
        real: Encoded real rows, shape ``(n, n_features)``.
        held_out: Indices of the real rows that the generator was not trained on, the non-members.
        seed: Seed of all random choices of rows.
    """
    has_one_unit = encoder.scaling_ == "minmax"  # inferred or configured
    space = DistanceSpace.fit(real, encoder.spans_, shared_unit=has_one_unit)
    rng = np.random.default_rng(seed)
    synthetic = encoder.transform(features) if len(features) else np.empty((0, real.shape[1]))
    n_compared = min(len(synthetic), len(real), MAX_ROWS_COMPARED)
    can_attack = len(synthetic) > 0 and MIN_HELD_OUT <= len(held_out) <= len(real) - MIN_HELD_OUT
    samples = (space(rows[rng.permutation(len(rows))[:n_compared]]) for rows in (synthetic, real))
    rows = (synthetic, np.delete(real, held_out, axis=0), real[held_out])
    return {
        "diversity": to_json(diversity(*samples)) if n_compared > 1 else None,
        "privacy": to_json(privacy(*rows, seed=seed, max_rows=MAX_ROWS_COMPARED, space=space))
        if can_attack
        else None,
    }
