"""A file system on a slow disk: an image file whose writes the kernel's block layer throttles.

It needs root, a loop device and the ``blkio`` controller of cgroup v1.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

LIMIT = Path("/sys/fs/cgroup/blkio/blkio.throttle.write_iops_device")
SIZE = 3 * 2**30
"""Size of the image in bytes; it is sparse."""


@contextlib.contextmanager
def slow_disk(folder: Path, writes_per_second: int) -> Iterator[Path]:
    """Yield an empty folder on a slow disk, which is removed afterwards.

    Args:
        folder: Existing folder for the image and the mount point.
        writes_per_second: Maximum number of writes. An fsync of a small file takes about six.
    """
    image, point = folder / "disk.img", folder / "disk"
    with image.open("wb") as file:
        file.truncate(SIZE)
    point.mkdir()
    _run("mkfs.ext4", "-q", "-F", str(image))
    _run("mount", "-o", "loop", str(image), str(point))
    try:
        device = Path(_run("findmnt", "--noheadings", "--output", "SOURCE", str(point)))
        number = (Path("/sys/block") / device.name / "dev").read_text().strip()
        LIMIT.write_text(f"{number} {writes_per_second}")
        try:
            yield point
        finally:
            LIMIT.write_text(f"{number} 0")  # no limit
    finally:
        _run("umount", "--lazy", str(point))  # killed processes may still use it


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()
