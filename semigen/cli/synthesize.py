"""Learn a table and write synthetic rows, without the pipeline."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from semigen.errors import UserError
from semigen.outputs import check_output_file, check_output_folder
from semigen.params.config import ComputeParams
from semigen.params.generators import Family
from semigen.saved_synthesizer import MARKER
from semigen.synthesizer import Synthesizer
from semigen.tables.sources import read_table, write_table
from semigen.training.compute import limit_threads
from semigen.training.progress import Progress


def synthesize_table(
    source: Path,
    destination: Path,
    target: str,
    *,
    generator: Family = "autoregressive",
    n_rows: int | None = None,
    model: Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
    guard: bool = True,
) -> pd.DataFrame:
    """Write synthetic rows of a table; their classes are as frequent as among the real labels.

    Args:
        source: Table of real rows.
        destination: CSV or Parquet table to write.
        target: Name of the label column; empty cells mark unlabeled rows.
        generator: Model family.
        n_rows: Number of synthetic rows; None draws as many as there are real rows.
        model: Folder to save the trained model to; None discards the model.
        seed: Seed of training and sampling.
        overwrite: Whether an existing file may be replaced.
        guard: Whether text that a spreadsheet would take for a formula is guarded in a CSV file.

    Returns:
        The synthetic rows, with the columns of the table.

    Raises:
        UserError: If a file cannot be read or written, or the table cannot be learned.
    """
    check_output_file(destination, inputs=[source], overwrite=overwrite)
    if model is not None:
        check_output_folder(model, MARKER)
    table = read_table(source)
    if n_rows is not None and n_rows < 0:
        raise UserError(f"--rows must not be negative, not {n_rows}")
    compute = ComputeParams()
    limit_threads(compute)
    synthesizer = Synthesizer(generator, compute=compute, seed=seed)
    try:
        synthesizer.fit(table, target, progress=Progress("synthesize"))
    except UserError as error:
        raise UserError(f"{source}: {error}") from error
    rows = synthesizer.sample(len(table) if n_rows is None else n_rows, seed)
    if model is not None:
        synthesizer.save(model)
    write_table(rows, destination, guard=guard)
    print(f"{destination}: {len(rows)} synthetic rows of {len(table)} real ones ({generator})")
    return rows
