"""Compare our generators with CTGAN and TVAE on synthetic rows of Adult.

    make bench-synthesis                                           # the default family, both peers
    make bench-synthesis ARGS="--families vae gan --peer-seeds 0"  # other families, no peers
    make bench-synthesis ARGS="--resume"                           # continue after an interruption

On two cores a fit of CTGAN takes about 20 minutes, one of TVAE about 4. The fits run one after the
other, each in its own process with the same number of threads; no GPU is used. The peers are
installed in a separate environment, which the first run creates. Each evaluated fit is appended to
``synthesis.jsonl`` immediately; ``synthesis.md`` and ``synthesis.json`` contain the table.

Gradient boosting is trained on the synthetic rows and scored on Adult's test rows, which no
generator sees. The same test rows are the non-members of the membership attacks, against an equal
number of training rows. Rows that a generator held out of training do not count as members.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.machine import cpu_model
from benchmarks.peers import peers_python, run_with_threads
from benchmarks.synthesis_report import Bar, Record, bars, markdown
from semigen.artifacts import read_json, remove, write_json, write_text
from semigen.evaluation.diversity import diversity
from semigen.evaluation.estimates import to_json
from semigen.evaluation.fidelity import fidelity
from semigen.evaluation.privacy import privacy
from semigen.evaluation.space import DistanceSpace
from semigen.evaluation.utility import utility
from semigen.generators import FAMILIES
from semigen.methods.neighbors import nearest_neighbors
from semigen.tables.encoding import TableEncoder
from semigen.tables.schema import TableSchema

TARGET = "income"
PEERS = ("CTGAN", "TVAE")
REAL = "real rows"
"""Column of the table in which real rows replace synthetic rows: a perfect generator's figures."""
MAX_ROWS_DIVERSITY = 10_000


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(argv)
    if not arguments.data.exists():
        raise SystemExit(f"{arguments.data}: no such file; name the Adult table with --data")
    torch.set_num_threads(arguments.threads)
    bench = Bench(arguments)
    bench.run()
    print(bench.report())


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.synthesis",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    default = "autoregressive"
    parser.add_argument("--families", nargs="+", default=[default], help=", ".join(FAMILIES))
    parser.add_argument("--seeds", type=int, default=3, help="number of fits of each family")
    parser.add_argument("--peer-seeds", type=int, help="fits of each peer (default: --seeds)")
    parser.add_argument(
        "--peer-epochs",
        type=int,
        default=300,
        help="300 is their own default",
    )
    parser.add_argument("--peers-env", type=Path, default=Path(".venv-peers"))
    parser.add_argument("--threads", type=int, default=cores, help="threads of each process")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/adult.parquet"))
    parser.add_argument(
        "--share", type=float, default=1.0, help="fraction of the rows, for a trial"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--resume", action="store_true", help="skip the fits of an earlier run")
    arguments = parser.parse_args(argv)
    unknown = sorted(set(arguments.families) - set(FAMILIES))
    if unknown:
        parser.error(f"--families: no family {unknown[0]!r}; there are {', '.join(FAMILIES)}")
    if arguments.peer_seeds is None:
        arguments.peer_seeds = arguments.seeds
    return arguments


def read_adult(path: Path, share: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return training and test rows, or a random fraction of them."""
    table = pd.read_parquet(path)
    is_test = table["split"] == "test"
    train, test = (
        part.drop(columns="split").sample(frac=share, random_state=0).reset_index(drop=True)
        for part in (table[~is_test], table[is_test])
    )
    return train, test


@dataclass(frozen=True)
class Evaluator:
    """Compares synthetic rows with real rows.

    Attributes:
        train: Real training rows with labels.
        test: Real test rows with labels.
        encoder: Encoder, fitted on the training rows.
        space: Distance space, fitted on the encoded training rows.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    encoder: TableEncoder
    space: DistanceSpace

    @classmethod
    def of(cls, train: pd.DataFrame, test: pd.DataFrame) -> Evaluator:
        """Fit the encoder and the space."""
        schema = TableSchema.infer(train, train.drop(columns=TARGET), TARGET)
        encoder = TableEncoder(schema).fit(train)
        space = DistanceSpace.fit(encoder.transform(train), encoder.spans_)
        return cls(train, test, encoder, space)

    def figures(
        self, synthetic: pd.DataFrame, held_out: Sequence[int], seed: int
    ) -> dict[str, Any]:
        """Evaluate synthetic rows.

        Args:
            synthetic: Synthetic rows with labels.
            held_out: Positions of the training rows that the generator held out of its training.
            seed: Seed of the evaluation.
        """
        members = self.train.drop(index=list(held_out))
        return {
            **self._figures(synthetic, members, self.test, seed),
            "utility": self._utility(synthetic, seed),
        }

    def real_figures(self, seed: int) -> dict[str, Any]:
        """Evaluate real rows as if they were synthetic.

        The utility is that of the training rows. For the other figures, one half of the test rows
        takes the place of the synthetic rows, and the other half that of the non-members.
        """
        shuffled = self.test.sample(frac=1, random_state=seed)
        return {
            **self._figures(shuffled[::2], self.train, shuffled[1::2], seed),
            "utility": self._utility(self.train, seed),
        }

    def _utility(self, synthetic: pd.DataFrame, seed: int) -> dict[str, Any]:
        schema = self.encoder.schema
        found: dict[str, Any] = to_json(
            utility(synthetic, self.train, self.test, schema, seed=seed)
        )
        return found

    def _figures(
        self, synthetic: pd.DataFrame, members: pd.DataFrame, others: pd.DataFrame, seed: int
    ) -> dict[str, Any]:
        members = members.sample(min(len(members), len(others)), random_state=seed)
        n_compared = min(len(synthetic), len(self.train), MAX_ROWS_DIVERSITY)
        few = [table.sample(n_compared, random_state=seed) for table in (synthetic, self.train)]
        return {
            "fidelity": fidelity(self.train, synthetic, self.encoder.schema),
            "diversity": to_json(diversity(*map(self._locate, few))),
            "privacy": to_json(
                privacy(*map(self._locate, (synthetic, members, others)), seed=seed)
            ),
        }

    def _locate(self, table: pd.DataFrame) -> np.ndarray:
        return self.space(self.encoder.transform(table))


class Bench:
    """One run of the benchmark: planned fits, finished fits and their files.

    Args:
        arguments: Arguments from ``parse``.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.started = datetime.datetime.now().astimezone()
        self.settings = {
            name: getattr(arguments, name) for name in ("threads", "share", "peer_epochs")
        }
        self.kept = arguments.out / "synthesis.jsonl"
        self.records = self._read_kept() if arguments.resume else []
        self.neighbors_seconds = float("nan")

    def run(self) -> None:
        """Run the missing fits; evaluate, store and tabulate each of them."""
        if not self.records:
            remove(self.kept)
        print("timing nearest neighbors", flush=True)
        self.neighbors_seconds = time_neighbors()
        evaluator = Evaluator.of(*read_adult(self.arguments.data, self.arguments.share))
        made = {(record["model"], record["seed"]) for record in self.records}
        todo = [fit for fit in self.plan() if fit not in made]
        self._publish()
        for number, (model, seed) in enumerate(todo, start=1):
            print(f"[{number} of {len(todo)}] {model}, seed {seed}", flush=True)
            self._keep(self._measure(model, seed, evaluator))
            self._publish()

    def plan(self) -> list[tuple[str, int]]:
        """Return models and seeds, interleaved so that a busy hour affects all models."""
        n_fits = dict.fromkeys((REAL, *self.arguments.families), self.arguments.seeds)
        n_fits |= dict.fromkeys(PEERS, self.arguments.peer_seeds)
        most = max(n_fits.values())
        return [(model, seed) for seed in range(most) for model, n in n_fits.items() if seed < n]

    def bars(self) -> list[Bar]:
        return bars(self.records, self.arguments.families, self.neighbors_seconds)

    def report(self) -> str:
        """Return the tables as Markdown."""
        models = (REAL, *self.arguments.families, *PEERS)
        return markdown(self.about(), models, self.records, self.bars())

    def about(self) -> dict[str, Any]:
        """Return date, machine, command and versions."""
        names = ("torch", "scikit-learn", "numpy", "pandas")
        versions = {"Python": platform.python_version()}
        versions |= {name: importlib.metadata.version(name) for name in names}
        for record in self.records:
            versions |= record["facts"].get("versions", {})
        return {
            "date": f"{self.started:%Y-%m-%d %H:%M %Z}",
            "cpu": cpu_model(),
            "cores": os.cpu_count(),
            "command": " ".join(["python -m benchmarks.synthesis", *sys.argv[1:]]),
            "versions": versions,
            **self.settings,
        }

    def _measure(self, model: str, seed: int, evaluator: Evaluator) -> Record:
        facts: dict[str, Any] = {}
        if model == REAL:
            found = evaluator.real_figures(seed)
        else:
            synthetic, facts = self._fit(model, seed, evaluator)
            print(f"  fitted in {facts['fit_seconds']:.1f} s, evaluating", flush=True)
            found = evaluator.figures(synthetic, facts.pop("held_out", []), seed)
        return {"model": model, "seed": seed, "settings": self.settings, "facts": facts, **found}

    def _fit(
        self, model: str, seed: int, evaluator: Evaluator
    ) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Fit in a separate process; return the synthetic rows and the facts of the fit."""
        schema = evaluator.encoder.schema
        if model in PEERS:
            discrete = [c.name for c in schema.features if c.kind != "numeric"]
            epochs = str(self.arguments.peer_epochs)
            program = [str(peers_python(self.arguments.peers_env)), "benchmarks/peer_fit.py"]
            program += ["--epochs", epochs, "--discrete", *discrete, TARGET]
        else:
            program = [sys.executable, "-m", "benchmarks.own_fit", "--target", TARGET]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            evaluator.train.to_parquet(folder / "train.parquet", index=False)
            program += ["--model", model, "--seed", str(seed), "--out", name]
            program += ["--table", str(folder / "train.parquet")]
            run_with_threads(program, self.arguments.threads)
            return pd.read_parquet(folder / "synthetic.parquet"), read_json(folder / "facts.json")

    def _read_kept(self) -> list[Record]:
        """Return the fits of an earlier run with the same settings."""
        lines = self.kept.read_text(encoding="utf-8").splitlines() if self.kept.exists() else []
        records: list[Record] = [json.loads(line) for line in lines]
        return [record for record in records if record["settings"] == self.settings]

    def _keep(self, record: Record) -> None:
        self.records.append(record)
        write_text(self.kept, "".join(f"{json.dumps(record)}\n" for record in self.records))

    def _publish(self) -> None:
        content = {
            "about": self.about(),
            "neighbors_seconds": self.neighbors_seconds,
            "bars": [
                {"title": bar.title, "limit": bar.limit, "verdict": bar.verdict}
                for bar in self.bars()
            ],
            "records": self.records,
        }
        write_json(self.arguments.out / "synthesis.json", content)
        write_text(self.arguments.out / "synthesis.md", self.report())


def time_neighbors(n_rows: int = 30_000, n_columns: int = 100) -> float:
    """Return the seconds of a search for the nearest of ``n_rows`` rows to ``n_rows`` others."""
    rng = np.random.default_rng(0)
    queries, rows = (rng.normal(size=(n_rows, n_columns)).astype(np.float32) for _ in range(2))
    started = time.perf_counter()
    nearest_neighbors(queries, rows)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
