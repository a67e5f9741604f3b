"""Models of every family that are killed in any epoch resume with bit-identical results."""

from __future__ import annotations

import numpy as np
import pytest

from semigen.training.progress import Progress
from tests.semigen.example_tables import encoded, mixed_table
from tests.semigen.generators.small_models import QUICK, small_model

CASES = [*QUICK, "sdgm"]


class Killed(Exception):
    pass


class Count(Progress):
    """Counts the epochs of all trainings; raises ``Killed`` in one of them."""

    def __init__(self, last: int | None = None) -> None:
        super().__init__("", stream=None)
        self.n_epochs, self.last = 0, last

    def epoch(self, *_) -> None:
        self.n_epochs += 1
        if self.n_epochs == self.last:
            raise Killed


@pytest.mark.parametrize("progress", [0.3, 0.8, 1.0])
@pytest.mark.parametrize("case", CASES)
def test_killed_fit_repeats_no_epoch_and_gives_the_same_model(case, progress, tmp_path):
    encoder, rows = encoded(mixed_table(80, missing=0.1), n_labeled=12)

    def fit(counter, **options):
        model = small_model(case, encoder, QUICK)
        return model, model.fit(rows, progress=counter, **options)

    whole = Count()
    expected, history = fit(whole)
    killed = Count(last=max(1, round(progress * whole.n_epochs)))
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
