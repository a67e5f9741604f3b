from __future__ import annotations

import json

import pandas as pd
import pytest

import semigen.synthesizer
from semigen.cli.main import main
from semigen.cli.synthesize import synthesize_table
from semigen.errors import UserError
from semigen.synthesizer import Synthesizer
from tests.semigen.example_tables import TARGET, mixed_table
from tests.semigen.shop_table import shop_table


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "real.csv"
    mixed_table(120).to_csv(path, index=False)
    return path


def test_command_writes_rows_and_keeps_the_model(source, tmp_path, capsys):
    output, model = tmp_path / "new.parquet", tmp_path / "model"
    arguments = ["--input", source, "--output", output, "--target", TARGET, "--model", model]
    status = main(
        ["synthesize", *map(str, arguments), "--rows", "30", "--generator", "vae", "--seed", "2"]
    )
    assert status == 0
    rows = pd.read_parquet(output)
    assert list(rows.columns) == list(pd.read_csv(source).columns)
    again = Synthesizer.load(model).sample(30, seed=2)
    pd.testing.assert_frame_equal(rows, again, check_dtype=False)  # Parquet has no `object`
    printed = capsys.readouterr().out
    assert "30 synthetic rows of 120 real ones (vae)" in printed and "leak check passed" in printed
    assert json.loads((tmp_path / "new.leaks.json").read_text())["passed"] is True


def test_rows_fit_the_conditions_and_the_rest_is_named(tmp_path, capsys):
    shop_table(200).to_csv(tmp_path / "real.csv", index=False)
    arguments = ["--input", tmp_path / "real.csv", "--output", tmp_path / "new.csv"]
    options = ["--target", "churn", "--rows", "20", "--generator", "vae"]
    conditions = ["--where", "city=Oslo", "--where", "visits=4..8", "--constraint", "city,country"]
    status = main(["synthesize", *map(str, arguments), *options, *conditions])
    assert status == 0
    rows = pd.read_csv(tmp_path / "new.csv")
    assert set(rows["country"]) == {"Norway"} and rows["visits"].between(4, 8).all()
    assert "column 'email' is left out: 200 distinct values" in capsys.readouterr().out


def test_failed_leak_check_writes_no_table(source, tmp_path, monkeypatch, capsys):
    # A model that copies: the rare ward of the real table comes back.
    table = pd.read_csv(source)
    table.loc[0, "ward"] = "attic"
    table.to_csv(source, index=False)
    monkeypatch.setattr(semigen.synthesizer, "restore", lambda rows, *_: rows.assign(ward="attic"))
    output = tmp_path / "new.csv"
    command = ["synthesize", "--input", str(source), "--output", str(output), "--target", TARGET]
    assert main([*command, "--generator", "vae"]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "1 of 1 in column 'ward'" in error and "--allow-leaks" in error
    assert not output.exists()
    assert json.loads((tmp_path / "new.leaks.json").read_text())["passed"] is False
    assert main([*command, "--generator", "vae", "--allow-leaks"]) == 0 and output.exists()


def test_mistakes_name_the_file(source, tmp_path, capsys):
    with pytest.raises(UserError, match=r"real\.csv: column 'label' is not in the table"):
        synthesize_table(source, tmp_path / "new.csv", "label", generator="vae")
    with pytest.raises(UserError, match="--rows must not be negative, not -1"):
        synthesize_table(source, tmp_path / "new.csv", TARGET, generator="vae", n_rows=-1)
    assert not (tmp_path / "new.csv").exists()
