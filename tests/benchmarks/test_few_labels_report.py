from __future__ import annotations

import json

from benchmarks.few_labels_report import accuracy_table, mean_ranks, safety, write_report


def record(name: str, draw: int, ours: float, peers: dict[str, float], worse: int = 0) -> dict:
    figures = {"accuracy": ours, "balanced_accuracy": ours, "log_loss": 0.5}
    return {
        "name": name, "budget": 20, "draw": draw, "seconds": 10.0, "cpu_seconds": 5.0,
        "peak_gib": 1.0, "is_fallback": draw == 1, "semigen": figures, "labels_only": figures,
        "differences": {"only_semigen": 5, "only_labels": 5 + worse},
        "peers": {peer: {"accuracy": accuracy} for peer, accuracy in peers.items()},
    }  # fmt: skip


RECORDS = [
    record("a", 0, 0.9, {"LR": 0.7, "RF": 0.8}),
    record("a", 1, 0.8, {"LR": 0.9, "RF": 0.6}),
    record("b", 0, 0.5, {"LR": 0.6, "RF": 0.4}),
]


def test_best_peer_has_highest_mean():
    lines = accuracy_table(RECORDS).splitlines()
    assert lines[2].startswith("| a | 2 | LR | 80.0 | 85.0 | 85.0 | +5.00 |")
    assert lines[3].startswith("| b | 1 | LR | 60.0 | 50.0 | 50.0 | -10.00 |")
    assert [lines[n].split("|")[9].strip() for n in (0, 2, 3)] == ["fallback", "50.0", "0.0"]
    assert "| mean |" in lines[4] and "| -2.50 |" in lines[4]
    assert "| worst |" in lines[5] and "| -10.00 |" in lines[5]


def test_ranks_use_means_over_draws():
    assert mean_ranks(RECORDS) == {"semigen": 1.5, "LR": 1.5, "RF": 3.0}


def test_counts_significantly_worse_cells():
    assert "labels-only committee in 0 " in safety(RECORDS)
    text = safety([*RECORDS, record("c", 0, 0.5, {"LR": 0.5}, 60)])
    assert "labels-only committee in 1 " in text and "c, 20 labels, draw 0, +0.0)" in text
    assert "fell back to labels alone in 1 (33%)." in safety(RECORDS)


def test_writes_report_beside_records(tmp_path):
    path = tmp_path / "few.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in RECORDS))
    text = write_report(path)
    assert (tmp_path / "few.md").read_text() == text
    assert "## 20 labels" in text and "## Safety" in text
