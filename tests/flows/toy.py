"""Stages of a toy project, which write the files that the flow and DVC expect."""

import json
import os
import sys
import time
from pathlib import Path

from tasks.process_lifetime import exit_with_owner

ESTIMATE = {"value": 0.9, "low": 0.8, "high": 1.0}


def sample() -> None:
    Path("labeled.csv").write_text("1\n")


def validate() -> None:
    """Write the same schema for all parameters; fail if a row is bad."""
    content = Path("labeled.csv").read_text()
    if "bad" in content:
        sys.exit("error: labeled.csv: column 'a', row 1: 'bad' is not a number")
    Path("schema.json").write_text(json.dumps({"columns": 1}))


def train() -> None:
    print("fitting", flush=True)
    if Path("slow").exists():
        exit_with_owner()
        Path("started").write_text(str(os.getpid()))
        time.sleep(float(Path("slow").read_text() or 60))
    Path("model").write_text(Path("schema.json").read_text())


def evaluate() -> None:
    metrics = {"accuracy": ESTIMATE, "balanced_accuracy": ESTIMATE}
    gain = {name: {**ESTIMATE, "p_value": 0.01} for name in metrics}
    figures = {"test": metrics, "labels_only": metrics, "gain": gain, "selected": "mlp"}
    counts = {"n_labeled": 50, "n_unlabeled": 1000, "n_test": 360}
    write("reports/metrics.json", json.dumps({**counts, **figures}))
    write("reports/selection.json", "{}")
    write("reports/plots/confusion.csv", "actual,predicted\nno,no\nyes,yes\nyes,no\n")


def report() -> None:
    write("reports/model_card.md", "# Model\n")
    write("reports/report.html", "<p>report</p>")


def write(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


if __name__ == "__main__":
    with Path("ran").open("a") as log:
        log.write(f"{sys.argv[1]}\n")
    globals()[sys.argv[1]]()
