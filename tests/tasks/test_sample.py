from __future__ import annotations

import pandas as pd
import pytest

from semigen.artifacts import Layout
from semigen.errors import UserError
from semigen.params.config import DataParams, Params, SampleParams
from semigen.tables.samples import cut_sample
from semigen.tables.splits import read_tables
from tasks import sample

PARTS = ("labeled", "unlabeled", "test")


def test_writes_the_tables_that_data_reads_by_default(tmp_path, capsys):
    params = Params(sample=SampleParams(dataset="wine", n_labeled=12))
    sample.run(params, Layout(tmp_path))
    tables = read_tables(DataParams(), Layout(tmp_path))
    for part, expected in cut_sample(params.sample, params.seed).items():
        read = getattr(tables, part).astype(expected.dtypes)  # cells are read as text
        pd.testing.assert_frame_equal(read, expected)
    assert "data/samples/labeled.csv: 12 rows" in capsys.readouterr().out


def test_equal_seeds_give_equal_bytes(tmp_path):
    for folder in ("a", "b"):
        sample.run(Params(), Layout(tmp_path / folder))
    for part in PARTS:
        first, second = (Layout(tmp_path / folder).sample(part) for folder in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()


def test_failed_sample_keeps_the_old_tables(tmp_path):
    layout = Layout(tmp_path)
    sample.run(Params(), layout)
    before = [layout.sample(part).read_bytes() for part in PARTS]
    too_many = Params(sample=SampleParams(n_labeled=10_000))
    with pytest.raises(UserError, match="at most 1436 can be labeled, not 10000"):
        sample.run(too_many, layout)
    assert [layout.sample(part).read_bytes() for part in PARTS] == before
