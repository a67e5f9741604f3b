"""Learn a table and write synthetic rows, without the pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from semigen.artifacts import write_json
from semigen.errors import UserError
from semigen.evaluation.leaks import LeakCheck
from semigen.outputs import check_output_file, check_output_folder
from semigen.params.config import ComputeParams, PrivacyParams
from semigen.params.generators import Family
from semigen.saved_synthesizer import MARKER
from semigen.synthesis.conditions import parse_where
from semigen.synthesizer import Synthesizer
from semigen.tables.labels import LabelReading
from semigen.tables.sources import read_table, write_table
from semigen.training.compute import limit_threads
from semigen.training.progress import Progress
from semigen.wording import printable


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
    where: Sequence[str] = (),
    constraints: Sequence[str] = (),
    min_rows: int = PrivacyParams().min_rows,
    allow_leaks: bool = False,
) -> pd.DataFrame:
    """Write synthetic rows of a table; their classes are as frequent as among the real labels.

    The leak check is written beside the table, with the suffix ``.leaks.json``. If it fails, no row
    is written.

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
        where: Conditions of the rows, each ``COLUMN=VALUE`` or ``COLUMN=LOW..HIGH``.
        constraints: Constraints of the rows: ``start <= end``, or ``city,country`` for fixed
            combinations.
        min_rows: Minimum number of rows of a category; rarer ones are merged.
        allow_leaks: Whether rows are written although the leak check fails.

    Returns:
        The synthetic rows, with the columns of the table.

    Raises:
        UserError: If a file cannot be read or written, or the table cannot be learned.
    """
    check_output_file(destination, inputs=[source], overwrite=overwrite)
    check_output_file(leak_file(destination), inputs=[source], overwrite=True)
    if model is not None:
        check_output_folder(model, MARKER)
    table = _read_labels(source, target)
    if n_rows is not None and n_rows < 0:
        raise UserError(f"--rows must not be negative, not {n_rows}")
    conditions = parse_where(where)
    compute = ComputeParams()
    limit_threads(compute)
    synthesizer = Synthesizer(
        generator,
        compute=compute,
        seed=seed,
        privacy=PrivacyParams(min_rows=min_rows, allow_leaks=True),
        constraints=[rule if "<=" in rule else rule.split(",") for rule in constraints],
    )
    try:
        synthesizer.fit(table, target, progress=Progress("synthesize"))
    except UserError as error:
        raise UserError(f"{source}: {error}") from error
    rows = synthesizer.sample(len(table) if n_rows is None else n_rows, seed, conditions)
    if model is not None:
        synthesizer.save(model)
    for name, reason in synthesizer.left_out_.items():
        print(f"column {name!r} is left out: {reason}")
    leaks = _write_leaks(synthesizer, destination, allow_leaks=allow_leaks)
    write_table(rows, destination, guard=guard)
    print(f"{destination}: {len(rows)} synthetic rows of {len(table)} real ones ({generator})")
    print(f"{leak_file(destination)}: {leaks.sentence}")
    return rows


def _read_labels(source: Path, target: str) -> pd.DataFrame:
    """Read a table; cells that mark unlabeled rows become missing labels, which is told."""
    table = read_table(source)
    if target not in table:
        return table  # the synthesizer names the columns that there are
    reading = LabelReading.of(table[target], target)
    for note in reading.notes:
        print(f"{source}: {printable(note)}")
    return table.assign(**{target: reading.apply(table[target])})


def _write_leaks(synthesizer: Synthesizer, destination: Path, *, allow_leaks: bool) -> LeakCheck:
    """Write the leak check of the rows that were sampled last.

    Raises:
        UserError: If the check fails, unless leaks are allowed.
    """
    leaks = synthesizer.leaks_
    assert leaks is not None  # the synthesizer was fitted here
    write_json(leak_file(destination), leaks.to_json_dict())
    if leaks.problem and not allow_leaks:
        raise UserError(
            f"{leaks.problem}; {destination} is not written (to write it all the same, add "
            f"--allow-leaks); counts: {leak_file(destination)}"
        )
    return leaks


def leak_file(table: Path) -> Path:
    """Return the file of the leak check of a synthetic table.

    Examples:
        >>> leak_file(Path("data/new.csv")).name
        'new.leaks.json'
    """
    return table.with_name(f"{table.name.split('.')[0] or table.name}.leaks.json")
