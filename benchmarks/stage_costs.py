"""Measure CPU time and peak memory of every stage, and fit the model of ``semigen.costs``.

``python -m benchmarks.stage_costs measure`` runs the stages on tables of several shapes, each stage
in its own process (some minutes of CPU time). Measured runs are skipped, so an interruption loses
nothing; ``--only NAME`` measures a table again. ``python -m benchmarks.stage_costs fit`` fits the
model to ``benchmarks/results/stage_costs.json``, writes ``semigen/stage_costs.json`` and prints the
ratio of estimate and measurement.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from benchmarks.machine import cpu_model
from semigen.artifacts import Layout, read_json, write_json
from semigen.costs import COEFFICIENTS, TableSize, memory_terms, seconds_terms
from semigen.generators import FAMILIES
from semigen.params.config import ComputeParams, Params
from semigen.tables.encoding import Encoded, Span
from tasks.costs import table_size

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "stage_costs.json"
STAGES = ("validate", "preprocess", "pretrain", "augment", "train", "evaluate", "report")
FEW_FITS = {"train": {"folds": 2, "repeats": 1}}
FAMILY_SIZE = TableSize(50, 2000, 0, 35, 35, 2)
GIB = 2**30
NO_RUNS: dict[str, Any] = {"cpu": cpu_model(), "runs": {}}
EARLIER: dict[str, Any] = {
    "a million rows": {
        "size": asdict(TableSize(500, 1_000_000, 1000, 50, 239, 2)),
        "stages": {
            "validate": {"gib": 2.4},
            "preprocess": {"seconds": 61, "gib": 6.4},
            "pretrain": {"gib": 3.1},
            "train": {"seconds": 188, "gib": 3.5},
        },
    },
    "ten thousand rows": {
        "size": asdict(TableSize(500, 10_000, 1000, 50, 239, 2)),
        "stages": {"train": {"seconds": 127}},
    },
    "MNIST, 100 labels": {
        "size": asdict(TableSize(100, 59_900, 10_000, 784, 784, 10)),
        "stages": {"train": {"seconds": 127}},
    },
    "MNIST, 1,000 labels": {
        "size": asdict(TableSize(1000, 59_000, 10_000, 784, 784, 10)),
        "stages": {"train": {"seconds": 384}},
    },
}
"""Runs of the whole pipeline that were measured on the same machine on 2026-11-27."""


@dataclass(frozen=True)
class Table:
    """Shape of a table, half of whose columns are numeric and half categorical.

    Attributes:
        unlabeled: Unlabeled rows.
        columns: Feature columns.
        classes: Classes.
        labeled: Labeled rows.
        test: Test rows.
        overrides: Parameters that differ from the defaults.
        stages: Stages that are measured.
    """

    unlabeled: int
    columns: int
    classes: int
    labeled: int
    test: int = 500
    overrides: dict[str, Any] = field(default_factory=lambda: FEW_FITS)
    stages: tuple[str, ...] = STAGES

    def write(self, folder: Path) -> None:
        """Write the tables and ``params.yaml`` (as JSON) into a folder."""
        rng = np.random.default_rng(0)
        sizes = {"labeled": self.labeled, "unlabeled": self.unlabeled, "test": self.test}
        centers = rng.normal(0, 0.7, (self.classes, self.columns))
        for part, n in sizes.items():
            y = np.arange(n) % self.classes
            x = centers[y] + rng.normal(size=(n, self.columns))
            names = {f"x{i}": self._column(x[:, i], i) for i in range(self.columns)}
            table = pd.DataFrame(names)
            if part != "unlabeled":
                table["label"] = [f"class {c}" for c in y]
            table.to_csv(folder / f"{part}.csv", index=False)
        data = {part: f"{part}.csv" for part in sizes} | {"target": "label"}
        write_json(folder / "params.yaml", {"data": data, **self.overrides})

    @staticmethod
    def _column(x: np.ndarray, number: int) -> np.ndarray:
        if number % 2:
            return np.array(["a", "b", "c", "d", "e", "f"])[
                np.digitize(x, [-1.5, -0.7, 0, 0.7, 1.5])
            ]
        return x.round(3)


TABLES = {
    "small": Table(2000, 10, 2, 50, overrides={}),
    "columns": Table(1000, 150, 2, 50),
    "labels": Table(1000, 20, 4, 400),
    "classes": Table(2000, 10, 40, 200),
    "rows": Table(60_000, 20, 2, 50, 500, {}, STAGES[:2]),
}


def measure(name: str) -> dict[str, Any]:
    """Return size, CPU seconds and peak memory of every stage on a table."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    with tempfile.TemporaryDirectory() as text:
        folder, stages = Path(text), {}
        TABLES[name].write(folder)
        for stage in TABLES[name].stages:
            command = [sys.executable, "-m", "tasks", stage]
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=subprocess.DEVNULL
            )
            _, status, usage = os.wait4(process.pid, 0)
            if status:
                raise SystemExit(f"{name}: {stage} failed")
            stages[stage] = {
                "seconds": round(usage.ru_utime + usage.ru_stime, 2),
                "gib": round(usage.ru_maxrss * 1024 / GIB, 3),
            }
            print(name, stage, stages[stage], flush=True)
        size = table_size(Params.load(folder / "params.yaml"), Layout(folder), "report")
        assert size is not None
    return {"size": asdict(size), "stages": stages, "overrides": TABLES[name].overrides}


def measure_families() -> dict[str, float]:
    """Return the CPU seconds of 150 steps of every family on numeric columns."""
    rng, size = np.random.default_rng(0), FAMILY_SIZE
    rows = Encoded(
        rng.normal(size=(size.n_rows, size.n_encoded)).astype(np.float32),
        np.where(np.arange(size.n_rows) < size.n_labeled, np.arange(size.n_rows) % 2, -1),
    )
    spans = [Span(f"x{i}", i, i + 1, "numeric") for i in range(size.n_encoded)]
    found = {}
    for name in FAMILIES:
        chosen = _family(name).pretrain.chosen
        model = FAMILIES[name](spans, chosen, ComputeParams(device="cpu"), 0)
        started = time.process_time()
        model.fit(rows)
        found[name] = round(time.process_time() - started, 2)
        print(name, found[name], flush=True)
    return found


def _family(name: str) -> Params:
    steps = {"max_steps": 150, "batch_size": 64}
    if name in ("diffusion", "autoregressive"):
        steps["class_steps"] = 150
    return Params.model_validate({"pretrain": {"generator": name, name: steps}})


def measure_all(only: str | None) -> None:
    content: dict[str, Any] = read_json(RESULTS) if RESULTS.exists() else NO_RUNS
    for name in TABLES if only is None else [only]:
        if only is not None or name not in content["runs"]:
            content["runs"][name] = measure(name)
            write_json(RESULTS, content)
    content["families"] = measure_families()
    write_json(RESULTS, content)


def fit() -> None:
    """Fit non-negative coefficients to relative errors, and print the estimates."""
    results = read_json(RESULTS)
    runs = results["runs"] | {n: {"overrides": {}, **r} for n, r in EARLIER.items()}
    coefficients: dict[str, dict[str, dict[str, float]]] = {"seconds": {}, "gib": {}}
    steps = _seconds_of_steps(results)
    for stage in STAGES:
        for quantity, terms in (("seconds", seconds_terms), ("gib", memory_terms)):
            rows, measured = [], []
            measured_runs = {
                name: run for name, run in runs.items() if quantity in run["stages"].get(stage, {})
            }
            for run in measured_runs.values():
                params = Params.model_validate(run["overrides"])
                rows.append(terms(stage, TableSize(**run["size"]), params))
                measured.append(run["stages"][stage][quantity])
            known = steps if (stage, quantity) == ("pretrain", "seconds") else {}
            if (stage, quantity) == ("augment", "gib"):
                # It loads the same matrix; only pretraining was measured with a million rows.
                known = {"matrix": coefficients["gib"]["pretrain"]["matrix"]}
            names = list(dict.fromkeys(n for row in rows for n in row if n not in known))
            design = np.array([[row.get(n, 0.0) for n in names] for row in rows])
            values = np.array(measured)
            fixed = np.array([sum(row.get(n, 0.0) * c for n, c in known.items()) for row in rows])
            solution, _ = nnls(design / values[:, None], 1 - fixed / values)
            fitted = {n: float(f"{c:.4g}") for n, c in zip(names, solution, strict=True)} | known
            coefficients[quantity][stage] = fitted
            ratio = (design @ solution + fixed) / values
            worst = {n: round(float(r), 2) for n, r in zip(measured_runs, ratio, strict=True)}
            print(stage, quantity, fitted, worst, sep="\n    ")
    write_json(COEFFICIENTS, coefficients)


def _seconds_of_steps(results: dict[str, Any]) -> dict[str, float]:
    """Return the coefficient of the steps of every family.

    That of the default comes from the run ``small``, less the time of imports, for which the stage
    ``report`` stands; what a short training takes besides its steps is the same in all families.
    """
    small = results["runs"]["small"]
    stages, size = small["stages"], TableSize(**small["size"])
    seconds = stages["pretrain"]["seconds"] - stages["report"]["seconds"]
    default = seconds / seconds_terms("pretrain", size, Params())["vae"]
    terms = {n: seconds_terms("pretrain", FAMILY_SIZE, _family(n))[n] for n in results["families"]}
    besides = results["families"]["vae"] - default * terms["vae"]
    return {
        name: float(f"{max(default, (seconds - besides) / terms[name]):.4g}")
        for name, seconds in results["families"].items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("--only", choices=TABLES)
    commands.add_parser("fit")
    arguments = parser.parse_args()
    if arguments.command == "fit":
        fit()
    else:
        measure_all(arguments.only)


if __name__ == "__main__":
    main()
