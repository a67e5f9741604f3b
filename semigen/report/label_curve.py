"""The label curve as text, table and JSON."""

from __future__ import annotations

from typing import Any

import pandas as pd

from semigen.evaluation.estimates import to_json
from semigen.evaluation.label_curve import Fit, Forecast, LabelCurve


def fit_text(fit: Fit) -> str:
    """Return one line about a finished fit.

    Examples:
        >>> import numpy as np
        >>> fit_text(Fit(10, draw=0, seconds=2.5, hits=np.array([[True, True], [True, False]])))
        '10 labels, draw 1: 100.0 %, labels only 50.0 % (2 s)'
    """
    selected, labels_only = (f"{100 * hits.mean():.1f} %" for hits in fit.hits)
    return (
        f"{fit.n_labeled} labels, draw {fit.draw + 1}: {selected}, labels only {labels_only} "
        f"({fit.seconds:.0f} s)"
    )


def forecast_text(forecast: Forecast) -> str:
    """Return one sentence about the expected gain from more labels.

    Examples:
        >>> from semigen.evaluation.estimates import Estimate
        >>> print(forecast_text(Forecast(50, Estimate(0.02, 0.0, 0.04))))
        50 more labels would be worth +2.0 points [+0.0, +4.0] of accuracy, if the curve continues
        as a power law
    """
    return (
        f"{forecast.n_more} more labels would be worth {forecast.gain:+.1p} of accuracy, "
        "if the curve continues as a power law"
    )


def curve_text(curve: LabelCurve) -> str:
    """Return one sentence: the accuracy with all labels, and the forecast or why there is none."""
    selected = [point for point in curve.points if point.learner == curve.points[0].learner]
    best = max(selected, key=lambda point: point.n_labeled)
    text = f"{100 * best.accuracy.value:.1f} % accuracy with {best.n_labeled} labels"
    if curve.forecast:
        return f"{text}; {forecast_text(curve.forecast)}"
    return (
        f"{text}; the curve cannot be extrapolated to more labels: this needs at least "
        f"{', '.join(curve.forecast_limits)}"
    )


def curve_table(curve: LabelCurve) -> pd.DataFrame:
    """Return a row per learner and number of labels: accuracy with its interval."""
    rows = [
        {
            "learner": point.learner,
            "n_labeled": point.n_labeled,
            "n_draws": point.n_draws,
            **to_json(point.accuracy),
        }
        for point in curve.points
    ]
    return pd.DataFrame(rows).rename(columns={"value": "accuracy"})


def curve_json(curve: LabelCurve, n_labeled: int, n_unlabeled: int, n_test: int) -> dict[str, Any]:
    """Return the content of ``label_curve.json``.

    Args:
        curve: The label curve.
        n_labeled: Number of labeled rows.
        n_unlabeled: Number of unlabeled rows.
        n_test: Number of test rows.
    """
    return {
        "n_labeled": n_labeled,
        "n_unlabeled": n_unlabeled,
        "n_test": n_test,
        "points": [to_json(point) for point in curve.points],
        "gains": [to_json(gain) for gain in curve.gains],
        "forecast": to_json(curve.forecast),
        "sentence": curve_text(curve),
    }
