from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from semigen.classifiers.calibration import SMOOTHING, align, calibrate, fit_temperature
from semigen.classifiers.callbacks import FitCallbacks
from semigen.classifiers.cross_validation import Candidate, Evidence, cross_validate
from semigen.classifiers.learner_table import make_learners
from semigen.classifiers.learners import Learner
from semigen.classifiers.selection import Committee, Selection, select
from semigen.errors import UserError
from semigen.params.config import TrainParams

QUICK = TrainParams(epochs=3, folds=3, repeats=2)
TRUTH = np.array([0, 1] * 20)
SYNTHETIC = ("unlabeled", "synthetic")


def candidate(name: str, probability: np.ndarray | float, uses: tuple[str, ...] = ()) -> Candidate:
    """Return a candidate that gives the true class of each of 40 rows this probability."""
    p = np.broadcast_to(probability, (1, 40))
    columns = np.where(TRUTH == 0, p, 1 - p)
    probabilities = np.stack([columns, 1 - columns], axis=2)
    learner = Learner(name, uses, "encoded", make=make_learners(TrainParams())[0].make)
    return Candidate(learner, 1.0, probabilities)


def select_from(*candidates: Candidate, min_gain_probability: float = 0.95) -> Selection:
    params = TrainParams(min_gain_probability=min_gain_probability)
    return select(Evidence(candidates, TRUTH, 5), params)


def test_clear_gain_selects_all_learners():
    better = candidate("semi", 0.97, ("unlabeled",))
    chosen = select_from(candidate("plain", 0.55), better)
    assert chosen.gain_probability == 1.0 and not chosen.is_fallback
    assert chosen.selected.members[0] is better and chosen.selected.weights[0] > 0.85
    assert chosen.labels_only.name == "plain"


def test_falls_back_to_labels_only_if_unlabeled_rows_hurt():
    chosen = select_from(candidate("plain", 0.9), candidate("semi", 0.6, ("unlabeled",)))
    assert chosen.is_fallback and "fallback" in chosen.reason
    assert chosen.selected.name == chosen.labels_only.name == "plain"
    assert chosen.gain_probability < 0.5


def test_uncertain_gain_blends_in_the_labels_only_committee():
    rng = np.random.default_rng(0)
    noisy = candidate("semi", rng.uniform(0.35, 0.95, 40), ("unlabeled",))
    plain = candidate("plain", 0.6)
    chosen = select_from(plain, noisy, min_gain_probability=0.5)
    assert 0.5 < chosen.gain_probability < 0.999
    everything = chosen.ablation["all"]
    weight = chosen.gain_probability
    expected = weight * weight_of(everything, "plain") + (1 - weight)
    assert weight_of(chosen.selected, "plain") == pytest.approx(expected)


def test_falls_back_to_labels_only_below_the_minimum_probability():
    rng = np.random.default_rng(0)
    noisy = candidate("semi", rng.uniform(0.35, 0.95, 40), ("unlabeled",))
    plain = candidate("plain", 0.6)
    p = select_from(plain, noisy).gain_probability
    cautious, just = (select_from(plain, noisy, min_gain_probability=x) for x in (p + 1e-6, p))
    assert cautious.is_fallback and cautious.selected is cautious.labels_only
    assert cautious.reason.startswith("fallback to labels alone")
    assert f"probability {p:.3f}, where train.min_gain_probability is" in cautious.reason
    assert not just.is_fallback and weight_of(just.selected, "semi") > 0
    assert "fallback" not in just.reason


def weight_of(committee: Committee, name: str) -> float:
    return dict(zip([m.learner.name for m in committee.members], committee.weights, strict=True))[
        name
    ]


def test_ablation_groups_learners_by_the_rows_they_use():
    chosen = select_from(
        candidate("plain", 0.6),
        candidate("semi", 0.7, ("unlabeled",)),
        candidate("made", 0.7, SYNTHETIC),
    )
    members = {
        name: {m.learner.name for m in committee.members}
        for name, committee in chosen.ablation.items()
    }
    assert members == {
        "unlabeled": {"plain", "semi"},
        "synthetic": {"plain", "made"},
        "all": {"plain", "semi", "made"},
    }
    assert {m.learner.name for m in chosen.labels_only.members} == {"plain"}


def test_without_unlabeled_learners_there_is_no_ablation():
    chosen = select_from(candidate("one", 0.6), candidate("two", 0.7))
    assert chosen.is_fallback and chosen.ablation == {}
    assert chosen.reason == "labels alone, because there are no unlabeled rows"


def test_reason_names_the_time_budget_if_it_left_out_the_learners_of_unlabeled_rows():
    left_out = ("label_spreading", "mlp_synthetic")
    evidence = Evidence((candidate("plain", 0.6),), TRUTH, 5, left_out)
    reason = select(evidence, TrainParams(time_budget_s=2)).reason
    assert reason == (
        "labels alone, because train.time_budget_s (2 s of CPU time) ended before any of the 2 "
        "learners of unlabeled rows was evaluated; not reproducible on another machine"
    )


def test_reason_says_that_left_out_learners_depend_on_the_machine():
    candidates = (candidate("plain", 0.6), candidate("semi", 0.9, ("unlabeled",)))
    whole = select(Evidence(candidates, TRUTH, 5), TrainParams()).reason
    assert "reproducible" not in whole
    cut = select(Evidence(candidates, TRUTH, 5, ("mlp_synthetic", "generator")), TrainParams())
    assert cut.reason == (
        f"{whole}; not reproducible on another machine, because train.time_budget_s "
        "(600 s of CPU time) left out mlp_synthetic, generator"
    )


def test_committee_of_one_has_the_name_of_its_member():
    one = candidate("one", 0.7)
    committee = Committee.weighted([one], [1.0], TRUTH, "many")
    assert committee.name == "one"
    np.testing.assert_allclose(committee.losses, -np.log(0.7))
    assert (committee.hits == 1).all()


def test_committee_averages_by_weight_and_drops_zero_weights():
    one, two, zero = candidate("one", 0.9), candidate("two", 0.5), candidate("zero", 0.1)
    committee = Committee.weighted([two, one, zero], [0.25, 0.75, 0.0], TRUTH, "many")
    assert [m.learner.name for m in committee.members] == ["one", "two"]
    np.testing.assert_allclose(committee.losses, -np.log(0.75 * 0.9 + 0.25 * 0.5))


def test_json_contains_every_weight():
    chosen = select_from(candidate("plain", 0.6), candidate("semi", 0.9, ("unlabeled",)))
    content = chosen.to_json_dict()
    assert set(content["committees"]) == {"selected", "labels_only", "unlabeled", "all"}
    weights = content["committees"]["selected"]["weights"]
    assert sum(weights.values()) == pytest.approx(1.0, abs=1e-5)
    assert list(weights) == ["semi", "plain"]


def test_temperature_one_only_smooths_and_higher_ones_flatten():
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


def test_align_gives_unseen_classes_probability_zero():
    aligned = align(np.array([[0.3, 0.7]]), np.array([0, 2]), np.arange(4))
    np.testing.assert_array_equal(aligned, [[0.3, 0.0, 0.7, 0.0]])


def named(*names: str) -> list[Learner]:
    return [learner for learner in make_learners(QUICK) if learner.name in names]


def test_every_labeled_row_is_held_out_once_per_repeat(problem):
    learners = named("extra_trees", "latent_mixture", "label_spreading")
    one, two = (select(cross_validate(learners, problem, QUICK), QUICK) for _ in range(2))
    assert one.to_json_dict() == two.to_json_dict()
    assert one.n_splits == 6
    for committee in one.candidates:
        assert committee.members[0].probabilities.shape == (2, 24, 2)
        np.testing.assert_allclose(committee.members[0].probabilities.sum(axis=2), 1.0)


def test_accuracy_with_shuffled_labels_is_chance_level(problem):
    """The predictions are out of fold, so shuffled labels cannot be predicted."""
    rng = np.random.default_rng(0)
    shuffled = replace(problem, y=rng.permutation(problem.y))
    learners = named("extra_trees", "extra_trees_synthetic", "label_diffusion", "naive_bayes_em")
    chosen = select(cross_validate(learners, shuffled, QUICK), QUICK)
    for committee in chosen.candidates:
        assert committee.hits.mean() < 0.5 + 3 * 0.5 / np.sqrt(24)


def test_two_labels_per_class_are_enough(problem):
    few = problem.subset(np.concatenate([np.flatnonzero(problem.y == c)[:2] for c in (0, 1)]))
    found = cross_validate(make_learners(QUICK), replace(few, fold=None), QUICK)
    assert found.n_splits == 4
    assert np.isfinite(select(found, QUICK).selected.losses).all()


def test_only_row_of_a_class_is_never_held_out(problem):
    kept = np.concatenate([np.flatnonzero(problem.y == 0)[:4], np.flatnonzero(problem.y == 1)[:1]])
    few = replace(problem.subset(kept), fold=None)
    found = cross_validate(named("extra_trees", "label_spreading"), few, QUICK)
    np.testing.assert_array_equal(found.truth, [0, 0, 0, 0])
    assert found.candidates[0].probabilities.shape == (2, 4, 2)
    singles = replace(problem.subset(kept[3:]), fold=None)
    with pytest.raises(UserError, match="only one labeled row"):
        cross_validate(named("extra_trees"), singles, QUICK)


def test_waiting_for_a_busy_machine_leaves_out_no_learner(problem):
    class Waiting(FitCallbacks):
        def on_learner_start(self, name):
            if name == "naive_bayes":
                time.sleep(0.6)

    learners = named("naive_bayes", "label_spreading")
    params = QUICK.model_copy(update={"time_budget_s": 0.5})
    assert cross_validate(learners, problem, params, Waiting()).left_out == ()


def test_time_budget_leaves_out_all_but_labels_only_learners(problem):
    learners = named("extra_trees", "naive_bayes", "label_spreading")
    params = QUICK.model_copy(update={"time_budget_s": 1e-9})
    found = cross_validate(learners, problem, params)
    assert found.left_out == ("label_spreading",)
    assert [c.learner.name for c in found.candidates] == ["naive_bayes", "extra_trees"]
