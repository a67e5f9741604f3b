"""Whether rows that came later are still like those that were learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import chi2_contingency, ks_2samp
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold

from semigen.evaluation.estimates import DECIMALS, Estimate, to_json
from semigen.evaluation.fidelity import column_distance
from semigen.evaluation.statistics import holm, roc_auc
from semigen.params.config import ColumnKind
from semigen.tables.schema import ColumnSchema, TableSchema, as_text, coerce_column
from semigen.training.compute import one_thread
from semigen.wording import count, first_few

MAX_AUC = 0.6
"""ROC AUC of telling old from new rows that is drift if it is certain. Rows of two normal columns
whose correlation goes from 0 to 0.8, each as before by itself, are told apart with 0.74."""
MAX_ROWS = 5000
"""Rows of each side that are told apart; more are thinned by seed."""
MIN_ROWS = 10
"""Rows of each side below which nothing is said about their difference."""
N_FOLDS = 5
MIN_EXPECTED = 5
"""Rows of a category expected on each side; of rarer ones the chi-squared approximation is poor."""


@dataclass(frozen=True)
class ColumnDrift:
    """How a column's later values differ from the earlier ones.

    Attributes:
        column: The column.
        kind: What it is.
        distance: ``fidelity.column_distance``, missing cells included: 0 alike, 1 apart.
        p_value: Of "both are of one distribution", corrected for the number of columns.
        missing: Share of missing cells in the earlier and in the later rows.
        new_categories: Values that the schema does not know.
        problem: What makes the column useless in part or whole; None if nothing does.
        has_drifted: Whether it is too far off to be chance, or has a problem.
    """

    column: str
    kind: ColumnKind
    distance: float
    p_value: float
    missing: tuple[float, float]
    new_categories: tuple[str, ...]
    problem: str | None
    has_drifted: bool

    def __str__(self) -> str:
        return self.problem or f"{self.column} (distance {self.distance:.2f})"


@dataclass(frozen=True)
class Drift:
    """How later rows differ from earlier ones.

    Attributes:
        columns: Every feature column, in the schema's order.
        auc: ROC AUC of telling later from earlier rows by all columns at once (``domain_auc``).
        n_reference: Earlier rows.
        n_current: Later rows.
    """

    columns: tuple[ColumnDrift, ...]
    auc: Estimate
    n_reference: int
    n_current: int

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the columns that have drifted."""
        return tuple(column.column for column in self.columns if column.has_drifted)

    @property
    def has_drifted(self) -> bool:
        """Whether a column has, or all together have: ``auc.low`` is above ``MAX_AUC``."""
        return bool(self.drifted) or self.auc.low > MAX_AUC

    @property
    def sentence(self) -> str:
        """What was found, in one sentence without a full stop."""
        watched = f"{count(len(self.columns), 'column')} of {count(self.n_current, 'row')}"
        told = (
            f"told from the {self.n_reference} earlier rows with ROC AUC {self.auc.value:.2f} "
            f"[{self.auc.low:.2f}, {self.auc.high:.2f}]"
        )
        if not self.has_drifted:
            return f"no drift in {watched}"
        if not self.drifted:
            return f"drift in how {watched} depend on one another: {told}"
        drifted = [column for column in self.columns if column.has_drifted]
        return f"drift in {first_few([str(column) for column in drifted])} of {watched}; {told}"

    def to_json_dict(self) -> dict[str, Any]:
        """Return plain types, rounded so that JSON stays readable and stable."""
        return {
            "has_drifted": self.has_drifted,
            "drifted": list(self.drifted),
            "sentence": self.sentence,
            "n_reference": self.n_reference,
            "n_current": self.n_current,
            "auc": to_json(self.auc),
            "columns": [
                {
                    "column": c.column,
                    "kind": c.kind,
                    "distance": round(c.distance, DECIMALS),
                    "p_value": round(c.p_value, DECIMALS),
                    "missing": [round(share, DECIMALS) for share in c.missing],
                    "new_categories": list(c.new_categories),
                    "problem": c.problem,
                    "has_drifted": c.has_drifted,
                }
                for c in self.columns
            ],
        }


def measure_drift(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    schema: TableSchema,
    *,
    max_distance: float,
    significance: float,
    seed: int,
) -> Drift:
    """Compare later rows with earlier ones, column by column and all columns at once.

    A column has drifted if its distance is above ``max_distance``, so that it matters, and chance
    does not explain it: Kolmogorov-Smirnov test of numbers, chi-squared test of categories, their
    p-values corrected after Holm (1979), so that ``significance`` is the chance of any false alarm.
    It has drifted too if it is absent or holds text among numbers, which the pipeline would refuse.

    Args:
        reference: Earlier rows, shape ``(n_reference, any)``, with all feature columns.
        current: Later rows, shape ``(n_current, any)``.
        schema: Says which columns are compared and what they are.
        max_distance: Largest distance (``fidelity.column_distance``) that is no drift.
        significance: Largest corrected p-value that is drift.
        seed: Seed of ``domain_auc``.

    Raises:
        ValueError: If a table has no row.
        UserError: If ``reference`` does not fit the schema.
    """
    if reference.empty or current.empty:
        raise ValueError(f"expected rows on both sides, got {len(reference)} and {len(current)}")
    typed = schema.coerce(reference, "reference rows")
    columns = compare_columns(
        typed, current, schema, max_distance=max_distance, significance=significance
    )
    present = [column for column in schema.features if column.name in current]
    later = {c.name: coerce_column(current[c.name], c)[0] for c in present}
    earlier_matrix, later_matrix = _matrices(typed, pd.DataFrame(later), present)
    auc = domain_auc(earlier_matrix, later_matrix, seed)
    return Drift(columns, auc, n_reference=len(reference), n_current=len(current))


def compare_columns(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    schema: TableSchema,
    *,
    max_distance: float,
    significance: float,
) -> tuple[ColumnDrift, ...]:
    """Return what ``measure_drift`` says about each column; the reference is typed already."""
    pairs = [_compare(reference[c.name], current.get(c.name), c) for c in schema.features]
    p_values = holm(np.array([p_value for _, p_value in pairs]))
    found = []
    for column, (facts, _), p_value in zip(schema.features, pairs, p_values, strict=True):
        is_far = facts["distance"] > max_distance and p_value < significance
        found.append(
            ColumnDrift(
                column=column.name,
                kind=column.kind,
                p_value=float(p_value),
                has_drifted=bool(is_far or facts["problem"] is not None),
                **facts,
            )
        )
    return tuple(found)


def domain_auc(reference: np.ndarray, current: np.ndarray, seed: int) -> Estimate:
    """Return how well a classifier tells later from earlier rows that it has not seen.

    The classifier two-sample test (Lopez-Paz & Oquab 2017) with the ROC AUC in place of accuracy,
    so that sides of different size do no harm. 0.5 means that they cannot be told apart; it may be
    a little less, and much less where rows stand on both sides, since the classifier learned each
    row's twin as of the other side.

    The 95 % interval is DeLong's (1988), widened for folds that share training rows as Nadeau &
    Bengio (2003, sec. 3) do: by 1.5 with five folds. Of 300 pairs of equal distributions (100 rows
    a side, 8 columns), 2.7 % had an interval without 0.5, of DeLong's own ones 12.3 %.

    Args:
        reference: Encoded earlier rows, shape ``(n_reference, n_features)``; may hold NaN.
        current: Encoded later rows, shape ``(n_current, n_features)``; may hold NaN.
        seed: Seed of the choice of rows, of the folds and of the classifier.

    Returns:
        The AUC; 0.5 in an interval from 0 to 1 with fewer than ten rows on a side, or no column.
    """
    rng = np.random.default_rng(seed)
    sides = [rows[_thinned(len(rows), rng)] for rows in (reference, current)]
    if min(map(len, sides)) < MIN_ROWS or reference.shape[1] == 0:
        return Estimate(0.5, 0.0, 1.0)
    x = np.vstack(sides)
    is_current = np.repeat([False, True], [len(side) for side in sides])
    scores = np.empty(len(x))
    for train, held_out in StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed).split(
        x, is_current
    ):
        # Leaves and trees fit for tens of rows; the defaults (leaves of 20) learn nothing of them.
        learner = HistGradientBoostingClassifier(
            max_iter=50,
            max_leaf_nodes=15,
            min_samples_leaf=5,
            class_weight="balanced",
            early_stopping=False,
            random_state=seed,
        )
        with one_thread():  # on a busy machine more of them made 1 s of work last 23 s
            learner.fit(x[train], is_current[train])
            scores[held_out] = learner.predict_proba(x[held_out])[:, 1]
    return _widened(roc_auc(scores[is_current], scores[~is_current]))


def _compare(
    earlier: pd.Series, values: pd.Series | None, column: ColumnSchema
) -> tuple[dict[str, Any], float]:
    """Return the facts of ``ColumnDrift`` and the uncorrected p-value of a column."""
    missing_before = float(earlier.isna().mean())
    if values is None:
        facts = {"distance": 1.0, "missing": (missing_before, 1.0), "new_categories": ()}
        return {**facts, "problem": f"{column.name} (column is absent)"}, 0.0
    later, is_wrong = coerce_column(values, column)
    facts = {
        "distance": column_distance(earlier, later, column),
        "missing": (missing_before, float(later.isna().mean())),
        "new_categories": _new_categories(values, column),
        "problem": _problem(values, is_wrong, column),
    }
    test = _p_of_numbers if column.kind == "numeric" else _p_of_categories
    return facts, test(earlier, later)


def _problem(values: pd.Series, is_wrong: np.ndarray, column: ColumnSchema) -> str | None:
    if not is_wrong.any():
        return None
    row = int(np.flatnonzero(is_wrong)[0])
    return (
        f"{column.name} ({int(is_wrong.sum())} of {len(values)} values are not numbers, first "
        f"{values.iloc[row]!r} in row {row + 1})"
    )


def _new_categories(values: pd.Series, column: ColumnSchema) -> tuple[str, ...]:
    if column.kind == "numeric":
        return ()
    # Of the values as they came: typing makes a boolean column's third value a missing one.
    return tuple(sorted(set(as_text(values).dropna()) - set(column.categories)))


def _p_of_numbers(earlier: pd.Series, later: pd.Series) -> float:
    """Return the Kolmogorov-Smirnov p-value, missing cells as the lowest number."""
    is_small = max(len(earlier), len(later)) <= 1000  # above, the asymptotic one is as good
    lowest = -np.inf
    method: Literal["exact", "asymp"] = "exact" if is_small else "asymp"
    return float(ks_2samp(earlier.fillna(lowest), later.fillna(lowest), method=method).pvalue)


def _p_of_categories(earlier: pd.Series, later: pd.Series) -> float:
    """Return the chi-squared p-value; missing is a category, rare ones share one."""
    codes = pd.factorize(pd.concat([earlier, later]))[0] + 1  # 0 is missing
    sides = codes[: len(earlier)], codes[len(earlier) :]
    counts = np.stack([np.bincount(side, minlength=codes.max() + 1) for side in sides])
    counts = counts[:, counts.sum(0) > 0]
    expected = counts.sum(0) * min(map(len, sides)) / len(codes)
    is_rare = expected < MIN_EXPECTED
    table = counts[:, ~is_rare]
    if is_rare.any():
        table = np.column_stack([table, counts[:, is_rare].sum(1)])
    if table.shape[1] < 2:
        return 1.0
    return float(chi2_contingency(table, correction=False).pvalue)


def _matrices(
    earlier: pd.DataFrame, later: pd.DataFrame, columns: Sequence[ColumnSchema]
) -> tuple[np.ndarray, np.ndarray]:
    """Return both sides as numbers for trees: categories as codes by frequency, missing as NaN.

    A ``TableEncoder`` would need a value in every column, and puts new categories with others.
    """
    both = pd.concat([earlier, later], ignore_index=True)
    matrix = np.full((len(both), len(columns)), np.nan)
    for i, column in enumerate(columns):
        values = both[column.name]
        if column.kind == "numeric":
            matrix[:, i] = values
            continue
        by_frequency = values.value_counts().index
        codes = by_frequency.get_indexer(pd.Index(values))
        matrix[:, i] = np.where(codes < 0, np.nan, codes)
    return matrix[: len(earlier)], matrix[len(earlier) :]


def _thinned(n_rows: int, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(n_rows)[:MAX_ROWS]


def _widened(auc: Estimate) -> Estimate:
    # Nadeau & Bengio: the variance of a mean of k folds is not 1/k, but 1/k + n_test / n_train.
    factor = np.sqrt(1 + N_FOLDS / (N_FOLDS - 1))
    reach = factor * max(auc.value - auc.low, auc.high - auc.value)
    return Estimate(
        auc.value, float(max(0.0, auc.value - reach)), float(min(1.0, auc.value + reach))
    )
