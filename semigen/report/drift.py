"""The drift report as a page, and its table of columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from semigen.evaluation.estimates import Estimate
from semigen.report.markdown import escape, join, table
from semigen.wording import first_few

MAX_COLUMNS = 100
MAX_CATEGORIES = 5
MIN_P_VALUE = 1e-4
HEADER = ("column", "verdict", "distance", "p-value", "missing before", "now", "new categories")


def drift_markdown(found: Mapping[str, Any]) -> str:
    """Return the content of ``drift.json`` as a Markdown page."""
    limits, auc = found["limits"], Estimate.from_json(found["auc"])
    rows = [(escape(row[0]), *row[1:-1], escape(row[-1])) for row in column_rows(found)]
    n_more = len(rows) - MAX_COLUMNS
    page = join(
        "# Drift",
        f"{escape(found['input'])}: **{escape(found['sentence'])}**.",
        f"{found['n_current']} rows are compared with the {found['n_reference']} unlabeled rows "
        "that the classifier was trained on. A classifier separates the two tables with ROC AUC "
        f"{auc:.2f}; 0.5 is chance.",
        table(HEADER, rows[:MAX_COLUMNS]),
        f"{n_more} more columns are in `reports/drift.json`." if n_more > 0 else "",
        "A column has drifted if its distance (Kolmogorov-Smirnov for numbers, total variation for "
        f"categories) is above {limits['max_distance']:g} and its p-value, adjusted for the number "
        f"of columns, is below {limits['significance']:g}. The table as a whole has drifted if the "
        f"interval of the ROC AUC lies above {limits['auc']:g}.",
    )
    return page + "\n"


def column_rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the cells of ``HEADER`` for each column: drifted ones first, then by distance."""
    ranked = sorted(found["columns"], key=lambda c: (not c["has_drifted"], -c["distance"]))
    return [
        (
            column["column"],
            "drift" if column["has_drifted"] else "",
            f"{column['distance']:.3f}",
            f"{column['p_value']:.2g}" if column["p_value"] >= MIN_P_VALUE else "< 0.0001",
            *(f"{fraction:.1%}" for fraction in column["missing"]),
            _new_categories(column),
        )
        for column in ranked
    ]


def _new_categories(column: Mapping[str, Any]) -> str:
    """Return the new categories, or their number if they are not stored."""
    names = column["new_categories"]
    n_new = column.get("n_new_categories", len(names))
    return first_few(names, MAX_CATEGORIES) if names or not n_new else str(n_new)
