"""Digest of the source that determines a training."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch

PACKAGE = Path(__file__).parents[1]
TRAINING = ("generators", "methods", "training")
"""Packages of semigen that define networks, losses and the training loop. Their inputs, such as
encoded rows and parameters, are part of a training's fingerprint."""


def digest_of(folders: Sequence[Path]) -> str:
    """Return a hash of the names and contents of all Python files below some folders.

    A version number would not do: it stays the same while an editable installation changes.

    Args:
        folders: Folders; their order counts, the place where they lie does not.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            content = path.read_bytes()
            head = f"{folder.name}/{path.relative_to(folder).as_posix()} {len(content)}\n"
            digest.update(head.encode() + content)
    return digest.hexdigest()


TRAINING_CODE = f"torch {torch.__version__}, {digest_of([PACKAGE / name for name in TRAINING])}"
"""Identifies the code of trainings. Computed on import (a few milliseconds), since the files may
change while a process runs the code that it has loaded."""
SEARCH_CODE = digest_of([PACKAGE / name for name in (*TRAINING, "estimators", "classifiers")])
"""Identifies the code of the search for learner settings."""
