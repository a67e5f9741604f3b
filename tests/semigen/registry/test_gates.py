from __future__ import annotations

from semigen.evaluation.estimates import Estimate
from semigen.evaluation.fairness import Fairness
from semigen.registry.gates import drift_gate, fairness_gate, validation_gate


def test_validation_gate():
    assert validation_gate({"success": True}).passed
    assert not validation_gate({"success": False}).passed
    assert "run the validate stage" in validation_gate(None).reason


def test_drift_gate_fails_only_if_the_interval_is_above_the_limit():
    assert drift_gate(Estimate(0.95, 0.79, 0.99), 0.8).passed
    assert not drift_gate(Estimate(0.95, 0.81, 0.99), 0.8).passed


def test_fairness_gate_fails_only_if_an_interval_is_above_the_limit():
    certain, uncertain = (
        Fairness("sex", (), Estimate(0.3, low, 0.5), ("f", "m")) for low in (0.11, 0.09)
    )
    lonely = Fairness("ward", (), None, None)
    assert fairness_gate([uncertain, lonely], 0.1).passed
    gate = fairness_gate([lonely, uncertain, certain], 0.1)
    assert not gate.passed
    assert "0.300 [0.110, 0.500] between 'sex' values f and m" in gate.reason
    assert "ward" not in gate.reason
    assert "not checked" in fairness_gate([], 0.1).reason
