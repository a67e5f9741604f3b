from __future__ import annotations

import numpy as np
import pytest

from semigen.params.config import EvaluateParams, PromoteParams
from semigen.registry.gates import Gate
from semigen.registry.promotion import Comparison, NotCompared, compare, decide

EVALUATE = EvaluateParams(n_bootstrap=500)
PASSED, FAILED = Gate("drift", True, "none"), Gate("drift", False, "much drift")


def compared(champion_correct: list[bool], challenger_correct: list[bool], confidence: float = 0.9):
    """Compare two classifiers that are correct in the given rows, with constant confidence."""
    y = np.arange(len(champion_correct)) % 2
    champion, challenger = (
        np.where(
            (np.arange(2) == y[:, None]) == np.array(correct)[:, None], confidence, 1 - confidence
        )
        for correct in map(np.array, (champion_correct, challenger_correct))
    )
    return compare(y, challenger, champion, EVALUATE, against="v0001", seed=1)


def correct_rows(n_rows: int, n_wrong: int) -> list[bool]:
    return [i >= n_wrong for i in range(n_rows)]


def test_copy_of_the_champion_is_promoted_without_tolerance():
    comparison = compared(correct_rows(100, 10), correct_rows(100, 10))
    for metric, gain in comparison.difference.items():
        assert (gain.value, gain.low, gain.high) == (0, 0, 0), metric
        assert comparison.worst_loss(metric) == 0
    assert decide(comparison, [PASSED], PromoteParams(tolerance=0)).outcome == "promoted"


def test_worse_challenger_is_kept_and_better_one_promoted():
    worse, better = (
        compared(correct_rows(200, 10), correct_rows(200, 40)),
        compared(correct_rows(200, 40), correct_rows(200, 5)),
    )
    decision = decide(worse, [PASSED], PromoteParams())
    assert decision.outcome == "kept"
    assert "accuracy differs from v0001's by -0.150" in decision.reason
    assert decide(better, [PASSED], PromoteParams()).outcome == "promoted"
    assert decision.comparison is worse and decision.gates == (PASSED,)


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1", "log_loss"])
def test_direction_of_each_metric(metric):
    good, poor = correct_rows(200, 5), correct_rows(200, 60)
    params = PromoteParams(metric=metric, tolerance=0.02)
    assert decide(compared(poor, good), [], params).outcome == "promoted"
    assert decide(compared(good, poor), [], params).outcome == "kept"
    assert compared(poor, good).worst_loss(metric) < 0 < compared(good, poor).worst_loss(metric)


def test_lower_score_is_judged_by_the_end_of_the_interval():
    """The classifiers differ in 41 of 400 rows, 21 against 20: far from significant."""
    champion = [i >= 20 for i in range(400)]
    challenger = [not 20 <= i < 41 for i in range(400)]
    comparison = compared(champion, challenger)
    assert comparison.loss("accuracy") == pytest.approx(1 / 400)
    loss = comparison.worst_loss("accuracy")
    assert loss == pytest.approx(1 / 400 + 1.96 * np.sqrt(41 / 400**2), abs=0.005)
    assert decide(comparison, [], PromoteParams(tolerance=loss)).outcome == "promoted"
    assert decide(comparison, [], PromoteParams(tolerance=loss - 1e-6)).outcome == "kept"


def test_score_that_is_not_lower_is_promoted_with_few_rows():
    champion = [i >= 20 for i in range(400)]
    challenger = [not 20 <= i < 40 for i in range(400)]
    comparison = compared(champion, challenger)
    assert comparison.loss("accuracy") == 0 < comparison.worst_loss("accuracy")
    assert decide(comparison, [], PromoteParams(tolerance=0)).outcome == "promoted"


def test_uneven_classes_are_compared_by_balanced_accuracy():
    """The challenger never predicts the rare class: four rows of 404, which accuracy ignores."""
    y = (np.arange(404) < 4).astype(int)
    champion = np.eye(2)[np.where(np.arange(404) >= 398, 1, y)]
    comparison = compare(y, np.eye(2)[np.zeros(404, int)], champion, EVALUATE, against="v0001")
    assert comparison.difference["accuracy"].value > 0
    decision = decide(comparison, [PASSED], PromoteParams())
    assert decision.outcome == "kept"
    assert decision.reason.startswith("balanced accuracy differs")
    chosen = decide(comparison, [PASSED], PromoteParams(metric="accuracy"))
    assert chosen.outcome == "promoted" and chosen.reason.startswith("accuracy differs")


@pytest.mark.parametrize(("n_rare", "is_uneven"), [(20, False), (19, True)])
def test_classes_are_uneven_beyond_one_to_five(n_rare, is_uneven):
    y = (np.arange(100 + n_rare) < n_rare).astype(int)
    p = np.eye(2)[y]
    assert compare(y, p, p, EVALUATE, against="v0001").is_uneven is is_uneven


def test_lower_score_without_interval_is_kept():
    comparison = compared(correct_rows(12, 1), correct_rows(12, 2))
    decision = decide(comparison, [PASSED], PromoteParams(tolerance=0.5, min_test_rows=2))
    assert decision.outcome == "kept"
    assert decision.reason == (
        "accuracy differs from v0001's by -0.083 [\u2013] on 12 test rows, too few to bound the "
        "difference"
    )


def test_first_model_is_promoted_if_the_gates_pass():
    first = NotCompared("there is no champion", keeps_challenger=False)
    assert decide(first, [PASSED], PromoteParams()).outcome == "promoted"
    decision = decide(first, [PASSED, FAILED], PromoteParams())
    assert decision.outcome == "kept" and decision.reason == "drift: much drift"


def test_challenger_without_comparison_is_kept():
    obstacle = NotCompared("column gone", keeps_challenger=True)
    decision = decide(obstacle, [FAILED], PromoteParams())
    assert decision.outcome == "kept" and decision.comparison is None
    assert decision.reason == "column gone; drift: much drift"


def test_failed_gate_overrides_a_gain():
    better = compared(correct_rows(200, 40), correct_rows(200, 5))
    assert decide(better, [FAILED], PromoteParams()).reason == "drift: much drift"


def test_force_promotes_and_states_the_objections():
    worse = compared(correct_rows(200, 10), correct_rows(200, 40))
    decision = decide(worse, [FAILED], PromoteParams(), force=True)
    assert decision.outcome == "promoted"
    assert decision.reason.startswith("forced, although accuracy differs")
    assert "drift: much drift" in decision.reason
    better = compared(correct_rows(200, 40), correct_rows(200, 5))
    assert "forced" not in decide(better, [], PromoteParams(), force=True).reason


def test_comparison_counts_left_out_rows():
    comparison = compare(
        np.array([0, 1]), np.eye(2), np.eye(2), EVALUATE, against="v0007", n_left_out=3
    )
    assert isinstance(comparison, Comparison)
    assert (comparison.n_rows, comparison.n_left_out, comparison.against) == (2, 3, "v0007")
