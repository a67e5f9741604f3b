from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from semigen.classifiers.learners import Learner, make_learners
from semigen.classifiers.selection import (
    SMOOTHING,
    Candidate,
    Committee,
    _choose,
    align,
    calibrate,
    fit_temperature,
    select,
)
from semigen.config import TrainParams

QUICK = TrainParams(epochs=3, folds=3, repeats=2)
TRUTH = np.array([0, 1] * 20)


def candidate(name: str, right: np.ndarray | float, uses: tuple[str, ...] = ()) -> Candidate:
    """Return evidence that gives the right class of each of 40 rows a probability."""
    p = np.broadcast_to(right, (1, 40))
    columns = np.where(TRUTH == 0, p, 1 - p)
    probabilities = np.stack([columns, 1 - columns], axis=2)
    learner = Learner(name, uses, "encoded", fit_rows=make_learners(TrainParams())[0].fit_rows)
    return Candidate(learner, 1.0, probabilities)


def test_clear_gain_from_unlabeled_rows_is_taken():
    better = candidate("semi", 0.9, ("unlabeled",))
    chosen = _choose([candidate("plain", 0.6), better], TRUTH, 5)
    assert chosen.selected.name == "semi" and chosen.labels_only.name == "plain"
    assert chosen.selected.losses.mean() == pytest.approx(-np.log(0.9))


def test_gain_within_its_error_falls_back_to_labels_alone():
    noise = np.where(np.arange(40) % 4 == 0, 0.2, 0.75)  # gains on most rows, loses much on some
    semi = candidate("semi", noise + 0.03, ("unlabeled",))
    chosen = _choose([candidate("plain", 0.58), semi], TRUTH, 5)
    assert semi.probabilities.shape == (1, 40, 2)
    assert chosen.selected is chosen.labels_only
    assert chosen.selected.name == "plain"


def test_worse_semi_supervised_learner_leaves_labels_alone():
    chosen = _choose([candidate("plain", 0.8), candidate("semi", 0.6, ("unlabeled",))], TRUTH, 5)
    assert chosen.selected.name == chosen.labels_only.name == "plain"
    assert "labeled rows alone" in chosen.reason


def test_learners_that_cannot_be_told_apart_are_averaged():
    rng = np.random.default_rng(0)
    one, two = (candidate(n, rng.uniform(0.6, 0.9, 40)) for n in ("one", "two"))
    chosen = _choose([one, two, candidate("bad", 0.3)], TRUTH, 5)
    assert {m.learner.name for m in chosen.selected.members} == {"one", "two"}
    average = (one.probabilities + two.probabilities) / 2
    expected = -np.log(average[0, np.arange(40), TRUTH])
    np.testing.assert_allclose(chosen.selected.losses, expected)


def test_committee_of_one_is_its_member():
    one = candidate("one", 0.7)
    committee = Committee.of([one], TRUTH)
    assert committee.name == "one"
    np.testing.assert_allclose(committee.losses, -np.log(0.7))
    assert (committee.hits == 1).all()


def test_temperature_one_only_smooths_and_a_hot_one_flattens():
    p = np.array([[0.9, 0.1], [0.5, 0.5]])
    np.testing.assert_allclose(calibrate(p, 1.0), (1 - SMOOTHING) * p + SMOOTHING / 2)
    assert abs(calibrate(p, 5.0)[0] - 0.5).max() < abs(p[0] - 0.5).max()
    np.testing.assert_allclose(calibrate(np.array([[1.0, 0.0]]), 3.0).sum(), 1.0)


def test_fitted_temperature_is_a_stationary_point_of_the_loss():
    rng = np.random.default_rng(0)
    p = rng.dirichlet([0.2, 0.2, 0.2], 300)
    truth = rng.integers(0, 3, 300) * (rng.random(300) < 0.3) + p.argmax(1) * (
        rng.random(300) < 0.7
    )
    truth = truth.clip(max=2)

    def loss(t):
        return -np.log(calibrate(p, float(t[0]))[np.arange(300), truth]).mean()

    temperature = fit_temperature(p, truth)
    assert 0.1 < temperature < 10
    assert abs(approx_fprime([temperature], loss, 1e-5)[0]) < 1e-3


def test_aligning_gives_unseen_classes_nothing():
    aligned = align(np.array([[0.3, 0.7]]), np.array([0, 2]), np.arange(4))
    np.testing.assert_array_equal(aligned, [[0.3, 0.0, 0.7, 0.0]])


def named(*names: str) -> list[Learner]:
    return [learner for learner in make_learners(QUICK) if learner.name in names]


def test_every_labeled_row_is_held_out_once_a_repeat(problem):
    _, _, rows = problem
    learners = named("extra_trees", "latent_mixture")
    one, two = (select(learners, rows, QUICK) for _ in range(2))
    assert one.to_json_dict() == two.to_json_dict()
    assert one.n_splits == 6
    for committee in one.candidates:
        assert committee.members[0].probabilities.shape == (2, 24, 2)
        np.testing.assert_allclose(committee.members[0].probabilities.sum(axis=2), 1.0)


def test_evidence_is_out_of_fold(problem):
    """With shuffled labels nothing can be learned: honest accuracy is that of a coin."""
    _, _, rows = problem
    rng = np.random.default_rng(0)
    shuffled = replace(rows, y=rng.permutation(rows.y))
    learners = named("extra_trees", "extra_trees_synthetic")
    chosen = select(learners, shuffled, QUICK)
    for committee in chosen.candidates:
        assert committee.hits.mean() < 0.5 + 3 * 0.5 / np.sqrt(24)


def test_two_labels_a_class_are_enough(problem):
    _, _, rows = problem
    few = rows.subset(np.concatenate([np.flatnonzero(rows.y == c)[:2] for c in (0, 1)]))
    chosen = select(make_learners(QUICK), few, QUICK)
    assert chosen.n_splits == 4
    assert np.isfinite(chosen.selected.losses).all()
