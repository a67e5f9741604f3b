"""Errors of the machine end in one line."""

from __future__ import annotations

import resource
import subprocess
import sys

import numpy as np
import pytest
import torch

from semigen.classifiers.classifier import Classifier, Member
from semigen.cli.main import main
from semigen.errors import describe_system_error
from tests.semigen.example_tables import encoder_of, mixed_table
from tests.small_disk import small_disk

PREDICT = (sys.executable, "-m", "semigen.cli", "predict", "--input")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with a small classifier of ``mixed_table``."""
    from sklearn.naive_bayes import GaussianNB

    table = mixed_table(60)
    encoder = encoder_of(table)
    y = encoder.schema.encode_labels(table["outcome"])
    estimator = GaussianNB().fit(encoder.transform(table), y)
    folder = tmp_path_factory.mktemp("models") / "classifier"
    Classifier(encoder, (Member("bayes", estimator, "encoded", 1.0),)).save(folder)
    return folder


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_prediction_on_a_full_disk_is_one_line_and_leaves_nothing(model, tmp_path, capsys, suffix):
    disk = tmp_path / "disk"
    disk.mkdir()
    mixed_table(3000).to_csv(tmp_path / "new.csv", index=False)
    with small_disk(disk):
        output = disk / f"predictions{suffix}"
        arguments = ["--input", str(tmp_path / "new.csv"), "--output", str(output)]
        assert main(["predict", *arguments, "--model", str(model)]) == 1
        error = capsys.readouterr().err
        assert list(disk.iterdir()) == []
    assert "No space left on device" in error
    assert error.count("\n") == 1


def test_file_that_may_not_be_written_is_one_line(model, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    mixed_table(5).to_csv(tmp_path / "new.csv", index=False)
    output = tmp_path / "file" / "predictions.csv"  # below a file
    arguments = ["--input", str(tmp_path / "new.csv"), "--output", str(output)]
    assert main(["predict", *arguments, "--model", str(model)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(tmp_path / "file") in error


def allocate(kind: str) -> None:
    if kind == "numpy":
        np.ones(1 << 50)
    elif kind == "torch":
        torch.ones(1 << 50)
    else:
        raise MemoryError


@pytest.mark.parametrize("kind", ["numpy", "torch", "python"])
def test_too_little_memory_is_one_line(kind):
    with pytest.raises((MemoryError, RuntimeError)) as raised:
        allocate(kind)
    assert str(describe_system_error(raised.value)).startswith("out of memory; ")


def test_mistakes_of_the_program_keep_their_traceback():
    assert describe_system_error(KeyError("x")) is None
    assert describe_system_error(ValueError("x")) is None


@pytest.mark.slow
def test_prediction_with_little_address_space_ends_in_one_line_or_completes(model, tmp_path):
    mixed_table(20_000).to_csv(tmp_path / "new.csv", index=False)
    for limit_gb, is_enough in ((8.0, True), (0.8, False)):
        limit = int(limit_gb * 1e9)
        done = subprocess.run(
            [*PREDICT, "new.csv", "--output", f"{limit_gb}.csv", "--model", str(model)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),  # noqa: B023
        )
        assert (done.returncode == 0) == is_enough, done.stderr
        assert is_enough or done.stderr.count("\n") == 1, done.stderr
        assert (tmp_path / f"{limit_gb}.csv").exists() == is_enough
