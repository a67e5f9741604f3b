"""Stage ``sample``: split an embedded data set into the three tables of a run."""

from __future__ import annotations

from semigen.artifacts import Layout, atomic_path
from semigen.params.config import Params
from semigen.tables.samples import cut_sample
from semigen.tables.sources import write_csv


def run(params: Params, layout: Layout) -> None:
    """Write ``labeled.csv``, ``unlabeled.csv`` and ``test.csv`` below ``data/samples``.

    Raises:
        UserError: If ``sample.n_labeled`` exceeds the number of training rows.
    """
    for part, table in cut_sample(params.sample, params.seed).items():
        path = layout.sample(part)
        with atomic_path(path) as temporary:
            write_csv(table, temporary)
        print(f"{path.relative_to(layout.root).as_posix()}: {len(table)} rows")
