"""Attacks of a hurried user on paths: no output replaces anything but an earlier output."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from semigen.artifacts import atomic_path, write_text
from semigen.cli.main import main
from semigen.errors import UserError
from semigen.outputs import check_output_file, check_output_folder
from semigen.params.config import PretrainParams
from semigen.params.generators import VAEParams
from semigen.synthesizer import MARKER, Synthesizer
from tests.semigen.example_tables import TARGET, mixed_table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file that must survive."""
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "precious.txt").write_text("precious")
    return tmp_path / "results"


def test_folder_is_never_replaced_by_a_file(folder: Path) -> None:
    with pytest.raises(UserError, match="a folder, which is never replaced"):
        check_output_file(folder, overwrite=True)
    with pytest.raises(UserError, match="a folder, which no file replaces"):
        write_text(folder, "text")
    assert (folder / "precious.txt").read_text() == "precious"
    assert [path.name for path in folder.parent.iterdir()] == ["results"]


def test_folder_replaces_a_folder(folder: Path) -> None:
    with atomic_path(folder) as temporary:
        temporary.mkdir()
    assert list(folder.iterdir()) == []


def test_link_and_device_are_refused(folder: Path) -> None:
    link = folder / "link.csv"
    link.symlink_to(folder / "precious.txt")
    with pytest.raises(UserError, match="a link, which is never replaced"):
        check_output_file(link, overwrite=True)
    with pytest.raises(UserError, match="a device, which is never replaced"):
        check_output_file(Path("/dev/null"), overwrite=True)
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(UserError, match="a device"):
        check_output_file(pipe, overwrite=True)


def test_existing_file_needs_permission(folder: Path) -> None:
    file = folder / "precious.txt"
    with pytest.raises(UserError, match=r"exists already; .* --force"):
        check_output_file(file)
    check_output_file(file, overwrite=True)
    check_output_file(folder / "new.csv")


def test_input_is_never_the_output(folder: Path) -> None:
    file = folder / "precious.txt"
    other = folder / "other-name.txt"
    other.hardlink_to(file)
    for source in (file, other):
        with pytest.raises(UserError, match="both input and output"):
            check_output_file(file, inputs=[source], overwrite=True)


def test_folder_of_other_files_is_no_model_folder(folder: Path) -> None:
    with pytest.raises(UserError, match=r"holds other files \(precious\.txt\) and no m\.json"):
        check_output_folder(folder, "m.json")
    with pytest.raises(UserError, match="a file, which is never replaced"):
        check_output_folder(folder / "precious.txt", "m.json")
    (folder / "m.json").write_text("{}")
    check_output_folder(folder, "m.json")
    check_output_folder(folder / "new", "m.json")


@pytest.fixture(scope="module")
def synthesizer() -> Synthesizer:
    params = PretrainParams(vae=VAEParams(latent_dim=2, hidden_dims=(8,), epochs=1))
    return Synthesizer("vae", seed=0, params=params).fit(mixed_table(60), TARGET)


def test_saving_over_a_folder_of_models_erases_nothing(
    synthesizer: Synthesizer, folder: Path
) -> None:
    with pytest.raises(UserError, match=f"no {MARKER}"):
        synthesizer.save(folder)
    assert (folder / "precious.txt").exists()
    for _ in range(2):  # a second time over the first
        synthesizer.save(folder / "synthesizer")


def test_predict_refuses_before_it_reads_anything(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = folder / "new.csv"
    pd.DataFrame({"a": [1]}).to_csv(table, index=False)
    for output, reason in ((folder, "a folder"), (table, "both input and output")):
        options = ["--input", str(table), "--output", str(output), "--model", "nowhere", "--force"]
        assert main(["predict", *options]) == 1
        assert reason in capsys.readouterr().err
    assert pd.read_csv(table)["a"].tolist() == [1]


@pytest.mark.parametrize("name", ["rows.xlsx", "rows.jsonl.gz", "rows.feather"])
def test_formats_that_are_only_read_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="are only read; write CSV or Parquet"):
        check_output_file(tmp_path / name)
