"""Arrays that the processes of one training share, instead of each holding a copy."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from semigen.training import distributed


def share(name: str, make: Callable[[], Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Return arrays that one process makes and that all processes of ``launch`` map from files.

    The pages of a file are in memory once, however many processes map it. In a single process, and
    in processes that ``torchrun`` started, possibly on several hosts, every process makes the
    arrays.

    Args:
        name: Name of the arrays, unique in the training.
        make: Returns the arrays; has to give the same arrays in every process.

    Returns:
        The arrays. A process may write to them; the others do not see its changes.

    Examples:
        >>> share("rows", lambda: [np.arange(3)])
        [array([0, 1, 2])]
    """
    store = os.environ.get(distributed.STORE_VARIABLE)
    if distributed.n_processes() == 1 or store is None:
        return list(make())
    folder = Path(store).with_name(f"shared_{name}")
    if distributed.rank() == 0:
        folder.mkdir()
        for number, array in enumerate(make()):
            np.save(folder / f"{number}.npy", array)
    distributed.wait_for_all()
    n_arrays = len(list(folder.iterdir()))
    return [np.load(folder / f"{number}.npy", mmap_mode="c") for number in range(n_arrays)]
