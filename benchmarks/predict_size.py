"""Memory and time of ``semigen predict`` on long tables, beside another version of the code.

``python -m benchmarks.predict_size --code before=/path/to/another/checkout`` fits a classifier to a
table of mixed columns, predicts the rows of a long CSV file with it in a process of its own for
each version, and writes peak memory, CPU seconds and the difference of the predictions to
``benchmarks/results/predict_size.json`` and ``predict_size.md``. The code of the working directory
is called ``here``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.machine import cpu_model
from semigen import SemiSupervisedClassifier
from semigen.artifacts import write_json, write_text

RESULTS = Path("benchmarks/results")
N_LABELED, N_UNLABELED = 300, 3000
CITIES = [f"city {i}" for i in range(20)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, nargs="+", default=[6, 50])
    parser.add_argument("--code", nargs="*", default=[], metavar="NAME=FOLDER")
    arguments = parser.parse_args()
    folders = {"here": Path.cwd()} | {n: Path(f) for n, f in (c.split("=") for c in arguments.code)}

    records = []
    for n_columns in arguments.columns:
        with tempfile.TemporaryDirectory() as name:
            records += compare(Path(name), n_columns, arguments.rows, folders)
    machine = f"{cpu_model()}, {os.cpu_count()} cores"
    facts = {"date": date.today().isoformat(), "machine": machine, "runs": records}
    write_json(RESULTS / "predict_size.json", facts)
    write_text(RESULTS / "predict_size.md", markdown(facts))


def compare(
    scratch: Path, n_columns: int, n_rows: int, folders: dict[str, Path]
) -> list[dict[str, Any]]:
    """Return the figures of every version of the code for one table."""
    table = mixed_table(N_LABELED + N_UNLABELED, n_columns, seed=0)
    labels = table["label"].where(np.arange(len(table)) < N_LABELED)
    model = SemiSupervisedClassifier(time_budget_s=60).fit(table.drop(columns="label"), labels)
    model.save(scratch / "model")
    write_rows(scratch / "new.csv", n_columns, n_rows)
    records = []
    for name, folder in folders.items():
        output = scratch / f"{name}.csv"
        records.append(
            {
                "code": name,
                "rows": n_rows,
                "columns": n_columns,
                "members": [m.name for m in model.classifier_.members],
                **(figures := measure(folder, scratch, output)),
                **({} if figures["exit"] else difference(scratch / "here.csv", output)),
            }
        )
        print(records[-1], flush=True)
    return records


def mixed_table(n_rows: int, n_columns: int, seed: int) -> pd.DataFrame:
    """Return rows of two classes; half of the columns are numbers, half are categories."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n_rows)
    columns: dict[str, Any] = {}
    for i in range(n_columns):
        signal = y * rng.random() * (i < 6)
        if i % 2:
            values = np.clip(rng.integers(0, 15, n_rows) + (5 * signal).astype(int), 0, 19)
            columns[f"c{i}"] = np.array(CITIES)[values]
        else:
            columns[f"n{i}"] = rng.normal(signal, 1).round(4)
    return pd.DataFrame(columns).assign(label=np.where(y, "yes", "no"))


def write_rows(path: Path, n_columns: int, n_rows: int) -> None:
    """Write a long table without labels."""
    for start in range(0, n_rows, 50_000):
        part = mixed_table(min(50_000, n_rows - start), n_columns, seed=1 + start)
        part.drop(columns="label").to_csv(path, mode="a", header=start == 0, index=False)


def measure(folder: Path, scratch: Path, output: Path) -> dict[str, float]:
    """Run ``semigen predict`` of a version; return its peak memory and its seconds."""
    arguments = ["--input", "new.csv", "--output", str(output), "--model", "model"]
    command = [sys.executable, "-m", "semigen.cli", "predict", *arguments]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=scratch, env={**os.environ, "PYTHONPATH": str(folder)})
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return {
        "exit": process.returncode,
        "peak_gib": round(usage.ru_maxrss / 2**20, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "seconds": round(time.perf_counter() - started, 1),
    }


def difference(expected: Path, actual: Path) -> dict[str, float]:
    """Return how far the predictions of two files differ."""
    files = [pd.read_csv(path) for path in (expected, actual)]
    names = [name for name in files[0] if str(name).startswith("probability_")]
    return {
        "other_predictions": int((files[0]["prediction"] != files[1]["prediction"]).sum()),
        "max_probability_difference": float((files[0][names] - files[1][names]).abs().max().max()),
        "max_novelty_difference": float((files[0]["novelty"] - files[1]["novelty"]).abs().max()),
    }


def markdown(facts: dict[str, Any]) -> str:
    """Return the table of the figures."""
    lines = [
        "# Memory and time of `semigen predict`",
        "",
        f"{facts['date']}, {facts['machine']}; `python -m benchmarks.predict_size`. CSV to CSV, "
        "all processes of the command. The differences are to the code `here`.",
        "",
        "| rows | columns | code | peak GiB | CPU s | s | other predictions | "
        "max. difference of probabilities | of novelty |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for run in facts["runs"]:
        cells = [f"{run['rows']:,}", run["columns"], run["code"], run["peak_gib"]]
        cells += [run["cpu_seconds"], run["seconds"]]
        if run["exit"]:
            cells += [f"exit {run['exit']}", "", ""]
        else:
            cells += [run["other_predictions"], f"{run['max_probability_difference']:.1g}"]
            cells.append(f"{run['max_novelty_difference']:.2g}")
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    members = {run["columns"]: run["members"] for run in facts["runs"]}
    lines += ["", *(f"Members with {n} columns: {', '.join(m)}." for n, m in members.items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
