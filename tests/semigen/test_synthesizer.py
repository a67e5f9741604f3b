from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone

import semigen
from semigen.errors import UserError
from semigen.params.config import PretrainParams
from semigen.params.generators import VAEParams
from semigen.synthesis.apportion import apportion
from semigen.synthesizer import Synthesizer
from tests.semigen.example_tables import TARGET, mixed_table

PARAMS = PretrainParams(vae=VAEParams(latent_dim=3, hidden_dims=(32,), epochs=40, batch_size=32))


@pytest.fixture(scope="module")
def table():
    table = mixed_table(400, missing=0.1)
    table.insert(1, TARGET, table.pop(TARGET))
    table.loc[40:, TARGET] = None
    return table


@pytest.fixture(scope="module")
def fitted(table):
    return Synthesizer("vae", params=PARAMS, seed=1).fit(table, TARGET)


def test_sampled_rows_resemble_the_table(fitted, table):
    rows = fitted.sample(300)
    assert list(rows.columns) == list(table.columns)
    assert set(rows["ward"].dropna()) <= {"north", "south", "west"}
    assert (rows["visits"].dropna() % 1 == 0).all()
    assert 0.02 < rows["weight"].isna().mean() < 0.25  # a tenth of the real cells


def test_sampled_classes_have_the_proportions_and_features_of_the_table(fitted, table):
    rows = fitted.sample(200)
    fraction = (table[TARGET].dropna() == "ill").mean()
    assert (rows[TARGET] == "ill").sum() == pytest.approx(200 * fraction, abs=1)
    weights = rows.groupby(TARGET)["weight"].mean()
    assert weights["ill"] > weights["well"] + 10  # 80 and 60 in truth


def test_samples_the_requested_number_of_each_class(fitted):
    rows = fitted.sample({"well": 7, "ill": 0})
    assert rows[TARGET].tolist() == ["well"] * 7
    assert fitted.sample(0).empty


def test_numeric_labels_are_requested_as_numbers(table):
    numbers = table.assign(**{TARGET: table[TARGET].map({"ill": 1, "well": 0}).astype("Int64")})
    brief = PARAMS.vae.model_copy(update={"epochs": 1})
    model = Synthesizer("vae", params=PretrainParams(vae=brief)).fit(numbers, TARGET)
    assert model.sample({1: 3})[TARGET].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("rows", "words"), [({"dead": 3}, "'dead'; known: ill, well"), ({"ill": -1}, "negative")]
)
def test_rejects_unknown_classes_and_negative_numbers_by_class(fitted, rows, words):
    with pytest.raises(UserError, match=words):
        fitted.sample(rows)


@pytest.mark.parametrize("n", [-5])
def test_rejects_negative_number_of_rows(fitted, n):
    with pytest.raises(UserError, match="negative"):
        fitted.sample(n)


def test_reloaded_synthesizer_gives_the_same_rows(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = semigen.Synthesizer.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.sample(50, seed=3), fitted.sample(50, seed=3))
    assert not loaded.sample(50, seed=4).equals(fitted.sample(50, seed=3))
    rows = mixed_table(10, seed=9)
    np.testing.assert_array_equal(loaded.score(rows), fitted.score(rows))
    np.testing.assert_array_equal(loaded.features(rows), fitted.features(rows))


def test_errors_name_the_column_or_file(table, tmp_path):
    with pytest.raises(UserError, match="'diagnosis' is not in the table: weight, outcome"):
        Synthesizer("vae").fit(table, "diagnosis")
    with pytest.raises(UserError, match="every label is missing"):
        Synthesizer("vae").fit(table.assign(**{TARGET: None}), TARGET)
    with pytest.raises(UserError, match=r"synthesizer\.json"):
        Synthesizer.load(tmp_path)


@given(
    n=st.integers(0, 10_000),
    weights=st.lists(st.integers(0, 1000), min_size=1, max_size=8).filter(any),
)
def test_apportioned_numbers_sum_to_n_and_differ_by_less_than_one(n, weights):
    proportions = np.array(weights) / sum(weights)
    counts = apportion(n, proportions)
    assert counts.sum() == n
    assert (np.abs(counts - n * proportions) < 1 + 1e-6).all()


def test_parameters_are_those_of_scikit_learn(fitted):
    again = clone(fitted)
    assert again.get_params() == fitted.get_params()
    again.set_params(params__vae__epochs=1, generator="gan")
    assert again.params.vae.epochs == 1 and again.params.vae.latent_dim == 3
    assert fitted.params.vae.epochs == 40


def test_load_gives_back_the_synthesizer(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = semigen.load(tmp_path / "model")
    assert type(loaded) is Synthesizer
    assert (loaded.generator, loaded.compute, loaded.seed) == ("vae", None, 1)
    assert loaded.params == fitted.params and loaded.history_ == fitted.history_
    assert loaded.history_.train


def test_verbose_shows_a_progress_bar(table, capsys):
    model = Synthesizer("vae", params=PARAMS, verbose=True).set_params(params__vae__epochs=2)
    model.fit(table, TARGET)
    assert "2/2" in capsys.readouterr().err
