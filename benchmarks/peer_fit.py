"""Fit CTGAN or TVAE in the environment of ``peers.txt``; started by ``benchmarks.synthesis``.

Writes ``synthetic.parquet``, with the table's number of rows, and ``facts.json`` into a folder.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import time
from pathlib import Path

import ctgan  # type: ignore[import-not-found]  # installed only by peers.txt
import numpy as np
import pandas as pd
import torch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=["CTGAN", "TVAE"], required=True)
    parser.add_argument("--table", type=Path, required=True, help="Parquet file of training rows")
    parser.add_argument("--discrete", nargs="*", default=[], help="columns that are not numeric")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="an existing folder")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    np.random.seed(arguments.seed)  # noqa: NPY002 - ctgan uses the global generator
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
