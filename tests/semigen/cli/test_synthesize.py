from __future__ import annotations

import pandas as pd
import pytest

from semigen.cli.main import main
from semigen.cli.synthesize import synthesize_table
from semigen.errors import UserError
from semigen.synthesizer import Synthesizer
from tests.semigen.example_tables import TARGET, mixed_table


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
    assert "30 synthetic rows of 120 real ones (vae)" in capsys.readouterr().out


def test_mistakes_name_the_file(source, tmp_path, capsys):
    with pytest.raises(UserError, match=r"real\.csv: column 'label' is not in the table"):
        synthesize_table(source, tmp_path / "new.csv", "label", generator="vae")
    with pytest.raises(UserError, match="--rows must not be negative, not -1"):
        synthesize_table(source, tmp_path / "new.csv", TARGET, generator="vae", n_rows=-1)
    assert not (tmp_path / "new.csv").exists()
