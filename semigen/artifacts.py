"""Every path of the project, once, whether the user's tables are there, and atomic writes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semigen.errors import UserError
from semigen.params.config import DataParams, is_sample


@dataclass(frozen=True)
class Layout:
    """Paths of all generated files below a project root.

    Attributes of a directory artifact name the directory; it is complete or absent.
    """

    root: Path = field(default_factory=Path.cwd)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root).resolve())

    def _at(self, *parts: str) -> Path:
        return self.root.joinpath(*parts)

    def source(self, path: str) -> Path:
        """Return where a path from ``params.yaml`` lies: relative ones count from the root."""
        return self.root / path

    @property
    def params(self) -> Path:
        return self._at("params.yaml")

    def sample(self, part: str) -> Path:
        """``part`` is ``labeled``, ``unlabeled`` or ``test``."""
        return self._at("data", "samples", f"{part}.csv")

    @property
    def schema(self) -> Path:
        return self._at("data", "schema.json")

    def prepared(self, part: str) -> Path:
        """Typed, readable table of ``labeled``, ``unlabeled`` or ``test`` rows."""
        return self._at("data", "prepared", f"{part}.parquet")

    def encoded(self, part: str) -> Path:
        """Matrix of ``labeled`` or ``unlabeled`` rows."""
        return self._at("data", "encoded", f"{part}.safetensors")

    @property
    def synthetic_table(self) -> Path:
        return self._at("data", "synthetic", "synthetic.csv")

    @property
    def synthetic_encoded(self) -> Path:
        return self._at("data", "synthetic", "synthetic.safetensors")

    @property
    def encoder(self) -> Path:
        return self._at("models", "encoder")

    @property
    def generator(self) -> Path:
        return self._at("models", "generator")

    @property
    def classifier(self) -> Path:
        return self._at("models", "classifier")

    @property
    def labels_only(self) -> Path:
        return self._at("models", "labels_only")

    @property
    def ablation(self) -> Path:
        """Classifiers by what they may use beside labels; see ``selection.ABLATION``."""
        return self._at("models", "ablation")

    @property
    def registry(self) -> Path:
        """Champion and challengers, see ``semigen.registry.registry``; no run depends on them."""
        return self._at("models", "registry")

    def checkpoint(self, stage: str) -> Path:
        """Directory of a stage's training checkpoints; not tracked, gone when the stage is done."""
        return self._at(".semigen", "checkpoints", stage)

    def lock(self, name: str) -> Path:
        """File that a stage or a flow locks while it runs."""
        return self._at(".semigen", "locks", f"{name}.lock")

    def progress(self, stage: str) -> Path:
        """How far a stage is, while it runs; see ``semigen.training.progress``."""
        return self._at(".semigen", "progress", f"{stage}.json")

    @property
    def validation_json(self) -> Path:
        return self._at("reports", "validation.json")

    @property
    def validation_markdown(self) -> Path:
        return self._at("reports", "validation.md")

    @property
    def fidelity(self) -> Path:
        return self._at("reports", "fidelity.json")

    @property
    def selection(self) -> Path:
        return self._at("reports", "selection.json")

    @property
    def metrics(self) -> Path:
        return self._at("reports", "metrics.json")

    @property
    def promotion_json(self) -> Path:
        """What became of the last challenger; tells of the registry, so DVC does not track it."""
        return self._at("reports", "promotion.json")

    @property
    def promotion_markdown(self) -> Path:
        """The same as a page."""
        return self._at("reports", "promotion.md")

    def plot(self, name: str) -> Path:
        """Table behind a plot, such as ``confusion``."""
        return self._at("reports", "plots", f"{name}.csv")

    @property
    def drift_json(self) -> Path:
        """What ``monitor`` last said of new rows; not tracked by DVC."""
        return self._at("reports", "drift.json")

    @property
    def drift_markdown(self) -> Path:
        """The same as a page."""
        return self._at("reports", "drift.md")

    @property
    def reported(self) -> Path:
        """What ``monitor`` has reported already, so that it does so once."""
        return self._at(".semigen", "monitor.json")

    def label_curve(self, ending: str) -> Path:
        """How accuracy grows with labels, as ``csv``, ``json`` or ``png``; not tracked by DVC."""
        return self._at("reports", f"label_curve.{ending}")

    @property
    def label_curve_fits(self) -> Path:
        """A line for each finished fit of the label curve, to go on from."""
        return self._at(".semigen", "label_curve.jsonl")

    @property
    def model_card(self) -> Path:
        return self._at("reports", "model_card.md")

    @property
    def report(self) -> Path:
        """The HTML page; it shows times and dates, so DVC does not track it."""
        return self._at("reports", "report.html")

    @property
    def timings(self) -> Path:
        """Seconds of each stage's latest run; not tracked by DVC."""
        return self._at("reports", "timings.json")


def check_files(data: DataParams, layout: Layout) -> None:
    """Check that the user's own tables are there, before anything is started.

    Embedded tables are made by the ``sample`` stage, and one with a ``.dvc`` file beside it may
    still be pulled.

    Raises:
        UserError: If a table is absent.
    """
    named = {"labeled": data.labeled, "unlabeled": data.unlabeled, "test": data.test_table}
    for part, path in named.items():
        if path is None or is_sample(path):
            continue
        source = layout.source(path)
        if not source.exists() and not source.with_name(f"{source.name}.dvc").exists():
            raise UserError(f"{path}: no such file; check data.{part} in params.yaml")


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place when the block succeeds.

    The block may make a file or a directory there. Until it ends, ``path`` is untouched; when it
    fails, nothing is left behind.

    Raises:
        UserError: If a file would replace a directory.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
        temporary = Path(scratch) / path.name
        yield temporary
        if path.is_dir() and not path.is_symlink():
            if not temporary.is_dir():
                raise UserError(f"{path}: a folder, which no file replaces; remove it first")
            os.replace(path, Path(scratch) / "replaced")
        os.replace(temporary, path)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, with a stable layout so that equal content gives equal bytes."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        UserError: If the file is absent or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON: {error}") from error


def remove(path: Path) -> None:
    """Remove a file or a directory if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
