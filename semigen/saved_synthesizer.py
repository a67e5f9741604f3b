"""Checks of a synthesizer that was read from files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from semigen.errors import UserError
from semigen.params.config import ComputeParams, PretrainParams, PrivacyParams
from semigen.storage.saved_files import read_saved_json, reading
from semigen.synthesis.constraints import Constraints
from semigen.synthesis.formats import ColumnFormat
from semigen.tables.schema import TableSchema
from semigen.training.plan import History

FORMAT: Literal[1] = 1
"""Version of the files that ``Synthesizer.save`` writes."""
MARKER = "synthesizer.json"
"""File of a saved folder that describes the others."""
TOLERANCE = 1e-6


class SynthesizerFacts(BaseModel):
    """Content of ``synthesizer.json``; see the attributes of ``Synthesizer``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = FORMAT
    seed: int
    params: PretrainParams
    compute: ComputeParams | None = None
    privacy: PrivacyParams | None = None
    columns: list[str]
    class_shares: dict[str, float]
    history: History | None = None
    formats: tuple[ColumnFormat, ...] | None = None
    constraints: Constraints = Constraints()
    given_constraints: list[str | list[str]] | None = None

    def format_of(self, schema: TableSchema) -> dict[str, ColumnFormat]:
        """Return the format of each column; earlier versions recorded none."""
        formats = self.formats or [ColumnFormat(name=c.name) for c in schema.features]
        return {f.name: f for f in formats}


def read_facts(folder: Path) -> SynthesizerFacts:
    """Read the description of a saved synthesizer.

    Raises:
        UserError: If the file is absent, damaged, or of another format.
    """
    content: Mapping[str, Any] = read_saved_json(folder / MARKER)
    if content.get("format") != FORMAT:
        raise UserError(
            f"{folder}: written by another version of semigen (format {content.get('format')}, "
            f"here {FORMAT}); fit it again"
        )
    with reading(folder / MARKER):
        return SynthesizerFacts(**content)


def check_facts(facts: SynthesizerFacts, schema: TableSchema) -> None:
    """Check that a synthesizer has the columns and classes of its schema.

    Raises:
        ValueError: If they differ, or the proportions of the classes are none.
    """
    formats = facts.format_of(schema)
    generated = {name for name, f in formats.items() if f.role in ("generated", "date")}
    if generated != {column.name for column in schema.features}:
        raise ValueError("the columns are not those of the schema")
    names = [name for name, f in formats.items() if f.role != "left_out"]
    if sorted(facts.columns) != sorted([*names, schema.target]):
        raise ValueError("the columns are not those of the schema")
    _check_constraints(facts.constraints, schema)
    if tuple(facts.class_shares) != schema.classes:
        raise ValueError("the classes are not those of the schema, in the same order")
    proportions = facts.class_shares.values()
    is_valid = all(math.isfinite(p) and p >= 0 for p in proportions)
    if not is_valid or abs(sum(proportions) - 1) > TOLERANCE:
        raise ValueError("the proportions of the classes do not sum to 1")


def _check_constraints(constraints: Constraints, schema: TableSchema) -> None:
    numeric = {column.name for column in schema.of_kind("numeric")}
    others = {column.name for column in schema.features} - numeric
    ordered = {name for pair in constraints.orders for name in pair}
    combined = {name for c in constraints.combinations for name in (c.column, c.other)}
    if not (ordered <= numeric and combined <= others):
        raise ValueError("a constraint is about columns that the schema does not have")
