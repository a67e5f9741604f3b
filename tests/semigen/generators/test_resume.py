"""Every family, killed at any epoch of any of its trainings, goes on as if nothing had happened."""

from __future__ import annotations

import numpy as np
import pytest

from semigen.generators import FAMILIES, make_generator
from semigen.params.config import ComputeParams, PretrainParams
from semigen.training.progress import Progress
from tests.semigen.example_tables import encoded, mixed_table
from tests.semigen.generators.small_models import QUICK

EVERY_EPOCH = ComputeParams(checkpoint_seconds=1e-9)
CASES = [*QUICK.items(), ("ssvae", QUICK["ssvae"] | {"form": "sdgm"})]
NAMES = [*QUICK, "sdgm"]


class Killed(Exception):
    pass


class Count(Progress):
    """Counts the epochs of all trainings; kills in one of them."""

    def __init__(self, last: int | None = None) -> None:
        super().__init__("", stream=None)
        self.n_epochs, self.last = 0, last

    def epoch(self, *_) -> None:
        self.n_epochs += 1
        if self.n_epochs == self.last:
            raise Killed


def test_all_families_are_covered():
    assert set(QUICK) == set(FAMILIES)


@pytest.mark.parametrize("share", [0.3, 0.8, 1.0])
@pytest.mark.parametrize(("family", "changes"), CASES, ids=NAMES)
def test_a_killed_fit_repeats_no_epoch_and_ends_in_the_same_bits(family, changes, share, tmp_path):
    encoder, rows = encoded(mixed_table(80, missing=0.1), n_labeled=12)
    params = PretrainParams.model_validate({"generator": family, family: changes})

    def fit(progress, **options):
        model = make_generator(encoder, params, EVERY_EPOCH, seed=1)
        return model, model.fit(rows, progress=progress, **options)

    whole = Count()
    expected, history = fit(whole)
    killed = Count(last=max(1, round(share * whole.n_epochs)))
    with pytest.raises(Killed):
        fit(killed, checkpoint=tmp_path / "state")
    rest = Count()
    resumed, again = fit(rest, checkpoint=tmp_path / "state")

    assert killed.n_epochs + rest.n_epochs == whole.n_epochs
    assert again == history
    y = rows.y[rows.y >= 0]
    for method in ("features", "score", "novelty"):
        np.testing.assert_array_equal(
            getattr(resumed, method)(rows.x), getattr(expected, method)(rows.x)
        )
    np.testing.assert_array_equal(resumed.sample(y, 5), expected.sample(y, 5))
    assert list(tmp_path.iterdir()) == []
