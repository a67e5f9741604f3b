"""Arithmetic of the benchmark: operations of a step, goals, order of the fits, resuming."""

import json

import pytest
import torch
from torch import nn

from benchmarks.own_fit import counted_steps, flops_per_step, matmul_ceiling
from benchmarks.synthesis import TARGET, Bench, Evaluator, main, parse
from benchmarks.synthesis_report import bars, markdown
from semigen.generators import FAMILIES
from tests.semigen import example_tables

FAMILY = next(iter(FAMILIES))


def record(model, seed, *, fit_seconds=10.0, macro_f1=0.8, attack=0.5):
    estimate = {"value": attack, "low": attack - 0.1, "high": attack + 0.1}
    return {
        "model": model, "seed": seed,
        "settings": {"threads": 1, "share": 1.0, "peer_epochs": 300},
        "facts": {"fit_seconds": fit_seconds, "rows_per_second": 250_000.0},
        "utility": {"synthetic": {m: {"value": macro_f1} for m in ("macro_f1", "roc_auc")}},
        "privacy": {"attacks": {"weak": {**estimate, "value": 0.1}, "strong": estimate}},
    }  # fmt: skip


def fit_linear(n_steps, dtype=torch.float32):
    layer = nn.Linear(30, 20, bias=False).to(dtype)
    optimizer = torch.optim.Adam(layer.parameters())
    for _ in range(n_steps):
        optimizer.zero_grad()
        layer(torch.ones(8, 30, dtype=dtype)).sum().backward()
        optimizer.step()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_counts_operations_of_linear_layer(dtype):
    """One product in the forward pass and one for the gradient of the weights."""
    flops, found = flops_per_step(lambda: fit_linear(9, dtype))
    assert flops == 2 * (2 * 8 * 30 * 20)
    assert found == dtype


def test_counts_steps_inside_the_block_only():
    with counted_steps() as steps:
        fit_linear(7)
    fit_linear(2)
    assert len(steps) == 7


def test_ceiling_is_plausible():
    assert matmul_ceiling(torch.float32) > 1e9


def test_goals_use_medians_means_and_worst_fit():
    records = [
        record("ours", 0, fit_seconds=10, macro_f1=0.78, attack=0.51),
        record("ours", 1, fit_seconds=11, macro_f1=0.80, attack=0.56),
        record("ours", 2, fit_seconds=99, macro_f1=0.82, attack=0.50),
        record("CTGAN", 0, fit_seconds=121),
    ]
    found = {bar.title: bar for bar in bars(records, ["ours"], 21.0)}
    measured = {title: (round(bar.measured, 6), bar.verdict) for title, bar in found.items()}
    assert measured["neighbors, 30,000 x 30,000, seconds"] == (21, "not met")
    assert measured["ours: TSTR macro-F1, %"] == (80, "met")
    assert measured["ours: TSTR ROC AUC, %"] == (80, "not met")
    assert measured["ours: membership AUC, worst fit"] == (0.56, "not met")
    assert measured["ours: fit, seconds"] == (11, "met")
    assert measured["ours: times faster than CTGAN"] == (11, "not met")
    assert found["ours: times faster than TVAE"].verdict == "not measured"
    assert found["ours: sampling, rows/s"].line().endswith("| ≥ 200,000 | 250,000 | met |")


def test_table_has_a_column_for_each_fitted_model():
    records = [record("ours", 0, fit_seconds=10), record("ours", 1, fit_seconds=14)]
    about = {"date": "d", "cpu": "c", "cores": 2, "threads": 1, "command": "x", "versions": {}}
    text = markdown(about, ["ours", "CTGAN"], records, [])
    assert "| figure | ours (2) |" in text
    assert "| fit, seconds | 12.0 (10.0 to 14.0) |" in text
    assert "| sampling, rows/s, encoded | 250,000 |" in text
    assert "| recall |  |" in text


def test_seeds_are_interleaved():
    arguments = parse(["--families", FAMILY, "--seeds", "2", "--peer-seeds", "1"])
    assert Bench(arguments).plan() == [
        ("real rows", 0), (FAMILY, 0), ("CTGAN", 0), ("TVAE", 0), ("real rows", 1), (FAMILY, 1),
    ]  # fmt: skip


def test_resumes_fits_with_the_same_settings(tmp_path):
    kept = [record(FAMILY, 0), {**record(FAMILY, 1), "settings": {"threads": 9}}]
    (tmp_path / "synthesis.jsonl").write_text("".join(f"{json.dumps(r)}\n" for r in kept))
    given = ["--families", FAMILY, "--threads", "1", "--out", str(tmp_path)]
    assert Bench(parse([*given, "--resume"])).records == kept[:1]
    assert Bench(parse(given)).records == []


def test_reports_missing_data_and_unknown_family_in_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit, match=r"adult.parquet: no such file"):
        main(["--families", FAMILY, "--data", str(tmp_path / "adult.parquet")])
    with pytest.raises(SystemExit):
        parse(["--families", "oracle"])
    assert "no family 'oracle'; there are" in capsys.readouterr().err


def test_real_rows_look_like_real_rows():
    table = example_tables.mixed_table(900, seed=0).rename(columns={example_tables.TARGET: TARGET})
    evaluator = Evaluator.of(table[:600], table[600:].reset_index(drop=True))
    found = evaluator.real_figures(seed=0)
    assert found["utility"]["synthetic"] == found["utility"]["real"]
    for attack in found["privacy"]["attacks"].values():
        assert attack["low"] <= 0.5 <= attack["high"]
    leaked = evaluator.figures(table[:600], held_out=range(300, 600), seed=0)
    # One or two of the held-out rows equal a training row.
    assert 0.5 <= leaked["privacy"]["closest_record"]["copies_share"] < 0.51
    assert leaked["fidelity"]["mean_distance"] == 0
