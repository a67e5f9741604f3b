from __future__ import annotations

import pytest

from semigen.evaluation.estimates import Estimate, Gain, to_json


@pytest.mark.parametrize(
    ("estimate", "spec", "text"),
    [
        (Estimate(0.95, 0.9251, 0.972), "", "0.950 [0.925, 0.972]"),
        (Estimate(0.95, 0.9251, 0.972), ".2f", "0.95 [0.93, 0.97]"),
        (Estimate(0.05, -0.01, 0.1), "+.3f", "+0.050 [-0.010, +0.100]"),
        (Estimate(0.93125, 0.9, 0.96), ".1%", "93.1% [90.0, 96.0]"),
        (Estimate(-0.0123, -0.03, -1e-9), "+z.1p", "-1.2 points [-3.0, +0.0]"),
        (Gain(0.072, 0.044, 0.1, p_value=0.01), "+.1p", "+7.2 points [+4.4, +10.0]"),
    ],
)
def test_format_specification_applies_to_value_and_limits(estimate, spec, text):
    assert format(estimate, spec) == text


def test_invalid_format_specification_is_rejected():
    with pytest.raises(ValueError, match="format"):
        format(Estimate(0.5, 0.4, 0.6), "wide")


@pytest.mark.parametrize("figure", [Estimate(0.5, 0.4, 0.6), Gain(0.1, -0.1, 0.3, 0.2)])
def test_estimates_survive_json(figure):
    assert type(figure).from_json(to_json(figure)) == figure


def test_json_numbers_are_rounded_without_negative_zero():
    assert to_json({"a": Estimate(1 / 3, -1e-9, 1.0), "b": 2}) == {
        "a": {"value": 0.333333, "low": 0.0, "high": 1.0},
        "b": 2,
    }
    assert str(to_json(Estimate(0.0, -1e-9, 0.0))["low"]) == "0.0"
