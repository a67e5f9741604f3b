"""Fit CTGAN or TVAE in the environment of ``peers.txt``; ``benchmarks.synthesis`` starts this.

Writes ``synthetic.parquet``, as many rows as the table has, and ``facts.json`` into a folder.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import time
from pathlib import Path

import ctgan  # type: ignore[import-not-found]  # installed by peers.txt alone
import numpy as np
import pandas as pd
import torch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=["CTGAN", "TVAE"], required=True)
    parser.add_argument("--table", type=Path, required=True, help="Parquet, rows to learn from")
    parser.add_argument("--discrete", nargs="*", default=[], help="columns that are no numbers")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="an existing folder")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    np.random.seed(arguments.seed)  # noqa: NPY002 - what ctgan draws from
    table = pd.read_parquet(arguments.table)
    model = getattr(ctgan, arguments.model)(epochs=arguments.epochs, enable_gpu=False)
    started, cpu_started = time.perf_counter(), time.process_time()
    model.fit(table, discrete_columns=arguments.discrete)
    fitted, cpu_fitted = time.perf_counter(), time.process_time()
    synthetic = model.sample(len(table))
    sampled = time.perf_counter()
    synthetic.to_parquet(arguments.out / "synthetic.parquet", index=False)
    facts = {
        "fit_seconds": fitted - started,
        "fit_cpu_seconds": cpu_fitted - cpu_started,
        "decoded_rows_per_second": len(table) / (sampled - fitted),
        "versions": {name: importlib.metadata.version(name) for name in ("ctgan", "torch")},
    }
    (arguments.out / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main()
