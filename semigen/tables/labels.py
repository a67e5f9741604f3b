"""Labels as text, and the marks of rows without a label."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from semigen.tables.cells import MISSING, MISSING_AMONG_VALUES, as_cells
from semigen.wording import count

UNLABELED_WORDS = ("unlabeled", "unlabelled", "not labeled", "not labelled", "no label")
WHOLE = r"-?\d+(?:\.0+)?"
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
SHORT_CODE = r"[A-Z]{1,3}"
"""Codes among which NA may be one, as of countries."""
WORDS = ("None", "none", "NA", "na", "nil")
"""Marks of missing cells that may also be the name of a class."""


@dataclass(frozen=True)
class LabelReading:
    """How the cells of a label column are read.

    Attributes:
        marks: Cells of unlabeled rows.
        are_whole: Whether all labels are whole numbers, so that ``1.0`` is 1.
        notes: What the user should know, without the name of the file.

    Examples:
        >>> reading = LabelReading.of(pd.Series(["yes", "no", "unlabeled", None]), "churn")
        >>> reading.apply(pd.Series(["no", "unlabeled", ""])).tolist()
        ['no', None, None]
        >>> LabelReading.of(pd.Series([0, 1, 2, -1]), "y").marks[-1]
        '-1'
        >>> LabelReading.of(pd.Series([-1, 1]), "y").apply(pd.Series([-1.0, 1.0])).tolist()
        ['-1', '1']
    """

    marks: tuple[str, ...]
    are_whole: bool = False
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, labels: pd.Series, target: str, na_values: Sequence[str] | None = None
    ) -> LabelReading:
        """Decide which cells mean that a row is unlabeled, by the other labels of the column.

        Args:
            labels: Label column of the labeled table.
            target: Its name, for the notes.
            na_values: Marks set by the user, besides empty cells; None decides by the column.
        """
        counts = as_cells(labels, ()).value_counts()
        if na_values is not None:
            marks, notes = tuple(na_values), list[str]()
        else:
            marks, notes = _decide(counts, target)
        classes = counts.index[~counts.index.isin(marks)].to_series()
        return cls(
            marks,
            bool(classes.str.fullmatch(WHOLE).all()),
            (*notes, *_case_variants(classes, target)),
        )

    def apply(self, labels: pd.Series) -> pd.Series:
        """Return labels as text, None where unlabeled."""
        cells = as_cells(labels, self.marks)
        return cells.str.replace(r"\.0+$", "", regex=True) if self.are_whole else cells


def _decide(counts: pd.Series, target: str) -> tuple[tuple[str, ...], list[str]]:
    """Return the marks of unlabeled rows, and notes about marks that could be classes."""
    marks, notes = [*MISSING, *(set(MISSING_AMONG_VALUES) - {*MISSING, *WORDS})], []
    open_cells = (*WORDS, "-1", "-1.0")
    candidates = [c for c in counts.index if c in open_cells or c.lower() in UNLABELED_WORDS]
    others = counts.index[~counts.index.isin([*marks, *candidates])].to_series()
    keep = "set data.read.na_values to [] to keep it as a class"
    for cell in candidates:
        rows = f"column {target!r}: {count(int(counts[cell]), 'row')} with {cell!r}"
        if _is_class(cell, others):
            if cell in WORDS:
                notes.append(
                    f"{rows}: taken as a class; set data.read.na_values to [{cell!r}] if these "
                    "rows are unlabeled"
                )
        else:
            marks.append(cell)
            notes.append(f"{rows}: taken as unlabeled; {keep}")
    return tuple(marks), notes


def _is_class(cell: str, others: pd.Series) -> bool:
    """Return whether a cell is a class, judged by the other labels."""
    are_numbers = bool(len(others)) and bool(others.str.fullmatch(NUMBER).all())
    if cell in ("-1", "-1.0"):
        return are_numbers and (len(others) < 2 or bool(others.str.startswith("-").any()))
    if cell in ("NA", "na"):
        return bool(len(others)) and bool(others.str.fullmatch(SHORT_CODE).all())
    return cell in WORDS and not are_numbers


def _case_variants(classes: pd.Series, target: str) -> list[str]:
    """Return a note for each group of labels that differ in case only."""
    groups = defaultdict(list)
    for label in classes:
        groups[" ".join(label.lower().split())].append(label)
    return [
        f"column {target!r}: the labels {', '.join(map(repr, sorted(group)))} differ only in case "
        "or blanks and are separate classes; write them alike if they mean the same"
        for group in groups.values()
        if len(group) > 1
    ]
