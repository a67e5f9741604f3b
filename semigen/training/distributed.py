"""Data-parallel training in several processes, one GPU each, with ``torch.distributed``.

Every process holds a copy of the network and handles a part of each batch; gradients are averaged.
``launch`` starts the processes on one machine; ``torchrun -m tasks STAGE`` also starts them on
several hosts. In a single process these functions do nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from semigen.errors import UserError
from semigen.params.config import ComputeParams, Params
from semigen.training.compute import n_threads

STORE_VARIABLE = "SEMIGEN_PROCESS_GROUP_FILE"
"""Environment variable with the path of the file through which the processes rendezvous."""
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
"""Processes of one machine communicate over the loopback interface."""
POLL_SECONDS = 0.1


def n_processes() -> int:
    """Return the number of processes of this training (``WORLD_SIZE``)."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Return the rank of this process; the process of rank 0 writes the files."""
    return int(os.environ.get("RANK", "0"))


def join(device: torch.device) -> None:
    """Initialize the process group once; on CUDA, use the GPU of the local rank."""
    if n_processes() == 1 or dist.is_initialized():
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    store = os.environ.get(STORE_VARIABLE)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=f"file://{store}" if store else "env://",
        rank=rank(),
        world_size=n_processes(),
    )


def own_share(rows: Tensor) -> Tensor:
    """Return the rows of a batch that this process handles.

    Args:
        rows: Row numbers of the batch, shape ``(n,)``.

    Returns:
        Every ``n_processes()``-th row number; the parts differ by at most one row.
    """
    return rows[rank() :: n_processes()]


def average_gradients(parameters: Sequence[torch.nn.Parameter], weight: float) -> None:
    """Replace gradients by their weighted sum over the processes.

    Args:
        parameters: Parameters, in the same order in every process.
        weight: Fraction of the batch that this process handled; the fractions sum to 1.
    """
    if n_processes() == 1:
        return
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    flat = torch.cat([gradient.flatten() for gradient in gradients]) * weight
    dist.all_reduce(flat)
    for parameter, part in zip(parameters, flat.split([g.numel() for g in gradients]), strict=True):
        parameter.grad = part.view_as(parameter)


def summed(value: Tensor) -> Tensor:
    """Return the sum of a tensor over the processes."""
    if n_processes() > 1:
        dist.all_reduce(value)
    return value


def decided_by_first(value: float, device: torch.device) -> float:
    """Return the value of rank 0, so that all processes take the same decision."""
    if n_processes() == 1:
        return value
    tensor = torch.tensor(value, dtype=torch.float64, device=device)
    dist.broadcast(tensor, 0)
    return float(tensor)


def wait_for_all() -> None:
    """Wait until every process has called this function."""
    if n_processes() > 1:
        dist.barrier()


def processes_wanted(compute: ComputeParams) -> int:
    """Return ``compute.processes``; by default one process for each GPU."""
    if compute.processes:
        return compute.processes
    uses_cuda = compute.device in ("auto", "cuda") and torch.cuda.is_available()
    return torch.cuda.device_count() if uses_cuda else 1


def launch(stage: str, params: Params, root: Path, n: int) -> None:
    """Run a stage in ``n`` processes of this machine and wait for them.

    The processes rendezvous through a file, because ``torchrun``'s rendezvous listens on every
    network interface. They divide the cores between them.

    Args:
        stage: Name of the stage.
        params: Parameters of the run.
        root: Root folder of the project.
        n: Number of processes.

    Raises:
        UserError: If one of the processes fails; the others are killed.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "params.json"
        settings.write_text(params.model_dump_json(by_alias=True), encoding="utf-8")
        command = [sys.executable, "-m", "tasks", stage, "--params", str(settings)]
        threads = {"OMP_NUM_THREADS": str(n_threads(params.compute, n))}
        group = {"WORLD_SIZE": str(n), "LOCAL_WORLD_SIZE": str(n)}
        shared = threads | os.environ | LOOPBACK | group | {STORE_VARIABLE: f"{folder}/store"}
        processes = [
            subprocess.Popen(command, cwd=root, env=shared | {"RANK": str(i), "LOCAL_RANK": str(i)})
            for i in range(n)
        ]
        try:
            if not _all_succeed(processes):
                raise UserError(f"{stage}: one of {n} processes failed (see above)")
        finally:
            for process in processes:
                process.kill()
                process.wait()


def _all_succeed(processes: Sequence[subprocess.Popen[bytes]]) -> bool:
    """Wait for all processes; return False as soon as one fails."""
    while True:
        statuses = [process.poll() for process in processes]
        if any(statuses):
            return False
        if None not in statuses:
            return True
        time.sleep(POLL_SECONDS)
