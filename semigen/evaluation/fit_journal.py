"""A file of finished fits of the label curve, from which an interrupted run resumes."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np

from semigen.evaluation.label_curve import Fit


class FitJournal:
    """Finished fits of the same tables and parameters, one line of JSON each.

    Lines of other tables or parameters and incomplete lines are ignored.

    Args:
        path: The file; it need not exist.
        inputs: Hash of all that a fit depends on, except its number of labels and draw.

    Examples:
        >>> import tempfile
        >>> journal = FitJournal(Path(tempfile.mkdtemp()) / "fits.jsonl", inputs="abc")
        >>> journal.append(Fit(10, 0, 2.5, np.array([[True, True], [True, False]])))
        >>> [fit.n_labeled for fit in journal.read()]
        [10]
        >>> FitJournal(journal.path, inputs="other").read()
        []
    """

    def __init__(self, path: Path, inputs: str) -> None:
        self.path, self.inputs = path, inputs

    def read(self) -> list[Fit]:
        """Return the fits in the file."""
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        fits = []
        for line in lines:
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if entry.pop("inputs") == self.inputs:
                    hits = np.array([[mark == "1" for mark in row] for row in entry.pop("hits")])
                    fits.append(Fit(**entry, hits=hits))
        return fits

    def append(self, fit: Fit) -> None:
        """Add a fit to the file."""
        entry = {
            "inputs": self.inputs,
            "n_labeled": fit.n_labeled,
            "draw": fit.draw,
            "seconds": round(fit.seconds, 2),
            "hits": ["".join("01"[hit] for hit in row.astype(int)) for row in fit.hits],
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        is_truncated = self.path.exists() and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" * is_truncated + json.dumps(entry) + "\n")
