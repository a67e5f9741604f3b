"""The model of time and memory against measured runs, and what it says makes a stage cheaper."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from semigen.costs import TableSize, estimate
from semigen.params.config import AugmentParams, Params, TrainParams

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "stage_costs.json"
MEASURED = json.loads(RESULTS.read_text(encoding="utf-8"))["runs"]
LARGE = TableSize(500, 10**6, 1000, n_columns=50, n_encoded=239, n_classes=2)


@pytest.mark.parametrize("name", MEASURED)
def test_estimates_are_near_the_measurements(name):
    run = MEASURED[name]
    for stage, measured in run["stages"].items():
        params = Params.model_validate(run["overrides"])
        cost = estimate(stage, TableSize(**run["size"]), params)
        assert 0.5 < cost.seconds / measured["seconds"] < 2, stage
        assert 0.7 < cost.gib / measured["gib"] < 1.4, stage


@pytest.mark.parametrize("stage", ["validate", "preprocess", "pretrain", "augment", "train"])
def test_more_rows_and_columns_need_more(stage):
    params = Params()
    small = TableSize(50, 2000, 300, n_columns=10, n_encoded=35, n_classes=2)
    few, many = estimate(stage, small, params), estimate(stage, LARGE, params)
    assert few.seconds < many.seconds and few.gib < many.gib


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        ("train", {"repeats": 1}),
        ("augment", {"ratio": 1.0}),
        ("train", {"max_rows_graph": 100}),
    ],
)
def test_named_parameters_make_training_cheaper(section, changes):
    size = TableSize(1000, 10_000, 300, n_columns=50, n_encoded=239, n_classes=100)
    defaults = {"train": TrainParams(), "augment": AugmentParams()}[section]
    cheaper = Params(**{section: defaults.model_copy(update=changes)})
    assert estimate("train", size, cheaper).seconds < estimate("train", size, Params()).seconds


def test_expensive_stage_names_the_parameters_that_make_it_cheaper():
    text = estimate("train", LARGE, Params()).describe()
    assert "cheaper with another train.repeats (time) or preprocess.max_categories (memory)" in text
    small = TableSize(50, 1000, 300, n_columns=5, n_encoded=5, n_classes=2)
    assert "cheaper" not in estimate("evaluate", small, Params()).describe()


def test_stage_without_measurements_has_no_estimate():
    assert estimate("sample", LARGE, Params()) is None
