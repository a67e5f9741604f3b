from __future__ import annotations

import numpy as np

from semigen.augmentation import MAX_ROUNDS, synthesize
from semigen.params.config import AugmentParams


class NoisyGenerator:
    """Generator whose first feature is the class, wrong in half of the rows if ``wrong``."""

    n_features = 2

    def __init__(self, wrong: bool = False) -> None:
        self.wrong = wrong

    def sample(self, y, seed):
        rng = np.random.default_rng(seed)
        is_wrong = rng.random(len(y)) < 0.5 if self.wrong else np.zeros(len(y), bool)
        first = np.where(is_wrong, -1, y)
        return np.stack([first, rng.normal(size=len(y))], axis=1).astype(np.float32)


class FirstFeature:
    """Classifier that predicts the first feature."""

    def predict(self, x):
        return x[:, 0].astype(int)


Y = np.array([0] * 6 + [1] * 3 + [4])


def test_class_proportions_are_exact():
    made = synthesize(
        NoisyGenerator(), Y, AugmentParams(ratio=10), seed=0, classifier=FirstFeature()
    )
    classes, counts = np.unique(made.rows.y, return_counts=True)
    assert dict(zip(classes.tolist(), counts.tolist(), strict=True)) == {0: 60, 1: 30, 4: 10}
    assert made.rows.x.shape == (100, 2)
    assert made.accepted_share == 1.0 and made.n_drawn == 100


def test_rejected_rows_are_drawn_again_and_not_kept():
    made = synthesize(
        NoisyGenerator(wrong=True), Y, AugmentParams(ratio=20), seed=0, classifier=FirstFeature()
    )
    np.testing.assert_array_equal(made.rows.x[:, 0], made.rows.y)
    assert (
        195 <= len(made.rows.y) <= 200
    )  # each of 200 rows fails eight times with probability 1/256
    assert 0.4 < made.accepted_share < 0.6


def test_without_filter_all_rows_are_kept():
    params = AugmentParams(ratio=20, filter="none")
    made = synthesize(NoisyGenerator(wrong=True), Y, params, seed=0, classifier=FirstFeature())
    assert made.n_drawn == len(made.rows.y) == 200
    assert (made.rows.x[:, 0] == -1).any()


def test_drawing_stops_after_the_last_round():
    class Never:
        def predict(self, x):
            return np.full(len(x), 99)

    made = synthesize(NoisyGenerator(), Y, AugmentParams(ratio=1), seed=0, classifier=Never())
    assert made.rows.x.shape == (0, 2)
    assert made.n_drawn == MAX_ROUNDS * len(Y)


def test_ratio_zero_gives_no_rows():
    made = synthesize(NoisyGenerator(), Y, AugmentParams(ratio=0), seed=0)
    assert made.rows.x.shape == (0, 2) and made.rows.y.shape == (0,)
    assert made.accepted_share == 1.0


def test_equal_seeds_give_equal_rows():
    one, two, other = (
        synthesize(NoisyGenerator(), Y, AugmentParams(), seed=s).rows.x for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
