from __future__ import annotations

import numpy as np

from semigen.augmentation import MAX_ROUNDS, synthesize
from semigen.params.config import AugmentParams


class Noise:
    """A generator whose rows say their class in the first feature, or lie half of the time."""

    n_features = 2

    def __init__(self, lies: bool = False) -> None:
        self.lies = lies

    def sample(self, y, seed):
        rng = np.random.default_rng(seed)
        lying = rng.random(len(y)) < 0.5 if self.lies else np.zeros(len(y), bool)
        first = np.where(lying, -1, y)
        return np.stack([first, rng.normal(size=len(y))], axis=1).astype(np.float32)


class Reader:
    """A judge that reads the class off the first feature."""

    def predict(self, x):
        return x[:, 0].astype(int)


Y = np.array([0] * 6 + [1] * 3 + [4])


def test_classes_keep_their_proportions_exactly():
    made = synthesize(Noise(), Y, AugmentParams(ratio=10), seed=0, classifier=Reader())
    classes, counts = np.unique(made.rows.y, return_counts=True)
    assert dict(zip(classes.tolist(), counts.tolist(), strict=True)) == {0: 60, 1: 30, 4: 10}
    assert made.rows.x.shape == (100, 2)
    assert made.accepted_share == 1.0 and made.n_drawn == 100


def test_rejected_rows_are_drawn_again_and_none_that_the_judge_rejects_is_kept():
    made = synthesize(Noise(lies=True), Y, AugmentParams(ratio=20), seed=0, classifier=Reader())
    np.testing.assert_array_equal(made.rows.x[:, 0], made.rows.y)
    assert 195 <= len(made.rows.y) <= 200  # 200 coins, eight throws each: 0.8 fail on average
    assert 0.4 < made.accepted_share < 0.6


def test_without_filter_every_draw_is_kept():
    params = AugmentParams(ratio=20, filter="none")
    made = synthesize(Noise(lies=True), Y, params, seed=0, classifier=Reader())
    assert made.n_drawn == len(made.rows.y) == 200
    assert (made.rows.x[:, 0] == -1).any()


def test_hopeless_class_ends_after_the_last_round():
    class Never:
        def predict(self, x):
            return np.full(len(x), 99)

    made = synthesize(Noise(), Y, AugmentParams(ratio=1), seed=0, classifier=Never())
    assert made.rows.x.shape == (0, 2)
    assert made.n_drawn == MAX_ROUNDS * len(Y)


def test_ratio_zero_makes_no_rows():
    made = synthesize(Noise(), Y, AugmentParams(ratio=0), seed=0)
    assert made.rows.x.shape == (0, 2) and made.rows.y.shape == (0,)
    assert made.accepted_share == 1.0


def test_same_seed_same_rows():
    one, two, other = (synthesize(Noise(), Y, AugmentParams(), seed=s).rows.x for s in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
