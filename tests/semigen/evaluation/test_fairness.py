from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from semigen.errors import UserError
from semigen.evaluation.fairness import MISSING, fairness, groups_of


def table_of(*groups: tuple[str, int, int]) -> tuple[pd.DataFrame, np.ndarray]:
    """Return a table of ``(group, rows, correct rows)`` and which rows are correct."""
    names = [name for name, n, _ in groups for _ in range(n)]
    is_correct = [i < right for _, n, right in groups for i in range(n)]
    return pd.DataFrame({"sex": names}), np.array(is_correct)


def test_gap_of_two_groups_is_newcombes():
    """Newcombe (1998), table II, example (a): 56/70 against 48/80."""
    rows, is_correct = table_of(("f", 70, 56), ("m", 80, 48))
    found = fairness(rows, "sex", is_correct)
    assert found.pair == ("f", "m")
    assert found.gap.value == pytest.approx(0.2)
    assert (found.gap.low, found.gap.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert [(g.name, g.n_rows) for g in found.groups] == [("f", 70), ("m", 80)]
    assert found.groups[0].accuracy.value == pytest.approx(0.8)


def test_reports_the_gap_with_the_highest_lower_limit():
    rows, is_correct = table_of(("big", 1000, 950), ("other", 1000, 700), ("few", 2, 0))
    found = fairness(rows, "sex", is_correct)
    assert found.pair == ("big", "other")
    assert found.gap.low > 0.2


def test_gap_of_equally_accurate_groups_is_not_significant():
    rows, is_correct = table_of(("a", 50, 40), ("b", 50, 40))
    gap = fairness(rows, "sex", is_correct).gap
    assert gap.value == 0 and gap.low < 0 < gap.high


def test_false_alarm_rate_is_bounded_with_many_groups():
    """Accuracy is 0.8 in each of twelve groups; 95 % intervals may err in 1 of 20 trials."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"ward": np.repeat(list("abcdefghijkl"), 40)})
    n_false = sum(
        fairness(rows, "ward", rng.random(len(rows)) < 0.8).gap.low > 0 for _ in range(200)
    )
    assert n_false / 200 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


def test_numbers_are_binned_at_quartiles_and_missing_is_a_group():
    ages = pd.Series([*range(100), None])
    groups = groups_of(ages)
    assert groups.nunique() == 5
    assert (groups == MISSING).sum() == 1
    assert set(groups[groups != MISSING].value_counts()) == {25}
    assert list(groups_of(pd.Series([1.0, 2.0, None]))) == ["1", "2", MISSING]
    assert list(groups_of(pd.Series(["x", None]))) == ["x", MISSING]


def test_one_group_has_no_gap():
    rows, is_correct = table_of(("a", 5, 4))
    found = fairness(rows, "sex", is_correct)
    assert found.gap is None and found.pair is None


def test_unknown_column_is_reported_with_the_known_ones():
    rows, is_correct = table_of(("a", 5, 4))
    with pytest.raises(
        UserError, match="the test table has no column 'gender'; its columns are: sex"
    ):
        fairness(rows, "gender", is_correct)
