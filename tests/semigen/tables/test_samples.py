from __future__ import annotations

import pandas as pd
import pytest
from sklearn.datasets import load_digits

from semigen.errors import UserError
from semigen.params.config import SampleParams
from semigen.tables.samples import LOADERS, TARGET, cut_sample, load_sample


@pytest.mark.parametrize("name", LOADERS)
def test_parts_are_a_partition(name: str):
    whole = load_sample(name)
    parts = cut_sample(SampleParams(dataset=name, n_labeled=30), seed=0)
    features = [column for column in whole if column != TARGET]
    stacked = pd.concat([part[features] for part in parts.values()])
    order = {"by": features, "ignore_index": True}
    pd.testing.assert_frame_equal(
        stacked.sort_values(**order), whole[features].sort_values(**order)
    )
    assert [len(parts["labeled"]), len(parts["test"])] == [30, round(0.2 * len(whole) + 0.4999)]
    assert TARGET not in parts["unlabeled"]
    counts = parts["labeled"][TARGET].value_counts()
    assert counts.max() - counts.min() <= 1


def test_rows_keep_their_labels():
    digits = load_digits()
    part = cut_sample(SampleParams(), seed=3)["test"]
    known = {row.tobytes(): label for row, label in zip(digits.data, digits.target, strict=True)}
    features = part.drop(columns=TARGET).to_numpy()
    assert [known[row.tobytes()] for row in features] == part[TARGET].tolist()


def test_parts_depend_on_the_seed():
    first, again, other = (cut_sample(SampleParams(), seed)["labeled"] for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)


def test_rejects_more_labels_than_rows():
    with pytest.raises(
        UserError, match=r"sample\.n_labeled: wine has 142 .* at most 141.* not 150"
    ):
        cut_sample(SampleParams(dataset="wine", n_labeled=150), seed=0)
