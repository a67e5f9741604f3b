"""Synthetic tables look like the real ones, and copy no value that identifies a row."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from semigen.errors import UserError
from semigen.params.config import PretrainParams, PrivacyParams
from semigen.params.generators import AutoregressiveParams
from semigen.synthesizer import Synthesizer
from semigen.tables.columns import RARE
from tests.semigen.shop_table import COUNTRIES, TARGET, UNIQUE_TEXT, rare_towns, shop_table

PARAMS = PretrainParams(autoregressive=AutoregressiveParams(max_steps=30, class_steps=10, bins=20))


@pytest.fixture(scope="module")
def table():
    return shop_table()


@pytest.fixture(scope="module")
def fitted(table):
    return Synthesizer("autoregressive", params=PARAMS).fit(table, TARGET)


@pytest.fixture(scope="module")
def rows(fitted):
    return fitted.sample(400)


def test_no_identifier_or_unique_text_is_copied(fitted, rows, table):
    for name in ("id", *UNIQUE_TEXT):
        assert name not in rows or not rows[name].isin(table[name]).any(), name
    assert set(fitted.left_out_) == {"email", "note"}
    assert rows["code"].str.fullmatch(r"C-\d{4}").all() and rows["code"].is_unique
    assert rows["id"].is_unique and rows["id"].dtype.kind == "i"


def test_no_rare_value_is_in_a_file_or_a_row(fitted, rows, table, tmp_path):
    fitted.save(tmp_path / "model")
    files = [path for path in (tmp_path / "model").rglob("*") if path.is_file()]
    content = b"".join(path.read_bytes() for path in files)
    secrets = [*rare_towns(table), *table["email"], *table["note"]]
    assert [text for text in secrets if text.encode() in content] == []
    assert set(rows["town"]) == {"north", "south", RARE}


def test_cells_look_as_in_the_table(rows, table):
    kept = [name for name in table.columns if name not in ("email", "note")]
    assert list(rows.columns) == kept
    for name in ("joined", "left"):
        dates = pd.to_datetime(rows[name], format="%d.%m.%Y")
        assert (dates.dt.strftime("%d.%m.%Y") == rows[name]).all()
        assert dates.dt.year.between(2021, 2023).all()
    assert (rows["currency"] == "EUR").all()
    assert np.allclose(rows["spend"], rows["spend"].round(2), atol=1e-12)
    assert set(rows["newsletter"]) == {True, False} and rows["newsletter"].dtype == bool
    assert rows["visits"].dtype.kind in "iu" and set(rows[TARGET]) == {"stays", "leaves"}


def test_rows_are_shuffled(rows):
    changes = (rows[TARGET] != rows[TARGET].shift()).sum()
    assert changes > 50


def test_learned_constraints_hold_in_every_row(fitted, rows):
    assert ("joined", "left") in fitted.constraints_.orders
    joined, left = (pd.to_datetime(rows[name], format="%d.%m.%Y") for name in ("joined", "left"))
    assert (joined <= left).all()
    assert (rows["city"].map(COUNTRIES) == rows["country"]).all()
    assert rows["city"].nunique() == len(COUNTRIES)


def test_conditions_hold_in_every_row(fitted):
    where = {"city": "Oslo", "visits": "4..8", "joined": "01.06.2021..31.12.2022"}
    rows = fitted.sample(60, where=where)
    assert len(rows) == 60 and set(rows["city"]) == {"Oslo"} and rows["visits"].between(4, 8).all()
    joined = pd.to_datetime(rows["joined"], format="%d.%m.%Y")
    assert joined.between(pd.Timestamp("2021-06-01"), pd.Timestamp("2022-12-31")).all()
    assert set(fitted.sample(20, where={TARGET: "stays"})[TARGET]) == {"stays"}
    several = fitted.sample({"stays": 5, "leaves": 9}, where={"city": ["Oslo", "Rome"]})
    assert several[TARGET].value_counts().to_dict() == {"leaves": 9, "stays": 5}
    assert set(several["city"]) <= {"Oslo", "Rome"}


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"email": "x"}, "generates no column 'email'"),
        ({"city": "Bonn"}, "column 'city' has no value 'Bonn'"),
        ({"town": "Hamlet01"}, "column 'town' has no value 'Hamlet01'"),
        ({"visits": "many"}, "takes a number or low..high"),
        ({"visits": 1000}, "no values near 1000"),
        ({"joined": "2021-06-01"}, "takes a number or low..high"),
    ],
)
def test_impossible_conditions_name_the_column(fitted, where, words):
    with pytest.raises(UserError, match=words):
        fitted.sample(5, where=where)


def test_given_constraints_are_checked_and_kept(table):
    rows = table.assign(limit=table["spend"] + 500)[["spend", "limit", "city", TARGET]]
    model = Synthesizer("vae", constraints=["spend <= limit"]).set_params(params__vae__epochs=1)
    assert ("spend", "limit") in model.fit(rows, TARGET).constraints_.orders
    sampled = model.sample(100)
    assert (sampled["spend"] <= sampled["limit"]).all()
    model.set_params(constraints=["limit <= spend"])
    with pytest.raises(UserError, match="300 of 300 rows violate"):
        model.fit(rows, TARGET)


def test_leak_check_finds_copied_rows(table, fitted):
    fitted.sample(400)
    assert fitted.leaks_.passed
    leaked = fitted.check_leaks(table, table[fitted.columns_])
    assert not leaked.passed and "15 of 15 in column 'town'" in leaked.problem


def test_failed_leak_check_returns_no_row(table, fitted, monkeypatch):
    monkeypatch.setattr(fitted.encoder_, "inverse_transform", lambda x: table.head(len(x)))
    monkeypatch.setattr(fitted, "formats_", {"town": fitted.formats_["town"]})
    monkeypatch.setattr(fitted, "columns_", ["town", TARGET])
    monkeypatch.setattr(fitted, "constraints_", type(fitted.constraints_)())
    with pytest.raises(UserError, match=r"rare values of the real rows .* in column 'town'"):
        fitted.sample(50)
    monkeypatch.setattr(fitted, "privacy", PrivacyParams(allow_leaks=True))
    assert len(fitted.sample(50)) == 50 and not fitted.leaks_.passed


def test_reloaded_synthesizer_keeps_formats_and_constraints(table, tmp_path):
    model = Synthesizer("vae").set_params(params__vae__epochs=1).fit(table, TARGET)
    model.save(tmp_path / "model")
    loaded = Synthesizer.load(tmp_path / "model")
    expected = model.sample(40, seed=5, where={"city": "Oslo"})
    pd.testing.assert_frame_equal(loaded.sample(40, seed=5, where={"city": "Oslo"}), expected)
    assert loaded.leaks_ is None and loaded.check_leaks(table, expected).passed
