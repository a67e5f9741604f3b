"""Train every generator with its defaults on every table of ``../shared/data``.

``python -m benchmarks.every_table`` keeps 100 labels of each table, trains every family on all
training rows, samples 2,000 rows with the class proportions of the labels, and checks that all
values are finite. It also reports the distance between the columns of the sampled and the real
rows, and the test accuracies of a forest trained on the sampled rows and of one trained on the
labeled rows. Texts become 50 numbers per row (TF-IDF, truncated SVD). Finished pairs are stored in
``benchmarks/results/every_table.jsonl``; ``--resume`` skips them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from benchmarks.machine import cpu_model
from semigen.evaluation.fidelity import fidelity
from semigen.generators import FAMILIES, make_generator
from semigen.params.config import ComputeParams, PretrainParams
from semigen.tables.encoding import Encoded, TableEncoder
from semigen.tables.schema import TableSchema

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
RESULTS = Path("benchmarks/results/every_table.jsonl")
TARGETS = {
    "adult": "income",
    "bank": "y",
    "banking77": "label",
    "covertype": "Cover_Type",
    "dna": "Class",
    "heart_disease": "label",
    "letter": "letter",
    "mnist": "label",
    "optdigits": "label",
    "phishing": "Result",
    "segment": "label",
    "sms_spam": "label",
    "spambase": "spam",
    "telco": "Churn",
    "wine_quality": "label",
}
RESTATE_TARGET = {"heart_disease": ["num"], "wine_quality": ["quality"]}
TEXTS = ("banking77", "sms_spam")
N_LABELED, N_SYNTHETIC, N_TEXT_COLUMNS = 100, 2000, 50


def read_table(name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return training and test rows: the table's own split, or else a random quarter (seed 0)."""
    if name == "mnist":
        return _read_mnist()
    table = pd.read_parquet(DATA / f"{name}.parquet").drop(columns=RESTATE_TARGET.get(name, []))
    target = TARGETS[name]
    if "split" in table:
        is_test = table["split"].astype(str).str.startswith("test").to_numpy()
    else:
        _, test = train_test_split(
            np.arange(len(table)), test_size=0.25, random_state=0, stratify=table[target]
        )
        is_test = np.isin(np.arange(len(table)), test)
    table = table.drop(columns="split", errors="ignore")
    if name in TEXTS:
        table = _numbers_of_text(table, target, ~is_test)
    return table[~is_test].reset_index(drop=True), table[is_test].reset_index(drop=True)


def _read_mnist() -> tuple[pd.DataFrame, pd.DataFrame]:
    with np.load(DATA / "mnist.npz") as arrays:
        parts = [(arrays[f"x_{p}"].reshape(-1, 784), arrays[f"y_{p}"]) for p in ("train", "test")]
    names = [f"pixel_{i}" for i in range(784)]
    train, test = (pd.DataFrame(x, columns=names).assign(label=y) for x, y in parts)
    return train, test


def _numbers_of_text(table: pd.DataFrame, target: str, is_train: np.ndarray) -> pd.DataFrame:
    (column,) = table.columns.drop(target)
    to_numbers = make_pipeline(
        TfidfVectorizer(sublinear_tf=True, min_df=2), TruncatedSVD(N_TEXT_COLUMNS, random_state=0)
    ).fit(table.loc[is_train, column])
    numbers = to_numbers.transform(table[column])
    names = [f"topic_{i}" for i in range(N_TEXT_COLUMNS)]
    return pd.DataFrame(numbers, columns=names).assign(**{target: table[target].to_numpy()})


def mask_labels(y: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return ``y`` with about 100 labels, stratified, at least two per class, and -1 elsewhere."""
    rng, y_masked = np.random.default_rng(seed), np.full(len(y), -1)
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        n = min(len(rows), max(2, round(N_LABELED * len(rows) / len(y))))
        y_masked[rng.choice(rows, n, replace=False)] = label
    return y_masked


def measure(family: str, encoder: TableEncoder, rows: Encoded, test: Encoded) -> dict[str, Any]:
    """Train a family and return its figures."""
    params = PretrainParams.model_validate({"generator": family})
    generator = make_generator(encoder, params, ComputeParams(), seed=0)
    started = time.perf_counter()
    history = generator.fit(rows)
    fit_seconds = time.perf_counter() - started
    labeled = rows.y >= 0
    y = np.random.default_rng(0).choice(rows.y[labeled], N_SYNTHETIC)
    x = generator.sample(y, seed=0)
    real, synthetic = (encoder.inverse_transform(part) for part in (test.x, x))
    scores, features = generator.score(test.x[:1000]), generator.features(test.x[:1000])
    return {
        "fit_seconds": round(fit_seconds, 1),
        "epochs": len(history.train),
        "n_retries": history.n_retries,
        "is_finite": all(bool(np.isfinite(a).all()) for a in (x, scores, features, history.train)),
        "column_distance": fidelity(real, synthetic, encoder.schema)["mean_distance"],
        "accuracy_synthetic": _forest_accuracy(x, y, test),
        "accuracy_labels": _forest_accuracy(rows.x[labeled], rows.y[labeled], test),
    }


def _forest_accuracy(x: np.ndarray, y: np.ndarray, test: Encoded) -> float:
    if not np.isfinite(x).all():
        return float("nan")
    forest = ExtraTreesClassifier(200, random_state=0).fit(x, y)
    return round(float((forest.predict(test.x) == test.y).mean()), 4)


def measure_all(
    tables: Sequence[str], families: Sequence[str], is_done: Callable[[str, str], bool]
) -> Iterator[dict[str, Any]]:
    """Yield a record for each pair of table and family that is not done."""
    for name in tables:
        todo = [family for family in families if not is_done(name, family)]
        if not todo:
            continue
        train, test = read_table(name)
        target = TARGETS[name]
        schema = TableSchema.infer(train, train.drop(columns=target), target)
        encoder = TableEncoder(schema).fit(train)
        y = schema.encode_labels(train[target])
        rows = Encoded(encoder.transform(train), mask_labels(y))
        held_out = Encoded(encoder.transform(test), schema.encode_labels(test[target]))
        facts = {"n_rows": len(y), "n_features": encoder.n_features, "n_classes": len(np.unique(y))}
        for family in todo:
            found = measure(family, encoder, rows, held_out)
            measured = f"{datetime.now().astimezone():%Y-%m-%d}"
            yield {"table": name, "family": family, **facts, **found, "measured": measured}


def as_markdown(records: Sequence[dict[str, Any]]) -> str:
    """Return the report: the machine, and a row for each table and family."""
    columns = list(records[0])
    failed = sum(not record["is_finite"] for record in records)
    lines = [
        "# Every family on every table, with its defaults",
        "",
        f"{cpu_model()}, {os.cpu_count()} cores, torch {torch.__version__}; "
        "`python -m benchmarks.every_table --resume`. 100 labels; accuracies on test rows are of a "
        "forest trained on 2,000 synthetic rows, and on the labeled rows.",
        "",
        f"{len(records)} fits: {failed} with a value that is not finite, "
        f"{sum(record['n_retries'] > 0 for record in records)} rolled back and retried.",
        "",
        f"| {' | '.join(columns)} |",
        f"|{' --- |' * len(columns)}",
    ]
    lines += [f"| {' | '.join(str(r[c]) for c in columns)} |" for r in records]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.every_table",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tables", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--resume", action="store_true", help="skip pairs measured before")
    parser.add_argument(
        "--out",
        type=Path,
        default=RESULTS,
        help="JSON lines; the Markdown file is written beside it",
    )
    arguments = parser.parse_args(argv)
    if not DATA.exists():
        sys.exit(f"error: {DATA} does not exist: this benchmark needs the shared tables")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    if not arguments.resume:
        arguments.out.unlink(missing_ok=True)
    kept = arguments.out.read_text().splitlines() if arguments.out.exists() else []
    records = [json.loads(line) for line in kept]
    done = {(record["table"], record["family"]) for record in records}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    for record in measure_all(arguments.tables, arguments.families, lambda *pair: pair in done):
        records.append(record)
        with arguments.out.open("a") as file:
            file.write(json.dumps(record) + "\n")
        print(", ".join(f"{key} {value}" for key, value in record.items()), flush=True)
        arguments.out.with_suffix(".md").write_text(as_markdown(records))


if __name__ == "__main__":
    main()
