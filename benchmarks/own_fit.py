"""Fit one of our generators in a separate process, which ``benchmarks.synthesis`` starts.

Writes ``synthetic.parquet``, with the table's number of rows of each class, and ``facts.json`` into
a folder.
"""

from __future__ import annotations

import argparse
import collections
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from semigen.artifacts import write_json
from semigen.generators import make_generator
from semigen.generators.base import GenerativeModel
from semigen.params.config import ComputeParams, PretrainParams
from semigen.tables.encoding import Encoded, TableEncoder
from semigen.tables.schema import TableSchema
from semigen.training.compute import limit_threads
from semigen.training.progress import Progress

N_TIMED_ROWS = 200_000
N_COUNTED_STEPS = 5
"""Number of steps whose operations are counted; the first one, with the set-up, is left out."""
CEILING_SIZE = 2048
MATMULS = ("mm", "addmm", "bmm", "baddbmm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a family of semigen.generators")
    parser.add_argument("--table", type=Path, required=True, help="Parquet file of training rows")
    parser.add_argument("--target", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="an existing folder")
    arguments = parser.parse_args()

    compute = ComputeParams(device="cpu", threads=arguments.threads)
    params = PretrainParams.model_validate({"generator": arguments.model})
    limit_threads(compute)
    table = pd.read_parquet(arguments.table)
    target = arguments.target

    started, cpu_started = time.perf_counter(), time.process_time()
    schema = TableSchema.infer(table, table.drop(columns=target), target)
    encoder = TableEncoder(schema).fit(table, arguments.seed)
    rows = Encoded(encoder.transform(table), schema.encode_labels(table[target]))
    generator = make_generator(encoder, params, compute, arguments.seed)
    with counted_steps() as steps:
        generator.fit(rows, progress=Progress(arguments.model))
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started

    synthetic = encoder.inverse_transform(generator.sample(rows.y, arguments.seed))
    synthetic[target] = schema.decode_labels(rows.y)
    synthetic.to_parquet(arguments.out / "synthetic.parquet", index=False)
    second = make_generator(encoder, params, compute, arguments.seed)
    facts = {
        "fit_seconds": seconds,
        "fit_cpu_seconds": cpu_seconds,
        **sampling_speed(generator, encoder, rows.y, arguments.seed),
        **fraction_of_ceiling(lambda: second.fit(rows), len(steps), seconds),
        "held_out": generator.held_out(rows.y).tolist(),
    }
    write_json(arguments.out / "facts.json", facts)


@contextmanager
def counted_steps(note: Callable[[], int] = int) -> Iterator[list[int]]:
    """Yield a list to which every optimizer step inside the block appends ``note()``."""
    steps: list[int] = []
    hook = register_optimizer_step_post_hook(lambda *_: steps.append(note()))
    try:
        yield steps
    finally:
        hook.remove()


def sampling_speed(
    generator: GenerativeModel, encoder: TableEncoder, y: np.ndarray, seed: int
) -> dict[str, float]:
    """Return the rows per second of class-conditional sampling, encoded and as a readable table."""
    classes = np.resize(y, N_TIMED_ROWS)
    started = time.perf_counter()
    x = generator.sample(classes, seed)
    sampled = time.perf_counter()
    encoder.inverse_transform(x)
    decoded = time.perf_counter()
    return {
        "rows_per_second": N_TIMED_ROWS / (sampled - started),
        "decoded_rows_per_second": N_TIMED_ROWS / (decoded - started),
    }


def fraction_of_ceiling(fit: Callable[[], object], n_steps: int, seconds: float) -> dict[str, Any]:
    """Return the training's operations per second as a fraction of a large matrix product's.

    The seconds are those of the whole fit with encoding, validation and overhead. The operations
    are only those of the matrix products of the training steps.
    """
    flops, dtype = flops_per_step(fit)
    ceiling = matmul_ceiling(dtype)
    return {
        "n_steps": n_steps,
        "gigaflops_per_step": flops / 1e9,
        "precision": str(dtype).removeprefix("torch."),
        "ceiling_gigaflops_per_second": ceiling / 1e9,
        "share_of_ceiling": flops * n_steps / seconds / ceiling,
    }


class _EnoughSteps(Exception):
    """Stops the training when enough steps have been counted."""


class _MatmulTypes(TorchDispatchMode):
    """Counts the elements of matrix products by data type."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: collections.Counter[torch.dtype] = collections.Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in MATMULS:
            self.counts[out.dtype] += out.numel()
        return out


def flops_per_step(fit: Callable[[], object]) -> tuple[float, torch.dtype]:
    """Return the mean operations of a training step, and the data type of most products."""
    counter, types = FlopCounterMode(display=False), _MatmulTypes()

    def note() -> int:
        if len(steps) == N_COUNTED_STEPS:
            raise _EnoughSteps
        return int(counter.get_total_flops())

    with counted_steps(note) as steps, counter, types, suppress(_EnoughSteps):
        fit()
    return float(np.diff(steps).mean()), types.counts.most_common(1)[0][0]


def matmul_ceiling(dtype: torch.dtype) -> float:
    """Return the operations per second of a large square matrix product, the best of six."""
    a = torch.randn(CEILING_SIZE, CEILING_SIZE).to(dtype)
    fastest = np.inf
    for _ in range(6):
        started = time.perf_counter()
        a @ a
        fastest = min(fastest, time.perf_counter() - started)
    return 2 * CEILING_SIZE**3 / float(fastest)


if __name__ == "__main__":
    main()
