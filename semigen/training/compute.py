"""Device, precision, number of threads and random seeds of torch code."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import torch
from threadpoolctl import threadpool_limits

from semigen.errors import UserError
from semigen.params.config import ComputeParams

MIN_WIDTH_BF16 = 512
MIN_BATCH_BF16 = 256
"""Below this width or batch size, casting costs a CPU about as much as bf16 products save: a VAE
step of width 512 took 0.89 of the fp32 time at batch size 64, 0.54 at 256 and 0.36 at 1024 (one
thread, AVX512-BF16)."""
MIN_WORK_THREADS = 512 * 256
"""Width times batch size below which a step uses one thread. More threads gain little there, and
make the step three times slower if another process uses the cores."""


def resolve_device(compute: ComputeParams) -> torch.device:
    """Return the device to train on; ``auto`` prefers CUDA, then Apple's MPS, then the CPU.

    Raises:
        UserError: If ``compute.device`` is not available.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if compute.device == "auto":
        return torch.device(next(name for name, is_available in available.items() if is_available))
    if not available[compute.device]:
        names = ", ".join(name for name, is_available in available.items() if is_available)
        raise UserError(f"compute.device: {compute.device} is not available; available: {names}")
    return torch.device(compute.device)


def uses_bf16(compute: ComputeParams, device: torch.device, *, width: int, batch_size: int) -> bool:
    """Return whether to train under bf16 autocast.

    The choice depends on the device and the sizes, never on a timing, so that equal runs on one
    machine give equal results.

    Args:
        compute: Precision; ``auto`` uses bf16 where it is faster.
        device: Device to train on.
        width: Width of the widest layer.
        batch_size: Rows of one step.
    """
    if compute.precision != "auto":
        return compute.precision == "bf16"
    if width < MIN_WIDTH_BF16 or batch_size < MIN_BATCH_BF16:
        return False
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and _cpu_has_bf16()


def n_threads(compute: ComputeParams, n_processes: int) -> int:
    """Return ``compute.threads``, by default the cores divided by the processes that share them.

    With all cores in each of two processes, a VAE with batches of 1,024 rows took ten times as long
    on two cores.

    Args:
        compute: Number of threads.
        n_processes: Number of processes of the training on this machine.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return compute.threads or max(1, (cores or 1) // n_processes)


def limit_threads(compute: ComputeParams) -> None:
    """Limit torch to the threads of this process, see ``n_threads``."""
    torch.set_num_threads(n_threads(compute, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


@contextlib.contextmanager
def threads_for(*, width: int, batch_size: int) -> Iterator[None]:
    """Use one thread inside the block if the training steps are small.

    Args:
        width: Width of the widest layer.
        batch_size: Rows of one step.
    """
    before = torch.get_num_threads()
    if width * batch_size < MIN_WORK_THREADS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its children that have ended.

    Budgets count CPU time, because on a busy machine a limit of wall-clock time is reached after
    less work, and the result is another one.
    """
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def one_thread() -> threadpool_limits:
    """Return a context in which the libraries of numpy and scikit-learn use one thread.

    More threads gain nothing on few rows. Beside another process on two cores, they made a
    selection of learners of 25 CPU seconds take 190 s.
    """
    return threadpool_limits(limits=1)


@contextlib.contextmanager
def seeded(*entropy: int) -> Iterator[None]:
    """Seed torch's global generators inside the block and restore them afterwards.

    Args:
        entropy: Integers that determine the seed, such as a seed and an epoch.

    Examples:
        >>> with seeded(1, 0):
        ...     first = torch.rand(1)
        >>> with seeded(1, 0):
        ...     second = torch.rand(1)
        >>> torch.equal(first, second)
        True
    """
    seed = 0
    for number in entropy:
        seed = (seed * 1_000_003 + number) % 2**63
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def _cpu_has_bf16() -> bool:
    capability = torch.backends.cpu.get_cpu_capability()
    return capability.startswith("AVX512") and torch.ops.mkldnn._is_mkldnn_bf16_supported()
