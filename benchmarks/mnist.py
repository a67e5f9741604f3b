"""Test error of the generators that classify on permutation-invariant MNIST with 100 labels.

``python -m benchmarks.mnist --model ssvae --draws 10`` draws ten labels per class for each seed,
leaves the other training images unlabeled, fits the model on the 784 pixels as numeric columns, and
counts the misclassified test images. The model does not know which pixels are neighbors: ``ssgan``
learns the displacements of pixels from their correlations (``semigen.methods.column_warps``), so a
permutation of the pixels gives the same result.

``--validate`` holds out 5,000 fixed training images, evaluates on them and does not use the test
images. All settings below were chosen this way.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import cpu_model
from semigen.artifacts import write_json, write_text
from semigen.generators import FAMILIES
from semigen.generators.base import ClassifyingModel
from semigen.params.config import ComputeParams
from semigen.params.generators import NetworkParams, SSGANParams, SSVAEParams
from semigen.tables.encoding import Encoded, Span
from semigen.training.progress import Progress

ROOT = Path(__file__).resolve().parents[1]
N_CLASSES = 10
N_VALIDATION = 5000
VALIDATION_SEED = 12345
"""Seed that selects the images of ``--validate``, independent of the seed of the labels."""
SPANS = tuple(Span(f"pixel {i}", i, i + 1, "numeric") for i in range(784))

SSVAE_SETTINGS = SSVAEParams(
    form="m2",
    epochs=36,
    pretrain_epochs=20,
    batch_size=512,
    learning_rate=2e-3,
    validation_size=0.02,
    latent_dim=32,
    hidden_dims=(512, 512),
    classifier_dims=(1024, 512, 512),
    noise_scale="intensity",
    warmup_epochs=4,
    patience=40,
    max_classes=2,
    guided_epochs=2,
)
"""M2, guided by labels that are spread over M1's features. Wider layers and larger batches than the
defaults, which are meant for tables of a few hundred or thousand rows."""

SSGAN_SETTINGS = SSGANParams(
    epochs=60,
    max_steps=1_000_000,
    batch_size=256,
    validation_size=0.01,
    latent_dim=100,
    hidden_dims=(1000, 500, 250, 250, 250),
    generator_dims=(500, 500),
    consistency_warmup=0.05,
    guided_epochs=27,
    movement=1.0,
)
"""The networks of Salimans et al. (2016). The spread labels guide the training until the learning
rate decreases, so that predictions are good from the start."""


@dataclass(frozen=True)
class Contest:
    """A model and its goals.

    Attributes:
        params: Settings for 60,000 rows of 784 columns, different from the family's defaults.
        error: Goal for the mean test error, in percent.
        minutes: Goal for the duration of a draw on two cores.
        published: Published results to compare with.
    """

    params: NetworkParams
    error: float
    minutes: float
    published: str


CONTESTS: Mapping[str, Contest] = {
    "ssvae": Contest(SSVAE_SETTINGS, 2.8, 10.0, "M1+M2 3.33 ± 0.14, SDGM 1.32 ± 0.07"),
    "ssgan": Contest(
        SSGAN_SETTINGS, 1.0, 60.0, "feature matching 0.93 ± 0.07, Bad GAN 0.80 ± 0.10"
    ),
}


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(argv)
    if not arguments.data.exists():
        raise SystemExit(f"{arguments.data}: no such file; name the MNIST archive with --data")
    torch.set_num_threads(arguments.threads)
    Bench(arguments).run()


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mnist",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    data = ROOT.parent / "shared" / "data" / "mnist.npz"
    parser.add_argument("--model", choices=CONTESTS, default="ssvae")
    parser.add_argument("--draws", type=int, default=10, help="number of draws of labels")
    parser.add_argument("--first", type=int, default=0, help="seed of the first draw")
    parser.add_argument("--labels", type=int, default=100, help="number of labels, evenly by class")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument("--validate", action="store_true", help="evaluate on training images")
    parser.add_argument("--resume", action="store_true", help="keep the draws of earlier runs")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    return parser.parse_args(argv)


@dataclass(frozen=True)
class Images:
    """Pixels in [0, 1], shape ``(n, 784)``, and digits ``(n,)``."""

    x: np.ndarray
    y: np.ndarray

    @classmethod
    def read(cls, path: Path, part: str) -> Images:
        """Read ``train`` or ``test`` images."""
        with np.load(path) as arrays:
            x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        return cls(x.reshape(len(x), -1).astype(np.float32) / 255.0, y.astype(np.int64))

    def at(self, index: np.ndarray) -> Images:
        return Images(self.x[index], self.y[index])


def mask_labels(y: np.ndarray, n_labels: int, seed: int) -> np.ndarray:
    """Return ``y`` with ``n_labels`` labels, drawn evenly by class, and -1 elsewhere."""
    rng = np.random.default_rng(seed)
    chosen = [
        rng.choice(np.flatnonzero(y == digit), n_labels // N_CLASSES, replace=False)
        for digit in range(N_CLASSES)
    ]
    y_masked = np.full_like(y, -1)
    y_masked[np.concatenate(chosen)] = np.repeat(np.arange(N_CLASSES), n_labels // N_CLASSES)
    return y_masked


def split_validation(images: Images) -> tuple[Images, Images]:
    """Return the training images without the held-out images, and the held-out images."""
    rng = np.random.default_rng(VALIDATION_SEED)
    is_held_out = np.zeros(len(images.y), bool)
    is_held_out[rng.choice(len(images.y), N_VALIDATION, replace=False)] = True
    return images.at(~is_held_out), images.at(is_held_out)


class Bench:
    """The draws of one model, each written to disk when it is finished."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.contest = CONTESTS[arguments.model]
        changes = dict(change.split("=", 1) for change in arguments.set)
        values = {name: json.loads(value) for name, value in changes.items()}
        params = self.contest.params
        self.params = type(params).model_validate(params.model_dump() | values)
        self.settings = {
            "model": arguments.model,
            "labels": arguments.labels,
            "threads": arguments.threads,
            "judged_by": "validation" if arguments.validate else "test",
            "params": self.params.model_dump(mode="json"),
        }
        suffix = "_validation" if arguments.validate else ""
        self.name = f"mnist_{arguments.model}{suffix}"
        self.records = self._kept() if arguments.resume else []
        self.started = datetime.now().astimezone()

    def run(self) -> None:
        training = Images.read(self.arguments.data, "train")
        if self.arguments.validate:
            training, evaluation = split_validation(training)
        else:
            evaluation = Images.read(self.arguments.data, "test")
        done = {record["seed"] for record in self.records}
        first = self.arguments.first
        for seed in range(first, first + self.arguments.draws):
            if seed not in done:
                self._keep(self._draw(seed, training, evaluation))
            self._publish()
        print(self.report())

    def about(self) -> dict[str, Any]:
        """Return all figures with date, machine, command and versions."""
        return {
            "date": f"{self.started:%Y-%m-%d %H:%M %Z}",
            "cpu": cpu_model(),
            "cores": os.cpu_count(),
            "device": self._device_name(),
            "command": " ".join(["python -m benchmarks.mnist", *sys.argv[1:]]),
            "versions": {
                "Python": platform.python_version(),
                **{name: importlib.metadata.version(name) for name in ("torch", "numpy", "scipy")},
            },
            "settings": self.settings,
            "error": _mean_and_error([record["error"] for record in self.records]),
            "seconds": _mean_and_error([record["seconds"] for record in self.records]),
            "draws": self.records,
        }

    def report(self) -> str:
        """Return the figures as Markdown."""
        about, contest = self.about(), self.contest
        (error, spread), (seconds, _) = about["error"], about["seconds"]
        cpu = np.mean([record["cpu_seconds"] for record in self.records])
        plus_minus = "" if spread is None else f" ± {spread:.2f}"
        is_met = error <= contest.error and seconds <= 60 * contest.minutes
        versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        lines = [
            f"# MNIST with {self.arguments.labels} labels: {self.arguments.model}",
            "",
            f"{about['date']}, {about['cpu']}, {about['cores']} cores of which "
            f"{self.arguments.threads} used, {about['device']}; {versions}",
            "",
            f"`{about['command']}`",
            "",
            f"| draw | {self.settings['judged_by']} error, % | seconds | CPU seconds |",
            "| --- | --- | --- | --- |",
            *(
                f"| {r['seed']} | {r['error']:.2f} | {r['seconds']:.0f} | {r['cpu_seconds']:.0f} |"
                for r in self.records
            ),
            f"| mean ± standard error | {error:.2f}{plus_minus} | {seconds:.0f} | {cpu:.0f} |",
            "",
            f"Bar: at most {contest.error} % within {contest.minutes:.0f} minutes: "
            f"{'met' if is_met else 'not met'}. Published: {contest.published}.",
            "",
            f"Settings: `{json.dumps(self.settings['params'])}`",
        ]
        return "\n".join(lines) + "\n"

    def _draw(self, seed: int, training: Images, evaluation: Images) -> dict[str, Any]:
        rows = Encoded(training.x, mask_labels(training.y, self.arguments.labels, seed))
        compute = ComputeParams(device=self.arguments.device, threads=self.arguments.threads)
        model = FAMILIES[self.arguments.model](SPANS, self.params, compute, seed)
        started, cpu_started = time.monotonic(), time.process_time()
        history = model.fit(rows, progress=Progress(f"draw {seed}"))
        seconds = time.monotonic() - started
        cpu_seconds = time.process_time() - cpu_started
        assert isinstance(model, ClassifyingModel)
        wrong = model.predict_proba(evaluation.x).argmax(axis=1) != evaluation.y
        error = 100 * float(wrong.mean())
        print(f"draw {seed}: error {error:.2f} %, {seconds:.0f} s", flush=True)
        epochs = [history.best_epoch + 1, len(history.train)]
        times = {"seconds": seconds, "cpu_seconds": cpu_seconds}
        return {"seed": seed, "error": error, **times, "epochs": epochs}

    def _device_name(self) -> str:
        uses_gpu = self.arguments.device in ("auto", "cuda") and torch.cuda.is_available()
        return torch.cuda.get_device_name() if uses_gpu else "no GPU"

    def _publish(self) -> None:
        write_json(self.arguments.out / f"{self.name}.json", self.about())
        write_text(self.arguments.out / f"{self.name}.md", self.report())

    def _kept(self) -> list[dict[str, Any]]:
        path = self._lines()
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [json.loads(line) for line in lines]
        return [record["draw"] for record in kept if record["settings"] == self.settings]

    def _keep(self, record: dict[str, Any]) -> None:
        self.records.append(record)
        lines = [json.dumps({"settings": self.settings, "draw": each}) for each in self.records]
        write_text(self._lines(), "".join(f"{line}\n" for line in lines))

    def _lines(self) -> Path:
        path: Path = self.arguments.out / f"{self.name}.jsonl"
        return path


def _mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and its standard error, None for a single value."""
    mean = float(np.mean(values))
    return mean, float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else None


if __name__ == "__main__":
    main()
