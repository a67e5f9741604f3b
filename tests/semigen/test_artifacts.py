from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from semigen.artifacts import (
    Layout,
    atomic_path,
    check_files,
    make_private_folder,
    read_json,
    write_json,
)
from semigen.errors import UserError
from semigen.params.config import DataParams


def test_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "out" / "file.txt"
    path.parent.mkdir()
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_folder_is_replaced_completely(tmp_path):
    path = tmp_path / "model"
    for content in ("first", "second"):
        with atomic_path(path) as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content)
    assert [p.name for p in path.iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [path]


def test_private_folder_cannot_be_entered_by_others(tmp_path):
    existing = tmp_path / "state"
    existing.mkdir(mode=0o755)
    make_private_folder(existing)
    make_private_folder(existing / "new" / "folder")
    folders = [existing, existing / "new", existing / "new" / "folder"]
    assert [folder.stat().st_mode & 0o777 for folder in folders] == [0o700] * 3


def test_rejects_invalid_json_with_the_file_name(tmp_path):
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match=r"a\.json: not valid JSON"):
        read_json(tmp_path / "a.json")


def test_relative_paths_start_at_the_root(tmp_path):
    layout = Layout(tmp_path)
    assert layout.source("data/x.csv") == tmp_path / "data" / "x.csv"
    assert layout.source(str(tmp_path / "y.csv")) == tmp_path / "y.csv"


def test_missing_tables_are_reported_with_the_parameter(tmp_path):
    layout = Layout(tmp_path)
    check_files(DataParams(), layout)  # written by the sample stage later
    own = DataParams(labeled="l.csv", unlabeled="u.csv")
    (tmp_path / "l.csv").touch()
    with pytest.raises(UserError, match=r"u\.csv: no such file; check data\.unlabeled"):
        check_files(own, layout)
    (tmp_path / "u.csv.dvc").touch()  # tracked by DVC, not pulled yet
    check_files(own, layout)
    with pytest.raises(UserError, match=r"data\.test"):
        check_files(own.model_copy(update={"test": "t.csv"}), layout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the names of descriptors from /proc")
def test_content_is_flushed_before_the_rename_and_the_names_after_it(tmp_path, monkeypatch):
    """Otherwise a power cut may leave the name without the content."""
    calls = []

    def fsync(descriptor):
        calls.append(("fsync", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        real_fsync(descriptor)

    def replace(source, destination):
        calls.append(("rename", Path(destination).name))
        real_replace(source, destination)

    real_fsync, real_replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    with atomic_path(tmp_path / "new" / "model") as temporary:
        temporary.mkdir()
        write_json(temporary / "inner.json", 1)
    inner, *rest = calls
    assert inner == ("rename", "inner.json"), "flushed once, with the folder"
    assert rest[:2] == [("fsync", "inner.json"), ("fsync", "model")]
    assert rest[2:] == [("rename", "model"), ("fsync", "new"), ("fsync", tmp_path.name)]
    calls.clear()
    write_json(tmp_path / "progress.json", 1, durable=False)
    assert calls == [("rename", "progress.json")]
