"""Paths of the project's files, and atomic writes."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semigen.errors import UserError
from semigen.params.config import PARTS, DataParams, gathered, is_sample
from semigen.params.explain import nearest_name


@dataclass(frozen=True)
class Layout:
    """Paths of a project's files. A folder is written atomically: it is complete or absent.

    Attributes:
        root: The project's folder; the working directory by default.

    Examples:
        >>> layout = Layout(Path("/projects/churn"))
        >>> layout.prepared("test").relative_to(layout.root).as_posix()
        'data/prepared/test.parquet'
    """

    root: Path = field(default_factory=Path.cwd)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root).resolve())

    def _at(self, *parts: str) -> Path:
        return self.root.joinpath(*parts)

    def source(self, path: str) -> Path:
        """Return the location of a path in ``params.yaml``; relative paths start at the root."""
        return self.root / path

    @property
    def params(self) -> Path:
        """Parameter file."""
        return self._at("params.yaml")

    def sample(self, part: str) -> Path:
        """Embedded table of ``labeled``, ``unlabeled`` or ``test`` rows."""
        return self._at("data", "samples", f"{part}.csv")

    @property
    def schema(self) -> Path:
        """Schema of the tables."""
        return self._at("data", "schema.json")

    def prepared(self, part: str) -> Path:
        """Typed table of ``labeled``, ``unlabeled`` or ``test`` rows."""
        return self._at("data", "prepared", f"{part}.parquet")

    def encoded(self, part: str) -> Path:
        """Encoded ``labeled`` or ``unlabeled`` rows."""
        return self._at("data", "encoded", f"{part}.safetensors")

    @property
    def synthetic_table(self) -> Path:
        """Synthetic rows as a table."""
        return self._at("data", "synthetic", "synthetic.csv")

    @property
    def synthetic_encoded(self) -> Path:
        """Synthetic rows, encoded."""
        return self._at("data", "synthetic", "synthetic.safetensors")

    @property
    def encoder(self) -> Path:
        """Folder of the fitted encoder."""
        return self._at("models", "encoder")

    @property
    def generator(self) -> Path:
        """Folder of the trained generative model."""
        return self._at("models", "generator")

    @property
    def classifier(self) -> Path:
        """Folder of the selected classifier."""
        return self._at("models", "classifier")

    @property
    def labels_only(self) -> Path:
        """Folder of the best classifier trained on labeled rows only."""
        return self._at("models", "labels_only")

    @property
    def ablation(self) -> Path:
        """Folder of classifiers trained on fewer kinds of rows; see ``semigen.ablation``."""
        return self._at("models", "ablation")

    @property
    def registry(self) -> Path:
        """Registry of classifiers, see ``semigen.registry.registry``; not tracked by DVC."""
        return self._at("models", "registry")

    @property
    def state(self) -> Path:
        """Folder of checkpoints, locks and progress, which only its owner can enter."""
        return self._at(".semigen")

    def checkpoint(self, stage: str) -> Path:
        """Folder of a stage's training checkpoints; not tracked by DVC, removed after the stage."""
        return self._at(".semigen", "checkpoints", stage)

    def lock(self, name: str) -> Path:
        """Lock file of a running stage or flow."""
        return self._at(".semigen", "locks", f"{name}.lock")

    def progress(self, stage: str) -> Path:
        """Progress of a running stage; see ``semigen.training.progress``."""
        return self._at(".semigen", "progress", f"{stage}.json")

    @property
    def validation_json(self) -> Path:
        """Validation report."""
        return self._at("reports", "validation.json")

    @property
    def validation_markdown(self) -> Path:
        """Validation report as a page."""
        return self._at("reports", "validation.md")

    @property
    def fidelity(self) -> Path:
        """Quality of the synthetic rows."""
        return self._at("reports", "fidelity.json")

    @property
    def selection(self) -> Path:
        """Cross-validation of the candidates, and the selection."""
        return self._at("reports", "selection.json")

    @property
    def metrics(self) -> Path:
        """Test metrics."""
        return self._at("reports", "metrics.json")

    @property
    def scores(self) -> Path:
        """The main test metrics, for ``dvc metrics``."""
        return self._at("reports", "scores.json")

    @property
    def promotion_json(self) -> Path:
        """Latest promotion decision; depends on the registry, so DVC does not track it."""
        return self._at("reports", "promotion.json")

    @property
    def promotion_markdown(self) -> Path:
        """Latest promotion decision as a page."""
        return self._at("reports", "promotion.md")

    def plot(self, name: str) -> Path:
        """Table of a plot, e.g. ``confusion``."""
        return self._at("reports", "plots", f"{name}.csv")

    @property
    def drift_json(self) -> Path:
        """Latest drift report; not tracked by DVC."""
        return self._at("reports", "drift.json")

    @property
    def drift_markdown(self) -> Path:
        """Latest drift report as a page."""
        return self._at("reports", "drift.md")

    @property
    def reported(self) -> Path:
        """Events that ``monitor`` has reported already, so that it reports each once."""
        return self._at(".semigen", "monitor.json")

    def label_curve(self, ending: str) -> Path:
        """Accuracy by number of labels, as ``csv``, ``json`` or ``png``; not tracked by DVC."""
        return self._at("reports", f"label_curve.{ending}")

    @property
    def label_curve_fits(self) -> Path:
        """Finished fits of the label curve, one in each line, to resume from."""
        return self._at(".semigen", "label_curve.jsonl")

    @property
    def model_card(self) -> Path:
        """Model card."""
        return self._at("reports", "model_card.md")

    @property
    def report(self) -> Path:
        """HTML report; contains times and dates, so DVC does not track it."""
        return self._at("reports", "report.html")

    @property
    def timings(self) -> Path:
        """Duration of each stage's latest run, in seconds; not tracked by DVC."""
        return self._at("reports", "timings.json")


def check_files(data: DataParams, layout: Layout, *, where: str = " in params.yaml") -> None:
    """Check that the user's own tables exist, before a run starts.

    Embedded and gathered tables are written later, and a table with a ``.dvc`` file beside it
    can be pulled, so neither needs to exist.

    Args:
        data: Paths of the tables.
        layout: The project's files.
        where: Where the paths come from, for the message.

    Raises:
        UserError: If a table does not exist, or is a pipe or a device.
    """
    paths = {"labeled": data.labeled, "unlabeled": data.unlabeled, "test": data.test_table}
    for part, path in paths.items():
        if path is None or is_sample(path) or path in map(gathered, PARTS):
            continue
        source = layout.source(path)
        if not source.exists() and not source.with_name(f"{source.name}.dvc").exists():
            question = _nearest_file(source)
            raise UserError(f"{path}: no such file; check data.{part}{where}{question}")
        if source.exists() and not (source.is_file() or source.is_dir()):
            # DVC would read a pipe or a device without end.
            raise UserError(f"{path}: is not a regular file; check data.{part}{where}")


def check_input(path: Path) -> None:
    """Check that the table of an option ``--input`` exists.

    Raises:
        UserError: If there is no such file or folder.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file; check --input{_nearest_file(path)}")


def _nearest_file(path: Path) -> str:
    """Return a question with the most similar name of a file in the same folder, if any."""
    names = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
    nearest = nearest_name(path.name, sorted(names))
    return f"; did you mean {nearest!r}?" if nearest else ""


def make_private_folder(path: Path) -> None:
    """Create a folder that only its owner can enter, or make an existing one so.

    Parents below the first one that exists are private too.
    """
    if not path.parent.exists():
        make_private_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    if path.stat().st_mode & 0o077:
        path.chmod(0o700)


@contextlib.contextmanager
def atomic_path(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces ``path`` when the block succeeds.

    The block creates a file or a folder at the temporary path. If it fails, ``path`` stays
    unchanged and the temporary path is removed. The content is on the disk before it gets its name,
    and the name is on the disk before this returns, so that a power cut leaves the former content
    or the new one. Without that, file systems may keep the new name and lose the content.

    Args:
        path: File or folder.
        durable: Whether to wait for the disk. False suits files that are written every second, and
            without which the program works.

    Raises:
        UserError: If a file would replace a folder.

    Examples:
        >>> path = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with atomic_path(path) as temporary:
        ...     _ = temporary.write_text("complete")
        >>> path.read_text()
        'complete'
    """
    existing = next(folder for folder in path.parents if folder.exists())
    path.parent.mkdir(parents=True, exist_ok=True)
    # A part of an unfinished folder is flushed with that folder.
    durable = durable and not any(path.is_relative_to(folder) for folder in _unfinished.get())
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
        temporary = Path(scratch) / path.name
        token = _unfinished.set((*_unfinished.get(), temporary))
        try:
            yield temporary
        finally:
            _unfinished.reset(token)
        if durable:
            flush_to_disk(temporary)
        if path.is_dir() and not path.is_symlink():
            if not temporary.is_dir():
                raise UserError(f"{path}: a folder, which no file replaces; remove it first")
            os.replace(path, Path(scratch) / "replaced")
        os.replace(temporary, path)
    if durable:
        for folder in path.parents:
            flush_to_disk(folder, recursive=False)
            if folder == existing:
                break


_unfinished: ContextVar[tuple[Path, ...]] = ContextVar("_unfinished", default=())
"""Temporary paths of the blocks of ``atomic_path`` that are running, the outermost first."""


def flush_to_disk(path: Path, *, recursive: bool = True) -> None:
    """Wait until a file, or a folder with its content, is on the disk (fsync).

    Args:
        path: File or folder. A folder's own entry is part of its parent folder.
        recursive: Whether to include everything below a folder.
    """
    if os.name == "nt":  # Windows flushes no folders
        return
    for entry in [*(path.rglob("*") if recursive else ()), path]:
        descriptor = os.open(entry, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems
                raise
        finally:
            os.close(descriptor)


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Write a text file atomically; ``durable`` as for ``atomic_path``."""
    with atomic_path(path, durable=durable) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any, *, durable: bool = True) -> None:
    """Write JSON as ``write_text`` writes text; equal content gives equal bytes."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text, durable=durable)


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        UserError: If the file does not exist or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON: {error}") from error


def remove(path: Path) -> None:
    """Remove a file or a folder if it exists."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
