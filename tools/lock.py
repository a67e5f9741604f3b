"""Requirement files with hashes, for ``pip install --require-hashes``.

``deploy/requirements.txt`` has everything but torch. ``deploy/torch.txt`` has torch as the package
index publishes it, on Linux with its CUDA libraries. ``deploy/torch-cpu.txt``, with PyTorch's CPU
build, is edited by hand: its files are not on the package index.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
OF_TORCH = re.compile(r"(torch|triton|nvidia-[\w-]+|cuda-[\w-]+)==")
HEAD = "# Made by `make lock`. docs/how-to/supply-chain.md tells how to install from this file.\n"


def main(arguments: list[str] | None = None) -> int:
    """Write the files; return 1 if ``uv`` is not installed."""
    parser = argparse.ArgumentParser(prog="python -m tools.lock", description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "deploy", help="Folder of the files.")
    folder = parser.parse_args(arguments).output
    if (uv := shutil.which("uv")) is None:
        print("error: `make lock` needs uv (https://docs.astral.sh/uv)", file=sys.stderr)
        return 1
    packages = split(_compile(uv))
    of_torch = [text for text in packages if OF_TORCH.match(text)]
    others = [text for text in packages if not OF_TORCH.match(text)]
    for name, texts in (("requirements.txt", others), ("torch.txt", of_torch)):
        (folder / name).write_text(HEAD + "".join(texts), encoding="utf-8")
    return 0


def split(lock: str) -> list[str]:
    r"""Return the text of each package: its line, and the indented lines with its hashes.

    Args:
        lock: Output of ``uv pip compile``.

    Examples:
        >>> split("# head\na==1 \\\n    --hash=sha256:0\nb==2\n")
        ['a==1 \\\n    --hash=sha256:0\n', 'b==2\n']
    """
    return re.findall(r"^\w.*\n(?:[ \t].*\n)*", lock, re.M)


def _compile(uv: str) -> str:
    command = [uv, "pip", "compile", "--quiet", "--universal", "--python-version=3.11"]
    options = ["--generate-hashes", "--no-annotate", "--constraints=constraints.txt"]
    extras = ["--extra=pipeline", "--extra=s3", "--extra=excel", "pyproject.toml"]
    done = subprocess.run(
        [*command, *options, *extras], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
