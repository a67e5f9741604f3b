"""Environment and processes of the fits that benchmarks compare."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from semigen.artifacts import write_text

ROOT = Path(__file__).resolve().parents[1]
PINNED_PEERS = Path(__file__).with_name("peers.txt")
SECONDS_BETWEEN_LINES = 60.0


def peers_python(environment: Path) -> Path:
    """Return the Python of the peers' environment; create it if ``peers.txt`` has changed."""
    python, stamp = environment.absolute() / "bin" / "python", environment / "peers.txt"
    pinned = PINNED_PEERS.read_text(encoding="utf-8")
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != pinned:
        print(f"  installing the peers into {environment}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        install = [str(python), "-m", "pip", "install", "-qq", "-r", str(PINNED_PEERS)]
        subprocess.run(install, check=True)
        write_text(stamp, pinned)
    return python


def run_with_threads(program: Sequence[str], n_threads: int) -> None:
    """Run a program, and print the elapsed time every minute.

    Raises:
        SystemExit: If it fails.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LOKY_MAX_CPU_COUNT")
    environment = os.environ | dict.fromkeys(names, str(n_threads))
    program = [*program, "--threads", str(n_threads)]
    started = time.perf_counter()
    with subprocess.Popen(program, cwd=ROOT, env=environment) as process:
        try:
            while process.poll() is None:
                try:
                    process.wait(SECONDS_BETWEEN_LINES)
                except subprocess.TimeoutExpired:
                    print(f"  {(time.perf_counter() - started) / 60:.0f} min", flush=True)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise SystemExit(f"a fit failed with status {process.returncode}: {' '.join(program)}")
