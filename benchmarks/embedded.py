"""The gain from unlabeled rows on the embedded data sets.

``python -m benchmarks.embedded --draws 3`` runs the stages of the pipeline with their defaults on
each data set and draw, and prints a Markdown table.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from semigen.artifacts import Layout, read_json
from semigen.params.config import Params
from tasks import STAGES

N_LABELED = {"digits": 50, "breast_cancer": 20, "wine": 15}
"""Number of labels of each data set."""


def measure(dataset: str, n_labeled: int, seed: int) -> dict[str, Any]:
    """Run the stages in a temporary folder and return ``metrics.json``."""
    sample = {"dataset": dataset, "n_labeled": n_labeled}
    params = Params.model_validate({"seed": seed, "sample": sample})
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        layout = Layout(Path(folder))
        for stage in STAGES[: STAGES.index("evaluate") + 1]:
            importlib.import_module(f"tasks.{stage}").run(params, layout)
        metrics: dict[str, Any] = read_json(layout.metrics)
    return metrics


def row(dataset: str, n_labeled: int, draws: Sequence[dict[str, Any]]) -> str:
    """Return a row of the table: means over draws with their standard errors."""
    cells = [dataset, str(n_labeled), str(draws[0]["n_unlabeled"]), str(draws[0]["n_test"])]
    for part, sign in (("labels_only", ""), ("test", ""), ("gain", "+")):
        values = 100 * np.array([draw[part]["accuracy"]["value"] for draw in draws])
        error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
        cells.append(f"{values.mean():{sign}.1f} ± {error:.1f}")
    n_fallbacks = sum(draw["gain"]["log_loss"]["value"] == 0 for draw in draws)
    return f"| {' | '.join([*cells, f'{n_fallbacks} of {len(draws)}'])} |"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.embedded", description=__doc__)
    parser.add_argument("--draws", type=int, default=3, help="seeds 0, 1, ... of each data set")
    arguments = parser.parse_args(argv)
    print("| data | labels | unlabeled | test | labels only | semigen | gain | fallbacks |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for dataset, n_labeled in N_LABELED.items():
        draws = [measure(dataset, n_labeled, seed) for seed in range(arguments.draws)]
        print(row(dataset, n_labeled, draws), flush=True)


if __name__ == "__main__":
    main()
