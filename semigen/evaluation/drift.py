"""Drift: differences between new rows and the rows that a classifier was trained on."""

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
from semigen.tables.cells import as_text
from semigen.tables.columns import ColumnSchema, coerce_column
from semigen.tables.schema import TableSchema
from semigen.training.compute import one_thread
from semigen.wording import count, first_few

MAX_AUC = 0.6
"""ROC AUC of separating old from new rows; drift if its interval lies above. Rows of two normal
columns whose correlation changes from 0 to 0.8 are separated with 0.74."""
MAX_ROWS = 5000
"""Maximum number of rows of each table for the ROC AUC; larger tables are subsampled."""
MIN_ROWS = 10
"""Minimum number of rows of each table for the ROC AUC."""
N_FOLDS = 5
MIN_EXPECTED = 5
"""Minimum expected count of a category for the chi-squared test; rarer categories are grouped."""


@dataclass(frozen=True)
class ColumnDrift:
    """Drift of one column.

    Attributes:
        column: Name of the column.
        kind: Kind of the column.
        distance: Distance of old and new values (``fidelity.column_distance``), from 0 to 1.
        p_value: P-value of the hypothesis that both have the same distribution, adjusted for the
            number of columns.
        missing: Fraction of missing cells in the old and in the new rows.
        new_categories: Values that are not in the schema.
        problem: Description of missing or invalid values; None if there are none.
        has_drifted: Whether the distance is large and significant, or there is a problem.

    Examples:
        >>> old = pd.DataFrame({"age": np.arange(100.0)})
        >>> schema = TableSchema.infer(old.assign(label="a"), old, "label", {"age": "numeric"})
        >>> (age,) = compare_columns(old, old + 50, schema, max_distance=0.2, significance=0.01)
        >>> age.has_drifted, age.distance, str(age)
        (True, 0.5, 'age (distance 0.50)')
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
    """Drift of a table.

    Attributes:
        columns: Drift of every feature column, in the order of the schema.
        auc: ROC AUC of separating new from old rows by all columns (``domain_auc``).
        n_reference: Number of old rows.
        n_current: Number of new rows.

    Examples:
        >>> old = pd.DataFrame({"age": np.arange(100.0)})
        >>> schema = TableSchema.infer(old.assign(label="a"), old, "label", {"age": "numeric"})
        >>> limits = {"max_distance": 0.2, "significance": 0.01, "seed": 0}
        >>> measure_drift(old, old + 50, schema, **limits).drifted
        ('age',)
        >>> measure_drift(old, old[::2], schema, **limits).sentence
        'no drift in 1 column of 50 rows'
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
        """Whether a column has drifted, or ``auc.low`` is above ``MAX_AUC``."""
        return bool(self.drifted) or self.auc.low > MAX_AUC

    @property
    def sentence(self) -> str:
        """The result in one sentence, without a full stop."""
        checked = f"{count(len(self.columns), 'column')} of {count(self.n_current, 'row')}"
        separated = f"ROC AUC against the {self.n_reference} training rows {self.auc:.2f}"
        if not self.has_drifted:
            return f"no drift in {checked}"
        if not self.drifted:
            return f"drift in the dependence between {checked}: {separated}"
        drifted = [column for column in self.columns if column.has_drifted]
        return (
            f"drift in {first_few([str(column) for column in drifted])} of {checked}; {separated}"
        )

    def to_json_dict(self, *, sample_values: bool = False) -> dict[str, Any]:
        """Return the drift as plain types, rounded to six digits.

        Args:
            sample_values: Whether new categories are named, not only counted.
        """
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
                    "missing": [round(fraction, DECIMALS) for fraction in c.missing],
                    "n_new_categories": len(c.new_categories),
                    "new_categories": list(c.new_categories) if sample_values else [],
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
    """Compare new rows with old rows, column by column and as a whole.

    A column has drifted if its distance is above ``max_distance`` and significant: Kolmogorov-
    Smirnov test of numbers, chi-squared test of categories, with p-values adjusted by the method of
    Holm (1979), so that ``significance`` is the probability of any false alarm. A column has also
    drifted if it is missing, or has text among numbers, which the pipeline would reject.

    Args:
        reference: Old rows, shape ``(n_reference, any)``, with all feature columns.
        current: New rows, shape ``(n_current, any)``.
        schema: Schema of the old rows.
        max_distance: Maximum distance (``fidelity.column_distance``) without drift.
        significance: Adjusted p-value below which a distance is significant.
        seed: Seed of ``domain_auc``.

    Raises:
        ValueError: If a table has no row.
        UserError: If ``reference`` does not fit the schema.
    """
    if reference.empty or current.empty:
        raise ValueError(f"expected rows in both tables, got {len(reference)} and {len(current)}")
    typed = schema.coerce(reference, "reference rows")
    columns = compare_columns(
        typed, current, schema, max_distance=max_distance, significance=significance
    )
    present = [column for column in schema.features if column.name in current]
    new = {c.name: coerce_column(current[c.name], c)[0] for c in present}
    auc = domain_auc(*_matrices(typed, pd.DataFrame(new), present), seed)
    return Drift(columns, auc, n_reference=len(reference), n_current=len(current))


def compare_columns(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    schema: TableSchema,
    *,
    max_distance: float,
    significance: float,
) -> tuple[ColumnDrift, ...]:
    """Return the drift of each column; arguments as in ``measure_drift``, ``reference`` typed."""
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
    """Return the cross-validated ROC AUC of a classifier that separates new from old rows.

    The classifier two-sample test (Lopez-Paz & Oquab 2017) with the ROC AUC instead of accuracy, so
    that the tables may differ in size. 0.5 means that the rows cannot be separated. The AUC may be
    slightly lower by chance, and much lower if the same rows are in both tables, because the
    classifier then learns each row's copy with the opposite label.

    The 95 % interval is that of DeLong et al. (1988), widened by a factor of 1.5 for five folds
    that share training rows (Nadeau & Bengio 2003, sec. 3). For 300 pairs of equal distributions
    (100 rows each, 8 columns), 2.7 % of the intervals exclude 0.5, and 12.3 % of DeLong's.

    Args:
        reference: Encoded old rows, shape ``(n_reference, n_features)``; may contain NaN.
        current: Encoded new rows, shape ``(n_current, n_features)``; may contain NaN.
        seed: Seed of the subsamples, the folds and the classifier.

    Returns:
        The AUC; ``0.5 [0, 1]`` if a table has fewer than ten rows, or there is no column.
    """
    rng = np.random.default_rng(seed)
    sides = [rows[_subsample(len(rows), rng)] for rows in (reference, current)]
    if min(map(len, sides)) < MIN_ROWS or reference.shape[1] == 0:
        return Estimate(0.5, 0.0, 1.0)
    x = np.vstack(sides)
    is_current = np.repeat([False, True], [len(side) for side in sides])
    scores = np.empty(len(x))
    for train, held_out in StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed).split(
        x, is_current
    ):
        # Small leaves, so that it learns from tens of rows; the default leaves have 20 rows.
        learner = HistGradientBoostingClassifier(
            max_iter=50,
            max_leaf_nodes=15,
            min_samples_leaf=5,
            class_weight="balanced",
            early_stopping=False,
            random_state=seed,
        )
        with one_thread():  # more threads took 23 s instead of 1 s on a busy machine
            learner.fit(x[train], is_current[train])
            scores[held_out] = learner.predict_proba(x[held_out])[:, 1]
    return _widened(roc_auc(scores[is_current], scores[~is_current]))


def _compare(
    old: pd.Series, values: pd.Series | None, column: ColumnSchema
) -> tuple[dict[str, Any], float]:
    """Return the attributes of ``ColumnDrift`` and the unadjusted p-value of a column."""
    missing_before = float(old.isna().mean())
    if values is None:
        facts = {"distance": 1.0, "missing": (missing_before, 1.0), "new_categories": ()}
        return {**facts, "problem": f"{column.name} (column is missing)"}, 0.0
    new, is_wrong = coerce_column(values, column)
    facts = {
        "distance": column_distance(old, new, column),
        "missing": (missing_before, float(new.isna().mean())),
        "new_categories": _new_categories(old, values[is_wrong], column),
        "problem": _problem(values, is_wrong, column),
    }
    test = _p_of_numbers if column.kind == "numeric" else _p_of_categories
    return facts, test(old, new)


def _problem(values: pd.Series, is_wrong: np.ndarray, column: ColumnSchema) -> str | None:
    if column.kind != "numeric" or not is_wrong.any():
        return None
    row = int(np.flatnonzero(is_wrong)[0])
    return (
        f"{column.name} ({int(is_wrong.sum())} of {len(values)} values are not numbers, first in "
        f"row {row + 1})"
    )


def _new_categories(old: pd.Series, unknown: pd.Series, column: ColumnSchema) -> tuple[str, ...]:
    if column.kind == "numeric":
        return ()
    return tuple(sorted(set(as_text(unknown)) - set(old)))


def _p_of_numbers(old: pd.Series, new: pd.Series) -> float:
    """Return the Kolmogorov-Smirnov p-value, with missing cells as the lowest number."""
    is_small = max(len(old), len(new)) <= 1000  # above, the asymptotic p-value is as accurate
    lowest = -np.inf
    method: Literal["exact", "asymp"] = "exact" if is_small else "asymp"
    return float(ks_2samp(old.fillna(lowest), new.fillna(lowest), method=method).pvalue)


def _p_of_categories(old: pd.Series, new: pd.Series) -> float:
    """Return the chi-squared p-value; missing is a category, rare categories are grouped."""
    codes = pd.factorize(pd.concat([old, new]))[0] + 1  # 0 is missing
    sides = codes[: len(old)], codes[len(old) :]
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
    old: pd.DataFrame, new: pd.DataFrame, columns: Sequence[ColumnSchema]
) -> tuple[np.ndarray, np.ndarray]:
    """Return both tables as numbers for trees: categories by frequency rank, missing as NaN.

    A ``TableEncoder`` needs a value in every column, and groups new categories with others.
    """
    both = pd.concat([old, new], ignore_index=True)
    matrix = np.full((len(both), len(columns)), np.nan)
    for i, column in enumerate(columns):
        values = both[column.name]
        if column.kind == "numeric":
            matrix[:, i] = values
            continue
        by_frequency = values.value_counts().index
        codes = by_frequency.get_indexer(pd.Index(values))
        matrix[:, i] = np.where(codes < 0, np.nan, codes)
    return matrix[: len(old)], matrix[len(old) :]


def _subsample(n_rows: int, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(n_rows)[:MAX_ROWS]


def _widened(auc: Estimate) -> Estimate:
    # Nadeau & Bengio: the variance of the mean of k folds is 1/k + n_test / n_train, not 1/k.
    factor = np.sqrt(1 + N_FOLDS / (N_FOLDS - 1))
    margin = factor * max(auc.value - auc.low, auc.high - auc.value)
    return Estimate(
        auc.value, float(max(0.0, auc.value - margin)), float(min(1.0, auc.value + margin))
    )
