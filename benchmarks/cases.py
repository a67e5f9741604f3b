"""Small tables as people really have them: what validation says about each, in one line.

The tables are in ``../shared/cases``, which is no part of the repository; without them this
benchmark ends with a word.

    python -m benchmarks.cases
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from semigen.artifacts import Layout
from semigen.errors import UserError
from semigen.params.config import DataParams, Params
from tasks.validate import infer_schema

CASES = Path(__file__).resolve().parents[1].parent / "shared" / "cases"


def describe(folder: Path) -> str:
    """Return what validation says about the tables of a folder, in one line."""
    from semigen.tables.splits import read_tables
    from semigen.validation.expectations import validate_tables

    labeled, unlabeled = _tables(folder)
    data = DataParams(labeled=str(labeled), unlabeled=str(unlabeled), target="label")
    params = Params(data=data)
    try:
        tables = read_tables(data, Layout(Path(tempfile.gettempdir())))
        schema = infer_schema(tables, params)
    except UserError as error:
        return f"refused: {error}"
    report = validate_tables(tables, schema, params.validate_)
    kinds = ", ".join(f"{c.name}: {c.kind}" for c in schema.columns)
    messages = [f"error: {r.message}" for r in report.errors]
    messages += [f"warning: {r.message}" for r in report.warnings]
    return " | ".join([f"{kinds}; classes {', '.join(schema.classes)}", *messages])


def _tables(folder: Path) -> tuple[Path, Path]:
    """Return the labeled and the unlabeled table; they are one if there is no second."""
    files = {
        part: next(iter(sorted(folder.glob(f"{part}.*"))), None)
        for part in ("labeled", "unlabeled")
    }
    labeled = files["labeled"] or next(iter(sorted(folder.iterdir())))
    if labeled.suffix == ".csv" and (folder / "unlabeled.parquet").exists():
        labeled = folder / "labeled.parquet"
    return labeled, files["unlabeled"] or labeled


def main() -> None:
    """Print a line for each case."""
    if not CASES.is_dir():
        raise SystemExit("the tables in ../shared/cases are not here")
    logging.disable(logging.INFO)
    for folder in sorted(path for path in CASES.iterdir() if path.is_dir()):
        print(
            f"{folder.name}: {describe(folder)}".replace(str(folder.resolve()) + "/", ""),
            flush=True,
        )


if __name__ == "__main__":
    main()
