from __future__ import annotations

import pytest

from semigen.classifiers.problem import LearningProblem
from semigen.generators import make_generator
from semigen.params.config import AugmentParams, ComputeParams, PretrainParams
from semigen.params.generators import VAEParams
from semigen.tables.encoding import Encoded
from tests.semigen.example_tables import encoded, mixed_table


@pytest.fixture(scope="session")
def fitted_generator():
    """Encoder, generator and learning problem of 300 rows, the first 24 of them labeled."""
    encoder, rows = encoded(mixed_table(300), n_labeled=24)
    params = PretrainParams(
        vae=VAEParams(latent_dim=3, hidden_dims=(32,), epochs=15, batch_size=32)
    )
    generator = make_generator(encoder, params, ComputeParams(), seed=0)
    generator.fit(rows)
    labeled, unlabeled = (Encoded(rows.x[part], rows.y[part]) for part in (rows.y >= 0, rows.y < 0))
    problem = LearningProblem.from_encoded(
        labeled, unlabeled, generator, AugmentParams(ratio=3), seed=0
    )
    return encoder, generator, problem


@pytest.fixture(scope="session")
def problem(fitted_generator):
    """Learning problem of 300 rows, the first 24 of them labeled."""
    return fitted_generator[2]
