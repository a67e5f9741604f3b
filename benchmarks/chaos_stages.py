"""The pipeline of ``benchmarks.chaos``: small stages with checkpoints.

``pretrain`` resumes from its checkpoint. Each step hashes the previous one, so that a step that is
lost or repeated changes the output.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from semigen.artifacts import Layout, atomic_path, read_json, remove, write_json, write_text
from semigen.params.config import Params
from tasks.forked import run
from tasks.process_lifetime import exit_with_owner, leave
from tasks.stage_lock import only_one

DVC_YAML = """\
stages:
  sample:
    cmd: python -m benchmarks.chaos_stages sample
    params: [seed]
    outs: [data/labeled.csv]
  pretrain:
    cmd: python -m benchmarks.chaos_stages pretrain
    deps: [data/labeled.csv]
    outs: [models/generator]
    meta: {worker: gpu}
  report:
    cmd: python -m benchmarks.chaos_stages report
    deps: [models/generator]
    metrics: [reports/metrics.json: {cache: false}]
    outs: [reports/model_card.md: {persist: true}]
"""
OUTPUTS = (
    *("data/labeled.csv", "models/generator", "reports/metrics.json", "reports/model_card.md"),
    "dvc.lock",
)
N_STEPS = 10
STEP_SECONDS = 0.1
SLOW = Path("slow")
"""File that makes each step take a second."""
ESTIMATE = {"value": 0.9, "low": 0.8, "high": 1.0}
LAYOUT = Layout()
GENERATOR = Path("models/generator")


def sample() -> None:
    seed = Params.load(LAYOUT.params).seed
    write_text(Path("data/labeled.csv"), "".join(f"{seed * i}\n" for i in range(10_000)))


def pretrain() -> None:
    """Compute hashes for a second; write the last hash and all hashes."""
    folder = LAYOUT.checkpoint("pretrain")
    digest = hashlib.sha256(Path("data/labeled.csv").read_bytes()).hexdigest()
    hashes = [digest]
    if folder.exists():
        found = read_json(folder / "hashes.json")
        if found[0] == digest:  # otherwise of other inputs
            hashes = found
            print(f"resumes at step {len(hashes) - 1}")
    while len(hashes) <= N_STEPS:
        time.sleep(1 if SLOW.exists() else STEP_SECONDS)
        hashes.append(hashlib.sha256(hashes[-1].encode()).hexdigest())
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            write_json(temporary / "hashes.json", hashes)
    with atomic_path(GENERATOR) as temporary:
        temporary.mkdir()
        (temporary / "last").write_text(hashes[-1])
        write_json(temporary / "all.json", hashes)
    remove(folder)


def report() -> None:
    metrics = {"accuracy": ESTIMATE}
    gain = {"accuracy": {**ESTIMATE, "p_value": 0.01}}
    figures = {"test": metrics, "labels_only": metrics, "gain": gain}
    counts = {"n_labeled": 50, "n_unlabeled": 1000, "n_test": 360}
    selected = (GENERATOR / "last").read_text()
    write_json(LAYOUT.metrics, {**counts, **figures, "selected": selected})
    write_text(LAYOUT.model_card, f"# Model {selected}\n")
    write_text(LAYOUT.report, "<p>report</p>")


STAGES = {"sample": sample, "pretrain": pretrain, "report": report}


def main(argv: Sequence[str]) -> int:
    exit_with_owner()
    with only_one(argv[0], LAYOUT.lock(argv[0])):
        STAGES[argv[0]]()
    return 0


if __name__ == "__main__":
    leave(run("benchmarks.chaos_stages", sys.argv[1:]))
