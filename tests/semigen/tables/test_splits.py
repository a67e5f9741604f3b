from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semigen.artifacts import Layout
from semigen.errors import UserError
from semigen.params.config import DataParams
from semigen.tables.splits import pick_labeled, read_tables, split_test

OWN = {"labeled": "mine.csv", "unlabeled": "more.csv", "target": "y"}


def own_tables(folder, n_rows: int = 50) -> pd.DataFrame:
    labeled = pd.DataFrame({"x": np.arange(n_rows), "y": ["a", "b", "b", "b", "b"] * (n_rows // 5)})
    labeled.to_csv(folder / "mine.csv", index=False)
    pd.DataFrame({"x": np.arange(100, 200)}).to_csv(folder / "more.csv", index=False)
    return labeled


def test_test_split_is_stratified_and_complete(tmp_path):
    labeled = own_tables(tmp_path)
    tables = read_tables(DataParams(**OWN), Layout(tmp_path))
    assert tables.is_split
    assert (len(tables.labeled), len(tables.test)) == (40, 10)
    assert tables.test["y"].value_counts().to_dict() == {"b": 8, "a": 2}
    assert sorted(map(int, [*tables.labeled["x"], *tables.test["x"]])) == labeled["x"].tolist()
    assert tables.files == {"labeled": "mine.csv", "unlabeled": "more.csv", "test": "mine.csv"}


def test_split_depends_on_the_seed(tmp_path):
    own_tables(tmp_path)
    first, again, other = (
        read_tables(DataParams(**OWN, random_state=seed), Layout(tmp_path)).test["x"].tolist()
        for seed in (42, 42, 43)
    )
    assert first == again != other


def test_given_test_table_is_used_unchanged(tmp_path):
    own_tables(tmp_path)
    pd.DataFrame({"x": [7], "y": ["a"]}).to_csv(tmp_path / "held_out.csv", index=False)
    tables = read_tables(DataParams(**OWN, test="held_out.csv"), Layout(tmp_path))
    assert not tables.is_split
    assert len(tables.labeled) == 50
    assert tables.test["x"].tolist() == ["7"]


def test_labels_of_unlabeled_rows_are_separated(tmp_path):
    own_tables(tmp_path)
    pd.DataFrame({"x": [1, 2], "y": ["a", None]}).to_csv(tmp_path / "more.csv", index=False)
    tables = read_tables(DataParams(**OWN), Layout(tmp_path))
    assert list(tables.unlabeled) == ["x"]
    assert tables.unlabeled_labels is not None
    assert tables.unlabeled_labels.count() == 1


def test_row_of_a_class_with_one_row_is_a_training_row():
    labeled = pd.DataFrame({"x": range(21), "y": ["a", "b"] * 10 + ["alone"]})
    train, test = split_test(labeled, DataParams(**OWN))
    assert (train["y"] == "alone").sum() == 1
    assert (test["y"] == "alone").sum() == 0


@pytest.mark.parametrize("labels", [list("abcdefgh"), ["a"], [None] * 5, [*"aabbccddee"]])
def test_rejects_too_few_rows(labels: list):
    labeled = pd.DataFrame({"x": range(len(labels)), "y": pd.Series(labels, dtype=object)})
    with pytest.raises(UserError, match=r"^mine\.csv: cannot split off 20% of"):
        split_test(labeled, DataParams(**OWN))


def test_rejects_a_table_without_the_target(tmp_path):
    own_tables(tmp_path)
    with pytest.raises(UserError, match=r"^mine\.csv: no column 'label'.*: x, y"):
        read_tables(DataParams(**{**OWN, "target": "label"}), Layout(tmp_path))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.data(), st.integers(0, 9))
def test_labeled_rows_are_balanced_over_the_classes(labels: list[int], data, seed: int):
    y = np.array(labels)
    n_labeled = data.draw(st.integers(1, len(y)))
    picked = pick_labeled(y, n_labeled, np.random.default_rng(seed))
    assert len(set(picked.tolist())) == n_labeled
    counts = np.bincount(y, minlength=5)
    n_picked = np.bincount(y[picked], minlength=5)
    # Counts differ by at most one, except for classes without more rows.
    is_exhausted = n_picked == counts
    assert (n_picked[~is_exhausted] >= n_picked.max() - 1).all()
