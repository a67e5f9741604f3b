"""Oracles: copies of the training rows, independent rows, coverage of the intervals."""

import numpy as np
import pytest

from semigen.evaluation.privacy import closest_record, membership_attacks, privacy


def normal(n_rows, seed, n_features=6):
    return np.random.default_rng(seed).normal(size=(n_rows, n_features))


def test_copy_of_the_training_rows_is_detected():
    training, held_out = normal(300, 0), normal(300, 1)
    found = privacy(training, training, held_out)
    closest = found.closest_record
    assert closest.median_to_training == 0
    assert closest.median_to_held_out > 0.5
    assert (closest.copies_share, closest.held_out_copies_share) == (1, 0)
    assert closest.closer_share.value == closest.closer_share.high == 1
    assert closest.closer_share.low > 0.98
    for attack in found.attacks.values():
        assert attack.value > 0.999
        assert 0.97 < attack.low <= attack.high == 1


def test_independent_rows_show_no_leak():
    found = privacy(normal(1500, 2), normal(1000, 3), normal(1000, 4))
    share = found.closest_record.closer_share
    # The standard error is about 0.5 / sqrt(1500), times less than 2 for shared closest records.
    assert abs(share.value - 0.5) < 0.07
    assert share.low <= 0.5 <= share.high
    assert found.closest_record.copies_share == 0
    for attack in found.attacks.values():
        assert attack.low <= 0.5 <= attack.high


def test_half_copied_rows_are_detected():
    training, held_out = normal(400, 5), normal(400, 6)
    found = closest_record(np.concatenate([training[:100], held_out[:100]]), training, held_out)
    assert found.closer_share.value == found.copies_share == found.held_out_copies_share == 0.5
    assert found.median_to_training > 0


def test_copies_by_chance_are_no_leak():
    """With few distinct values, every row has copies in all tables: ties count half."""
    rows = [
        np.random.default_rng(seed).integers(2, size=(500, 3)).astype(float) for seed in (0, 1, 2)
    ]
    found = privacy(*rows)
    closest = found.closest_record
    assert closest.copies_share == closest.held_out_copies_share == 1
    assert closest.closer_share.value == 0.5
    for attack in found.attacks.values():
        assert attack.value == pytest.approx(0.5)


def test_density_ratio_detects_what_distances_miss():
    """Members are in a sparse region, where distances are large for all rows."""
    rng = np.random.default_rng(7)
    scale = np.repeat([0.01, 5.0], 300)[:, None]
    members, non_members, others = (rng.normal(size=(600, 6)) * scale for _ in range(3))
    synthetic = np.where(scale > 1, members + 0.5 * rng.normal(size=(600, 6)), others)
    shuffle = rng.permutation(600)
    attacks = membership_attacks(synthetic, members[shuffle], non_members[shuffle])
    assert attacks["density_ratio"].low > attacks["closest_record"].high


def test_strongest_attack_has_the_highest_auc():
    found = privacy(normal(100, 8), normal(90, 9), normal(80, 10))
    best = max(attack.value for attack in found.attacks.values())
    assert found.attacks[found.strongest].value == best


def test_intervals_of_both_attacks_hold_simultaneously():
    """Without a leak, both intervals cover 0.5 in at least 95 % of 400 trials, +- 0.011."""
    n_trials, n_covered, n_share = 400, 0, 0
    for trial in range(n_trials):
        rng = np.random.default_rng(trial)
        found = privacy(*(rng.normal(size=(60, 3)) for _ in range(3)), seed=trial)
        n_covered += all(a.low <= 0.5 <= a.high for a in found.attacks.values())
        share = found.closest_record.closer_share
        n_share += share.low <= 0.5 <= share.high
    assert n_covered / n_trials > 0.95 - 3 * 0.011
    assert abs(n_share / n_trials - 0.95) < 3 * 0.011 + 0.01


def test_subsamples_large_tables():
    rows = normal(300, 15), normal(200, 16), normal(40, 17)
    found = privacy(*rows, max_rows=100, seed=1)
    assert (found.n_synthetic, found.n_members, found.n_held_out) == (100, 100, 40)
    assert privacy(*rows, max_rows=100, seed=1) == found != privacy(*rows, max_rows=100, seed=2)


def test_constant_rows_show_no_leak():
    constant = np.full((20, 4), 0.1)
    found = privacy(constant, constant, constant)
    assert found.closest_record.closer_share.value == 0.5
    assert all(attack.value == 0.5 for attack in found.attacks.values())


def test_four_held_out_rows_suffice():
    found = privacy(normal(1, 18), normal(30, 19), normal(5, 20))
    assert all(0 <= a.low <= a.value <= a.high <= 1 for a in found.attacks.values())


@pytest.mark.parametrize("sizes", [(0, 10, 10), (10, 3, 10), (10, 10, 3)])
def test_rejects_too_few_rows(sizes):
    with pytest.raises(ValueError, match=f"got {sizes[0]}, {sizes[1]} and {sizes[2]}"):
        privacy(*(normal(size, 0) for size in sizes))


def test_copies_use_all_rows_and_distances_equally_many():
    training, held_out = normal(50, 21), normal(10, 22)
    found = closest_record(np.concatenate([training[30:], held_out[:5]]), training, held_out)
    assert found.copies_share == 20 / 25
    assert found.held_out_copies_share == 5 / 25
    assert found == closest_record(
        np.concatenate([training[30:], held_out[:5]]),
        np.concatenate([training[:10], training[:9:-1]]),
        held_out,
    )
    assert found.median_to_training > 0


def test_rows_that_are_drawn_before_they_are_scaled_give_the_same_result():
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=(n, 3)) for n in (150, 300, 120)]
    scaled_rows: list[int] = []

    def scale(x):
        scaled_rows.append(len(x))
        return x * np.array([1.0, 2.0, 0.5])

    expected = privacy(*(x * np.array([1.0, 2.0, 0.5]) for x in rows), max_rows=100)
    assert privacy(*rows, max_rows=100, space=scale) == expected
    assert scaled_rows == [100, 100, 100]
