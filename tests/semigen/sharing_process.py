"""Script that ``test_distributed`` runs in two processes, which share an array."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch

from semigen.training import distributed
from semigen.training.shared_arrays import share


def main(folder: Path) -> None:
    distributed.join(torch.device("cpu"))
    calls = []

    def make() -> list[np.ndarray]:
        calls.append(os.getpid())
        return [np.arange(6.0, dtype=np.float32).reshape(3, 2), np.array([0, -1, 1])]

    x, y = share("rows", make)
    total = float(x.sum())
    x += 1 + distributed.rank()  # the other process must not see it
    distributed.wait_for_all()
    facts = {"calls": len(calls), "total": total, "after": float(x.sum()), "y": y.tolist()}
    mapped = isinstance(x, np.memmap) and isinstance(y, np.memmap)
    (folder / f"{distributed.rank()}.json").write_text(json.dumps(facts | {"mapped": mapped}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
