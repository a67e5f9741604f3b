"""Evaluation of copies of real rows, and of independent rows, by the stage ``augment``."""

import json

import numpy as np
import pandas as pd
import pytest

from semigen.artifacts import Layout, read_json
from semigen.evaluation.estimates import to_json
from semigen.params.config import Params, PrivacyParams
from semigen.report.summary import leaks_text
from semigen.tables.encoding import Encoded, TableEncoder
from semigen.tables.schema import TableSchema
from tasks.augment import MAX_ROWS_COMPARED, evaluate_distances, run
from tests.semigen.example_tables import TARGET, encoder_of, mixed_table

N_HELD_OUT = 60


@pytest.fixture(scope="module")
def real():
    """Return a table, its encoder, and the indices of the held-out rows."""
    table = mixed_table(600, seed=0, missing=0.05)
    held_out = np.sort(np.random.default_rng(1).choice(600, N_HELD_OUT, replace=False))
    return table.drop(columns=TARGET), encoder_of(table), held_out


def features(n_rows, seed):
    return mixed_table(n_rows, seed, missing=0.05).drop(columns=TARGET)


def evaluate(real, synthetic, n_held_out=N_HELD_OUT, seed=0):
    table, encoder, held_out = real
    x = encoder.transform(table)
    found = evaluate_distances(encoder, synthetic, x, held_out[:n_held_out], seed)
    return {name: figures and to_json(figures) for name, figures in found.items()}


def test_copies_of_training_rows_are_a_leak(real):
    table, _, held_out = real
    found = evaluate(real, table.drop(index=held_out))
    assert found["privacy"]["closest_record"]["copies_share"] == 1
    assert all(attack["low"] > 0.5 for attack in found["privacy"]["attacks"].values())
    assert found["diversity"]["precision"] > 0.99
    assert (found["privacy"]["n_members"], found["privacy"]["n_held_out"]) == (540, N_HELD_OUT)


def test_new_rows_of_the_same_distribution_are_no_leak(real):
    found = evaluate(real, features(500, 2))
    for attack in found["privacy"]["attacks"].values():
        assert attack["low"] <= 0.5 <= attack["high"]
    # The expectation is 1 - 2 ** -5 = 0.969; its standard error with 500 rows is below 0.01.
    assert 0.93 < found["diversity"]["coverage"] <= 1
    assert found["diversity"]["n_real"] == found["diversity"]["n_synthetic"] == 500


def test_same_seed_gives_the_same_json(real):
    results = (evaluate(real, features(100, 3), seed=4) for _ in range(2))
    first, second = (json.dumps(result, allow_nan=False) for result in results)
    assert first == second


def test_at_most_max_rows_compared_rows_are_compared(real, monkeypatch):
    assert MAX_ROWS_COMPARED >= 1000
    monkeypatch.setattr("tasks.augment.MAX_ROWS_COMPARED", 50)
    found = evaluate(real, features(200, 5))
    assert found["diversity"]["n_real"] == found["diversity"]["n_synthetic"] == 50
    assert [found["privacy"][n] for n in ("n_synthetic", "n_members", "n_held_out")] == [50] * 3


@pytest.mark.parametrize(
    ("n_synthetic", "n_held_out", "measured"),
    [(0, 60, []), (1, 60, ["privacy"]), (30, 3, ["diversity"]), (30, 0, ["diversity"])],
)
def test_figures_are_none_if_there_are_too_few_rows(real, n_synthetic, n_held_out, measured):
    found = evaluate(real, features(40, 6).head(n_synthetic), n_held_out)
    assert [name for name, figures in found.items() if figures] == measured


class Copying:
    """A generator that has memorized its training rows."""

    def __init__(self, x, y):
        self.x, self.y, self.n_features = x, y, x.shape[1]

    def sample(self, y, seed):
        rng = np.random.default_rng(seed)
        training = np.flatnonzero(np.arange(len(self.x)) % 5 > 0)
        return self.x[[rng.choice(training[self.y[training] == label]) for label in y]]

    def held_out(self, y):
        return np.arange(0, len(y), 5)


@pytest.fixture
def project(tmp_path):
    """Return the files that the stage reads, and the rows of the generator."""
    layout = Layout(tmp_path)
    table = mixed_table(300, seed=3)
    schema = TableSchema.infer(table, table[:0], TARGET, min_rows=5)
    encoder = TableEncoder(schema).fit(table)
    y = encoder.schema.encode_labels(table[TARGET])
    x = encoder.transform(table)
    parts = {"labeled": slice(0, 100), "unlabeled": slice(100, None)}
    for part, rows in parts.items():
        for path in (layout.prepared(part), layout.encoded(part)):
            path.parent.mkdir(parents=True, exist_ok=True)
        encoder.schema.coerce(table[rows]).to_parquet(layout.prepared(part))
        labels = y[rows] if part == "labeled" else np.full(200, -1)
        Encoded(x[rows], labels).save(layout.encoded(part))
    encoder.save(layout.encoder)
    return layout, Copying(x, y)


def test_synthetic_table_of_copies_is_not_written(project, monkeypatch, capsys):
    layout, generator = project
    monkeypatch.setattr("tasks.augment.load_generator", lambda _: generator)
    run(Params(), layout)
    warning = capsys.readouterr().out.splitlines()[-1]
    assert "warning: rare values of the real rows are in the synthetic rows" in warning
    assert "data/synthetic/synthetic.csv has no row" in warning
    assert pd.read_csv(layout.synthetic_table).empty
    assert len(Encoded.load(layout.synthetic_encoded).x) > 900
    found = read_json(layout.fidelity)
    assert found["is_written"] is False and found["leaks"]["passed"] is False
    assert "Rare values leaked" in leaks_text(found) and "has no row" in leaks_text(found)

    run(Params(privacy=PrivacyParams(allow_leaks=True)), layout)
    assert "has them all the same" in capsys.readouterr().out
    rows = pd.read_csv(layout.synthetic_table)
    assert len(rows) > 900 and (rows[TARGET] != rows[TARGET].shift()).sum() > 100
