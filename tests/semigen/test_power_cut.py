"""Files that are written atomically survive a power cut, complete.

The files are on an ext4 file system in an image file. A copy of the image has what a power cut at
that moment would leave: what the file system has sent to the disk. The mount option makes ext4
behave as XFS and other file systems do, which do not flush a file before its rename.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from semigen.artifacts import atomic_path, write_json, write_text
from semigen.registry.registry import Registry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
SIZE = 16 * 2**20


class Disk:
    """A mounted file system whose power can be cut.

    Attributes:
        root: Mount point.
        cuts: Copies of the image, each from one power cut.
    """

    def __init__(self, folder: Path) -> None:
        self.image, self.root, self.cuts = folder / "disk.img", folder / "disk", []
        self.root.mkdir()
        with self.image.open("wb") as file:
            file.truncate(SIZE)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self.image)], check=True)

    def cut(self) -> None:
        """Copy the image after ext4 has committed its journal, as it does every five seconds."""
        descriptor = os.open(self.root / "other", os.O_CREAT | os.O_WRONLY)
        os.write(descriptor, b"x")
        REAL["fsync"](descriptor)
        os.close(descriptor)
        self.cuts.append(self.image.with_name(f"cut{len(self.cuts)}.img"))
        shutil.copyfile(self.image, self.cuts[-1])


REAL = {"fsync": os.fsync, "replace": os.replace}


def mount(image: Path, point: Path) -> bool:
    point.mkdir(exist_ok=True)
    command = ["mount", "-o", "loop,noauto_da_alloc", str(image), str(point)]
    return subprocess.run(command, capture_output=True).returncode == 0


def unmount(point: Path) -> None:
    subprocess.run(["umount", str(point)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("needs mkfs.ext4")
    found = Disk(tmp_path)
    if not mount(found.image, found.root):
        pytest.skip("no file system can be mounted here")
    yield found
    unmount(found.root)


def states(
    disk: Disk,
    act: Callable[[], object],
    read: Callable[[Path], object],
    monkeypatch: pytest.MonkeyPatch,
) -> list[object]:
    """Return what is found after power cuts before each flush and rename, and after the end."""

    def cutting(name: str) -> Callable[..., None]:
        def call(*arguments: object, **options: object) -> None:
            disk.cut()
            REAL[name](*arguments, **options)

        return call

    subprocess.run(["sync", "--file-system", str(disk.root)], check=True)
    for name in REAL:
        monkeypatch.setattr(os, name, cutting(name))
    act()
    monkeypatch.undo()
    disk.cut()
    found, point = [], disk.root.with_name("after")
    for image in disk.cuts:
        assert mount(image, point)
        try:
            found.append(read(point))
        finally:
            unmount(point)
    return found


def check(found: list[object], before: object, after: object) -> None:
    assert set(map(str, found)) <= {str(before), str(after), str(None)}
    assert found[0] == before
    assert found[-1] == after, "lost although the call had returned"


def test_file_is_complete(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    path = disk.root / "a.txt"
    path.write_text("old" * 1000)
    found = states(
        disk,
        lambda: write_text(path, "new" * 1000),
        lambda root: (root / "a.txt").read_text(),
        monkeypatch,
    )
    check(found, "old" * 1000, "new" * 1000)
    assert None not in found


def test_file_in_a_new_folder_is_complete(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(root: Path) -> object:
        path = root / "a" / "b" / "c.json"
        return path.read_text() if path.exists() else None

    path = disk.root / "a" / "b" / "c.json"
    found = states(disk, lambda: write_json(path, [1] * 100), read, monkeypatch)
    check(found, None, path.read_text())


def test_folder_is_complete_or_absent(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(content: str) -> None:
        with atomic_path(disk.root / "model") as folder:
            for name in ("a", "b/c"):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(content)
            write_json(folder / "facts.json", content)

    def read(root: Path) -> object:
        folder = root / "model"
        files = (path for path in folder.rglob("*") if path.is_file())
        found = {path.relative_to(folder).as_posix(): path.read_text() for path in files}
        return found or None

    write("old")
    before = read(disk.root)
    found = states(disk, lambda: write("new"), read, monkeypatch)
    check(found, before, read(disk.root))


def test_promotion_is_complete(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The champion and all files of its version are there, at any moment."""
    registry = Registry(disk.root / "registry")

    def add(content: str) -> None:
        folder = disk.root / "classifier"
        folder.mkdir(exist_ok=True)
        (folder / "classifier.json").write_text(content)
        with registry.staged(folder) as staged:
            registry.add(staged, {}, promoted=True, trigger="test", reason="so")

    def read(root: Path) -> object:
        champion = Registry(root / "registry").champion()
        assert champion is not None
        return champion.name, (champion.classifier / "classifier.json").read_text()

    add("one" * 1000)
    found = states(disk, lambda: add("two" * 1000), read, monkeypatch)
    check(found, ("v0001", "one" * 1000), ("v0002", "two" * 1000))
    assert None not in found
