"""Models that are trained without labels first and then conditioned on the class."""

from __future__ import annotations

import numpy as np
import pytest

from tests.semigen.example_tables import TARGET, encoded, mixed_table
from tests.semigen.generators.small_models import TRAINED, small_model

FAMILIES = ("autoregressive", "diffusion")
ILL, WELL = 0, 1


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_all_classes_together_have_the_moments_of_the_table(family):
    encoder, rows = encoded(mixed_table(400, missing=0.1), n_labeled=20)
    model = small_model(family, encoder, TRAINED)
    model.fit(rows)
    x = model.sample(np.repeat([ILL, WELL], 1000), seed=3)
    deviations = rows.x.std(axis=0)
    assert (np.abs(x.mean(axis=0) - rows.x.mean(axis=0)) < 0.3 * deviations + 0.02).all()
    assert 0.7 < x[:, 0].std() / rows.x[:, 0].std() < 1.3


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_a_class_have_its_mean_if_all_rows_are_labeled(family):
    table = mixed_table(300)
    encoder, rows = encoded(table, n_labeled=300)
    model = small_model(family, encoder, TRAINED)
    model.fit(rows)
    weights = {
        c: encoder.inverse_transform(model.sample(np.full(500, c), seed=2))["weight"].mean()
        for c in (ILL, WELL)
    }
    for c, name in ((ILL, "ill"), (WELL, "well")):
        real = table.loc[table[TARGET] == name, "weight"]
        assert abs(weights[c] - real.mean()) < 2.0  # standard errors: 0.4 real, 0.25 sampled
