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
from semigen.evaluation.leaks import LeakCheck, check_leaks
from semigen.evaluation.privacy import MIN_HELD_OUT, privacy
from semigen.evaluation.space import DistanceSpace
from semigen.generators import load_generator
from semigen.params.config import Params
from semigen.synthesis.formats import learn_decimals, round_numbers
from semigen.tables.encoding import Encoded, TableEncoder
from semigen.tables.formulas import guard_formulas
from semigen.tables.schema import TableSchema
from semigen.tables.sources import write_csv
from semigen.training.compute import limit_threads
from tasks.pretrain import read_training_rows

MAX_ROWS_COMPARED = 10_000
"""Maximum number of rows of each kind in comparisons of distances, drawn by the seed. A comparison
of a large table then takes seconds, and its errors are below 0.01."""


def run(params: Params, layout: Layout) -> None:
    """Sample synthetic rows of every class; write them, encoded and as a table, and their quality.

    The table is for readers, and has no row if a privacy check fails. The encoded rows train the
    classifiers; they stay in the project like the encoded training rows.

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
    real, real_table = read_training_rows(layout), read_real(layout)
    decoded = encoder.inverse_transform(synthetic.rows.x)
    features = round_numbers(decoded, learn_decimals(real_table, schema))
    held_out = generator.held_out(real.y)
    distances = evaluate_distances(encoder, features, real.x, held_out, params.seed)
    leaks = search_leaks(features, real_table, schema, held_out)
    attacked = distances["privacy"]
    problem = leaks.problem or (attacked.problem if attacked else None)
    is_written = problem is None or params.privacy.allow_leaks
    table = features.assign(
        **{schema.target: schema.decode_labels(synthetic.rows.y)},
        source=f"synthetic: {params.pretrain.generator}",
    )
    shuffled = table.iloc[np.random.default_rng(params.seed).permutation(len(table))]
    with atomic_path(layout.synthetic_table) as temporary:
        write_csv(guard_formulas(shuffled if is_written else table[:0]), temporary)
    synthetic.rows.save(layout.synthetic_encoded)
    facts = {
        "n_synthetic": len(table),
        "n_drawn": synthetic.n_drawn,
        "accepted_share": round(synthetic.accepted_share, 6),
        "is_written": is_written,
        "leaks": leaks.to_json_dict(),
    }
    similarity = fidelity(schema.merge_rare(real_table), features, schema)
    comparison = {name: found and to_json(found) for name, found in distances.items()}
    write_json(layout.fidelity, facts | similarity | comparison)
    print(
        f"augment: kept {len(table)} synthetic rows, {synthetic.accepted_share:.0%} of "
        f"{synthetic.n_drawn} sampled rows"
    )
    if problem:
        written = "has them all the same" if is_written else "has no row"
        print(
            f"warning: {problem}; {layout.synthetic_table.relative_to(layout.root).as_posix()} "
            f"{written} (privacy.allow_leaks)"
        )


def search_leaks(
    features: pd.DataFrame, real: pd.DataFrame, schema: TableSchema, held_out: np.ndarray
) -> LeakCheck:
    """Search synthetic rows for rare values of the real rows.

    Args:
        features: Synthetic rows, decoded, without labels.
        real: Typed features of the labeled and unlabeled rows, rare categories included.
        schema: Schema of the rows.
        held_out: Indices of the real rows that the generator was not trained on.
    """
    return check_leaks(
        real,
        features,
        min_rows=schema.min_rows,
        ordered=[column.name for column in schema.of_kind("numeric")],
        held_out=held_out,
        whole_rows=[column.name for column in schema.features],
    )


def read_real(layout: Layout) -> pd.DataFrame:
    """Return the features of the labeled and unlabeled rows."""
    parts = [pd.read_parquet(layout.prepared(part)) for part in ("labeled", "unlabeled")]
    return pd.concat(parts, join="inner", ignore_index=True)


def evaluate_distances(
    encoder: TableEncoder, features: pd.DataFrame, real: np.ndarray, held_out: np.ndarray, seed: int
) -> dict[str, Any]:
    """Return ``Diversity`` and ``Privacy`` of synthetic rows, each None if there are too few rows.

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
        "diversity": diversity(*samples) if n_compared > 1 else None,
        "privacy": privacy(*rows, seed=seed, max_rows=MAX_ROWS_COMPARED, space=space)
        if can_attack
        else None,
    }
