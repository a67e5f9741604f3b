from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from semigen.training.code_digest import PACKAGE, TRAINING, digest_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "generators"
    (path / "parts").mkdir(parents=True)
    (path / "loss.py").write_text("BETA = 1.0\n")
    (path / "parts" / "decoder.py").write_text("WIDTH = 2\n")
    return path


@pytest.mark.parametrize("name", ["loss.py", "parts/decoder.py", "new.py"])
def test_digest_changes_with_every_source_file(folder, name):
    before = digest_of([folder])
    with (folder / name).open("a") as file:
        file.write("BETA = 2.0\n")
    assert digest_of([folder]) != before


def test_digest_changes_if_code_moves_to_another_file(folder):
    before = digest_of([folder])
    (folder / "loss.py").rename(folder / "other.py")
    assert digest_of([folder]) != before


def test_digest_does_not_depend_on_the_place_or_on_compiled_files(folder, tmp_path):
    before = digest_of([folder])
    copy = shutil.copytree(folder, tmp_path / "elsewhere" / "generators")
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__" / "loss.cpython-311.pyc").write_bytes(b"compiled")
    assert digest_of([copy]) == before


def test_packages_of_the_training_code_exist():
    assert all((PACKAGE / name / "__init__.py").exists() for name in TRAINING)
